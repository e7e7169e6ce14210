"""What `raft doctor` does: it checks what a run needs, with test calls, and says for each failure what to set."""

import os
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from functools import partial
from typing import Literal

import click

from raft_assets.cli.output import print_json
from raft_assets.cli.project import load_existing_project, select_domains
from raft_assets.cli.reading import show_reading
from raft_assets.core.errors import NotServedYetError, RaftError, describe_error
from raft_assets.core.languages import ENGLISH, name_of_code
from raft_assets.evaluation.judged import judge_family_warning
from raft_assets.llm.capabilities import Capabilities, forget_capabilities, learned_capabilities
from raft_assets.llm.probing import ProbeResult, PromptTest
from raft_assets.llm.relearning import count_relearning
from raft_assets.local.provider import PYTHON_VARIABLE
from raft_assets.operations.corpus import read_corpus
from raft_assets.operations.golden_coverage import GoldenCoverage, coverage_of_questions
from raft_assets.operations.hosting import hosting_settings, open_hosting
from raft_assets.operations.languages import check_languages, sampled_languages
from raft_assets.operations.life_cycles import check_student_model, role_life_cycles
from raft_assets.operations.local_models import describe_local_models, is_at_rest
from raft_assets.operations.model_clients import ModelClients, check_project_licence, embedded_provider
from raft_assets.operations.outlook import outlook_of
from raft_assets.operations.probing import RoleProbe, longest_calls, probe_roles, readable_settings
from raft_assets.operations.process import check_coordination, records_of
from raft_assets.operations.student_tokens import TOKENIZER_VARIABLE, student_tokenizer, tokenizer_file
from raft_assets.operations.tracking import TrackingError, check_tracking
from raft_assets.provisioning.catalogue import LifeCycle
from raft_assets.settings.coordination import VARIABLE
from raft_assets.settings.endpoints import DEVELOPER_TIER, Role
from raft_assets.settings.environment import LOCAL_MODEL_VARIABLE
from raft_assets.settings.prices import PRICES_FILE
from raft_assets.settings.project import Project
from raft_assets.settings.tracking import ADDRESS_VARIABLE, is_only_exported
from raft_assets.storage.call_store import open_call_store
from raft_assets.storage.lake import Lake
from raft_assets.storage.mirror import check_writable

_MUST_HOLD_DOCUMENTS = (Role.BASELINE, Role.STUDENT)  # several in each prompt: an unknown context is worth a warning
_REMEDY = "chunks.chunk_size, dataset.distractors, evaluation.top_k or max_answer_tokens"
_REMEDIES = {
    Role.TEACHER: "chunks.chunk_size or questions.max_answer_tokens",
    Role.EMBEDDING: "chunks.chunk_size",
}
_LARGER_CONTEXT = ", or start the service with a larger context (num_ctx, --ctx-size, --max-model-len)"


@dataclass(frozen=True)
class Finding:
    """The result of a check; a problem stops a run and says what to do, a warning doesn't stop it."""

    subject: str
    message: str
    level: Literal["ok", "warning", "problem"] = "ok"


class DoctorWarningError(RaftError):
    """A finding that doesn't stop a run but that the user should know."""


def print_findings(domain: str | None = None, *, relearn: bool = False, as_json: bool = False) -> None:
    """Print a line per check as soon as it is done, and exit with 1 where one of them is a problem.

    With a domain, first the line about its next run, and of domains no other is checked. `relearn`: forget first what
    services have taught about their models.
    """
    project, failed = load_existing_project(), False
    names = select_domains(project, [domain], everything=False) if domain else []
    if relearn:
        forget_capabilities(records_of(project))
        count_relearning(records_of(project))
    coverages: dict[str, GoldenCoverage] = {}
    for name in names:
        outlook = project.name_address(_outlook(project, name, coverages))
        if as_json:
            print_json(asdict(Finding(f"outlook {name}", outlook)))
        else:
            click.echo(f"{name}: {outlook}")
    told = dict[str, str]()  # what is wrong -> the check that said so
    for found in _run_checks(project, names, coverages):
        finding = replace(found, message=project.name_address(found.message))
        first = told.setdefault(finding.message, finding.subject) if finding.level == "problem" else finding.subject
        if first != finding.subject:
            finding = replace(finding, message=f"as for {first}")
        if as_json:
            print_json(asdict(finding))
        else:
            click.echo(f"{finding.level:<8} {finding.subject}: {finding.message}")
        failed |= finding.level == "problem"
    sys.exit(1 if failed else 0)


def _outlook(project: Project, name: str, coverages: dict[str, GoldenCoverage]) -> str:
    """Return what the next run of a domain comes to, or why that can't be said; note what its questions cover."""
    from raft_assets.cli.estimate import open_freshness  # it imports Dagster, which takes a second

    try:
        with show_reading(), open_freshness(project) as (_, fresh_assets_of):
            outlook = outlook_of(ModelClients(project), name, fresh=fresh_assets_of(name))
    except (RaftError, OSError) as error:
        return f"nothing can be said of its next run: {describe_error(error)}"
    coverages[name] = outlook.coverage
    return outlook.sentence


def _run_checks(project: Project, names: Sequence[str], coverages: Mapping[str, GoldenCoverage]) -> Iterator[Finding]:
    checks: list[tuple[str, Callable[[], str]]] = [
        ("home", lambda: _check_state_folder(project)),
        ("domains", lambda: f"{len(select_domains(project, (), everything=True))} in {project.documents}"),
        *([("documents", lambda: _check_documents(project))] if project.data_address else []),
        ("settings", lambda: _check_settings(project)),
        (
            "encoder weights",
            lambda: str(embedded_provider(project).find_weights()),
        ),
        ("call store", lambda: _check_call_store(project)),
        ("lake", lambda: _check_lake(project)),
        *([("coordination", lambda: _check_coordination(project))] if project.coordination else []),
        ("mlflow", lambda: _check_tracking(project)),
    ]
    if any(map(project.environment.get, (LOCAL_MODEL_VARIABLE, PYTHON_VARIABLE))):
        checks.append(("local models", lambda: describe_local_models(project)))
    yield from _findings(checks)
    yield from _findings(_domain_checks(project, names, "language", partial(_check_language, project)))
    try:
        role_checks = _role_checks(ModelClients(project), names, coverages)
    except NotServedYetError as error:
        yield Finding("roles", f"{error} They are tested once it was.")
    except (RaftError, OSError) as error:
        yield Finding("roles", describe_error(error), "problem")
    else:
        yield from _findings(role_checks)
    with suppress(OSError):  # a home that can't be read is a finding of its own
        for model, clause in learned_capabilities(records_of(project)):
            yield Finding(f"learned {model}", clause)


def _domain_checks(
    project: Project, names: Sequence[str], subject: str, check: Callable[[str], str]
) -> Iterator[tuple[str, Callable[[], str]]]:
    """Yield a check per domain, of all where none is named; none where they can't be read, a finding of its own."""
    with suppress(RaftError, click.UsageError, OSError):
        for name in names or select_domains(project, (), everything=True):
            yield f"{subject} {name}", partial(check, name)


def _findings(checks: Iterable[tuple[str, Callable[[], str]]]) -> Iterator[Finding]:
    for subject, check in checks:
        try:
            yield Finding(subject, check())
        except DoctorWarningError as error:
            yield Finding(subject, str(error), "warning")
        except (RaftError, click.UsageError, OSError) as error:
            yield Finding(subject, describe_error(error), "problem")


def _role_checks(
    models: ModelClients, names: Sequence[str], coverages: Mapping[str, GoldenCoverage]
) -> list[tuple[str, Callable[[], str]]]:
    """Return the checks of every role over the wire, then those that only matter where money is spent."""
    probes = probe_roles(models)
    checks: list[tuple[str, Callable[[], str]]] = [
        (f"role {probe.role.value}", partial(_check_probe, models, probe)) for probe in probes
    ]
    checks += _context_checks(models, probes)
    check_questions = partial(_check_golden_questions, models, coverages)
    checks += _domain_checks(models.project, names, "golden questions", check_questions)
    checks.append(("licence", partial(_check_licence, models)))
    if models.endpoints[Role.STUDENT].has_one_machine or models.project.environment.get(TOKENIZER_VARIABLE):
        checks.append(("tokenizer", partial(_check_tokenizer, models)))
    if Role.JUDGE in models.endpoints:
        checks.append(("judge", partial(_check_judge, models)))
    if models.endpoints[Role.STUDENT].is_deployed_on_azure:
        checks.append(("deployment", partial(_check_deployment, models)))
    checks += _life_cycle_checks(models)
    priced = [role for role, endpoint in models.endpoints.items() if endpoint.provider != "embedded"]
    return checks + [(f"price {role.value}", partial(_check_price, models, role)) for role in priced]


def _check_state_folder(project: Project) -> str:
    try:
        project.home.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RaftError(
            f"{project.home} can't be created ({error.strerror}). Set RAFT_HOME to a folder that you may write."
        ) from error
    if not os.access(project.home, os.W_OK):
        raise RaftError(f"{project.home} can't be written. Set RAFT_HOME to a folder that you may write.")
    return f"{project.home} can be written"


def _check_settings(project: Project) -> str:
    names = select_domains(project, (), everything=True)
    return ", ".join(f"{name}: preset {project.settings(name).preset}" for name in names)


def _check_language(project: Project, domain: str) -> str:
    """Return the languages of the domain's documents; raises DoctorWarningError for some that a model doesn't know."""
    languages = sampled_languages(project, domain)
    english = check_languages(project, domain, languages)
    counts = ", ".join(f"{name_of_code(code)} {count:,}" for code, count in languages.items())
    if english and languages.keys() - {ENGLISH}:
        raise DoctorWarningError(f"{counts}; the embedded provider ({', '.join(english)}) knows English alone")
    return f"{counts} of the documents read" if counts else "no document can be read"


def _check_tokenizer(models: ModelClients) -> str:
    """Return what counts the rows' tokens; raises DoctorWarningError where it isn't the student's own tokenizer."""
    name, _ = student_tokenizer(models.project, models.endpoints[Role.STUDENT], "auto")
    if tokenizer_file(models.project) is None:
        raise DoctorWarningError(
            f"rows are counted by {name}, which is not the student's: set {TOKENIZER_VARIABLE} to the model's folder"
        )
    return f"rows are counted by the student's own ({name})"


def _check_documents(project: Project) -> str:
    """Return where documents lie in a container. Raises DoctorWarningError where nothing can be written there."""
    try:
        check_writable(project)
    except RaftError as error:
        raise DoctorWarningError(f"golden questions, reviews and presets can't be kept there: {error}") from None
    return f"{project.documents} can be written"


def _check_call_store(project: Project) -> str:
    with open_call_store(project) as store:
        return f"{store.stats().calls:,} calls in {project.calls}"


def _check_lake(project: Project) -> str:
    Lake.of(project).check_writable()
    return f"{project.lake} can be written"


def _check_coordination(project: Project) -> str:
    """Return where budgets, limits and claims are shared. Raises CoordinationError where they can't be."""
    check_coordination(project)
    return f"shared with other machines by the database of {VARIABLE}"


def _check_tracking(project: Project) -> str:
    """Return where evaluations are logged besides. Raises DoctorWarningError where they won't be."""
    try:
        told = check_tracking(project)
    except TrackingError as error:
        raise DoctorWarningError(f"{error}; a run says so and goes on") from None
    if not told and is_only_exported(project.environment):
        raise DoctorWarningError(
            f"{ADDRESS_VARIABLE} is exported, which has no effect: put it into {project.folder}/.env to log evaluations"
        )
    return told or f"evaluations are logged nowhere else ({ADDRESS_VARIABLE} in .env)"


def _check_probe(models: ModelClients, probe: RoleProbe) -> str:
    """Return what the role's test call found out. Raises RaftError for one that failed."""
    endpoint, outcome = models.endpoints[probe.role], probe.outcome
    if isinstance(outcome, RaftError):
        if is_at_rest(models.project, endpoint.service):
            return f"{probe.model} is served by `raft run` and `raft ui` while they last, which is not now"
        if probe.shared_with:
            raise RaftError(f"it has the endpoint and the model of {probe.shared_with}, where the problem is described")
        raise outcome
    message = f"{probe.model} at {endpoint.service} {outcome.message}"
    if probe.shared_with:
        message += f", asked once for {probe.shared_with} and {probe.role}"
    if probe.is_own_student:
        message += "; it is a student of your own, for which nothing is fine-tuned"
    if outcome.is_warning:
        raise DoctorWarningError(message)
    return message


def _context_checks(models: ModelClients, probes: list[RoleProbe]) -> Iterator[tuple[str, Callable[[], str]]]:
    """Yield the checks of how much each role's model takes: as its service reports it, by the table, and as it read."""
    settings = readable_settings(models.project)
    results = {
        (models.endpoints[probe.role].service, probe.model): probe.outcome
        for probe in probes
        if isinstance(probe.outcome, ProbeResult) and (probe.outcome.context_tokens or probe.outcome.prompt)
    }
    asked = dict.fromkeys((probe.role, probe.model) for probe in probes)
    for role, endpoint in models.endpoints.items():
        longest = longest_calls(role, settings)
        if endpoint.provider == "embedded" or not longest:
            continue
        for model in [name for of, name in asked if of is role] or [endpoint.model]:
            result = results.get((endpoint.service, model))
            takes = Capabilities.of(records_of(models.project), endpoint, model).context_tokens
            reported = result.context_tokens if result else None
            name = endpoint.base_model if model == endpoint.model else model
            if reported or takes or role in _MUST_HOLD_DOCUMENTS:
                yield f"context {role.value}", partial(_check_context, role, name, longest, reported, takes)
            if result and (unread := _describe_unread(name, max(longest.values()), result.prompt)):
                yield f"prompt {role.value}", partial(_warn, unread)


def _check_context(role: Role, name: str, longest: Mapping[str, int], reported: int | None, known: int | None) -> str:
    """Check that the longest prompt of every domain and its answer fit into the model's context, where it is known."""
    takes, most = reported or known, max(longest.values())
    if takes is None:
        raise DoctorWarningError(f"the context size of {name} is unknown; up to {most:,} tokens may be sent")
    source = " (reported by the service)" if reported else ""
    for domain, tokens in longest.items():
        if tokens > takes:
            raise RaftError(
                f"{name} takes {takes:,} tokens{source}, and a prompt of {domain} with its answer may have about "
                f"{tokens:,}: lower {_REMEDIES.get(role, _REMEDY)}{_LARGER_CONTEXT if reported else ''}."
            )
    return f"{name} takes {takes:,} tokens{source}, of which {most:,} are used at most"


def _describe_unread(name: str, needed: int, prompt: PromptTest | None) -> str:
    """Return what is wrong with how a long prompt was read, for calls of `needed` tokens; empty if nothing is known."""
    if prompt and prompt.failure:
        sent = f"a prompt of {prompt.words:,} words"
        return f"{name} did not answer {sent} ({prompt.failure}), and a run needs {needed:,} tokens"
    if prompt is None or not prompt.is_cut or (prompt.tokens_read or 0) >= needed:
        return ""
    return (
        f"{name} read only {prompt.tokens_read:,} tokens of a prompt of {prompt.words:,} words, each at least a token: "
        f"the service cuts prompts without an error, and a run needs up to {needed:,} tokens for prompt and answer. "
        "Start it with a larger context (Ollama: num_ctx or OLLAMA_CONTEXT_LENGTH), or lower chunks.chunk_size"
    )


def _check_golden_questions(models: ModelClients, coverages: Mapping[str, GoldenCoverage], domain: str) -> str:
    """Return what the domain's questions can decide, which may be known already: documents are read for it.

    Raises RaftError where they leave nothing to train on.
    """
    coverage = coverages.get(domain)
    if coverage is None:
        corpus = read_corpus(models, domain)
        coverage = coverage_of_questions(models.project, domain, corpus.documents, corpus.chunks)
    if not coverage.can_train:
        raise RaftError(coverage.sentence)
    if not coverage.questions or not coverage.can_decide:
        raise DoctorWarningError(coverage.sentence)
    return coverage.sentence


def _warn(message: str) -> str:
    raise DoctorWarningError(message)


def _check_licence(models: ModelClients) -> str:
    check_project_licence(models.project)
    return f"no known licence forbids training {Role.STUDENT} on {Role.TEACHER}'s answers"


def _check_judge(models: ModelClients) -> str:
    if doubt := judge_family_warning(models.endpoints):
        raise DoctorWarningError(doubt)
    return "not of the teacher's model family, as far as its name says"


def _life_cycle_checks(models: ModelClients) -> Iterator[tuple[str, Callable[[], str]]]:
    """Yield a check of each role whose model is listed: when it ends, and for the student whether it can be trained."""
    project, today = models.project, datetime.now(UTC).date()
    settings = readable_settings(project).values()
    is_trained = not settings or any(domain.student.finetuned_model is None for domain in settings)
    for role, life_cycle in role_life_cycles(project, today, is_trained=is_trained).items():
        check = partial(check_student_model, project, today) if is_trained and role is Role.STUDENT else None
        model = models.endpoints[role].base_model
        yield f"life cycle {role}", partial(_check_life_cycle, model, check, life_cycle)


def _check_life_cycle(model: str, check: Callable[[], None] | None, life_cycle: LifeCycle | None) -> str:
    if check is not None:
        check()
    if life_cycle is not None:
        raise DoctorWarningError(life_cycle.sentence)
    return f"no end of {model} is known within a year"


def _check_deployment(models: ModelClients) -> str:
    with open_hosting(models.project) as hosting:
        assert hosting is not None  # the student is on Azure
        return hosting.check_permission()


def _check_price(models: ModelClients, role: Role) -> str:
    """Return what the role's calls cost, as far as it is known. Raises DoctorWarningError for an unknown price."""
    endpoint = models.endpoints[role]
    if endpoint.is_declared_free:
        return f"nothing, by {role}_PRICE=0"
    if endpoint.is_free:
        return f"nothing: it is on this machine. A proxy of a paid service needs a price in {PRICES_FILE}"
    price, hosting = models.prices.of(endpoint), hosting_settings(models.project)
    wanted = {"input": price.input}
    if role is not Role.EMBEDDING:
        wanted["output"] = price.output
    if role is Role.STUDENT:
        wanted["training"] = price.training
    if role is Role.STUDENT and endpoint.is_azure_openai and hosting.sku.lower() != DEVELOPER_TIER.lower():
        wanted["hosting"] = price.hosting
    if unknown := [name for name, value in wanted.items() if value is None]:
        raise DoctorWarningError(
            f"the price of {endpoint.base_model} is unknown ({', '.join(unknown)}). Add it to {PRICES_FILE}, or set "
            f"{role}_MODEL to the model behind the deployment. Calls without a price are listed apart and never "
            "counted as zero."
        )
    return ", ".join(f"{name} US$ {value:g}" for name, value in wanted.items()) + f" ({price.source})"
