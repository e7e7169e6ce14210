"""Observes external assets: domains, their files and settings, and the roles' models.

The observing sensor, `raft run` and `raft status` call `observe`, so they can't disagree. A data version is a hash of
content: a changed modification time changes nothing.
"""

import json
import shlex
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import chain
from typing import Any

import dagster as dg
from sqlalchemy.exc import IntegrityError

from raft_assets.core.errors import DataError, RaftError
from raft_assets.core.identity import digest
from raft_assets.core.markdown import code_span
from raft_assets.core.stored_fields import digest_content
from raft_assets.dataset.versions import changed_prompts, contract_prompts, prompt_versions
from raft_assets.defs.dagster_internals import DATA_VERSION_TAG, last_data_versions, report_events
from raft_assets.defs.lineage_asset import OWNERS, settings_key
from raft_assets.evaluation.judged import judging_prompts
from raft_assets.llm.relearning import times_relearned
from raft_assets.operations.chosen_presets import take_presets
from raft_assets.operations.losses import Losses
from raft_assets.operations.model_clients import resolved_model
from raft_assets.operations.pair_form import asks_in_text
from raft_assets.operations.process import DOMAIN_PARTITIONS, records_of
from raft_assets.operations.student_tokens import tokenizer_file, tokenizer_sha256
from raft_assets.settings.domain import DomainSettings, SettingsGroup
from raft_assets.settings.domains import (
    PAIRS_FILE,
    QUESTIONS_FILE,
    REVIEWS_FILE,
    DocumentFile,
    FileHashCache,
    domain_folder,
    domain_names,
    gone_domains,
    invalid_domain_folders,
    list_documents,
)
from raft_assets.settings.endpoints import Role
from raft_assets.settings.groups import SETTINGS_GROUPS, roles_of
from raft_assets.settings.project import Project
from raft_assets.storage.mirror import refresh

MISSING = "missing"  # metadata of an observation: what of an asset is gone, in a sentence
FILES_PREFIX = "domain_files"
DOCUMENTS = dg.AssetKey([FILES_PREFIX, "documents"])
QUESTIONS = dg.AssetKey([FILES_PREFIX, "questions"])
PAIRS = dg.AssetKey([FILES_PREFIX, "pairs"])
REVIEWS = dg.AssetKey([FILES_PREFIX, "reviews"])


@dataclass(frozen=True)
class Observation:
    """The present state of one external asset in one domain."""

    key: dg.AssetKey
    domain: str
    data_version: str
    metadata: Mapping[str, Any]


@dataclass(frozen=True)
class ObservationPlan:
    """What Dagster has to learn, and what is wrong with the settings or files of some domains.

    `domains` are those that are there, `new_domains` and `gone_domains` the partitions to register and to unregister,
    `changed` the states that differ from what was reported last. Of a domain with wrong settings, and of a folder that
    can't be a domain, nothing is reported; the others go on. While the root holds no domain at all, none is gone.
    """

    domains: list[str]
    problems: Mapping[str, RaftError]
    new_domains: list[str]
    gone_domains: list[str]
    changed: list[Observation]

    @property
    def is_empty(self) -> bool:
        """Whether Dagster knows everything already."""
        return not (self.new_domains or self.gone_domains or self.changed)


def plan_observation(
    instance: dg.DagsterInstance, project: Project, *, within_s: float | None = None
) -> ObservationPlan:
    """Look at every domain, and compare it with what was reported last. Reports nothing.

    `within_s`: how long documents in a container are fetched before a domain is left to the next look.
    """
    problems: dict[str, RaftError] = refresh(project, documents=True, within_s=within_s)
    names = domain_names(project.data)
    problems |= invalid_domain_folders(project.data)
    reported = {key: last_data_versions(instance, key) for key in _keys()}
    changed = list[Observation]()
    for name in names:
        if name in problems:
            continue
        try:
            changed += [
                seen for seen in observe_domain(project, name) if reported[seen.key].get(name) != seen.data_version
            ]
        except RaftError as error:
            problems[name] = error
    known = instance.get_dynamic_partitions(DOMAIN_PARTITIONS)
    if not names:
        problems |= {name: _still_registered(project, name) for name in known}
    for problem in problems.values() if project.data_address else ():
        problem.args = (project.name_address(str(problem)),)
    gone = [name for name in gone_domains(project.data, known) if name not in problems]
    return ObservationPlan(names, problems, [name for name in names if name not in known], gone, changed)


def _still_registered(project: Project, domain: str) -> DataError:
    return DataError(
        f"{project.documents} holds no domain, as if it were not mounted, so {domain!r} stays registered. If its "
        f"folder is gone for good: raft domains forget {shlex.quote(domain)}"
    )


def observe(instance: dg.DagsterInstance, project: Project) -> ObservationPlan:
    """Register the domains that are there, unregister those that are gone, and report what changed."""
    take_presets(project)
    plan = plan_observation(instance, project)
    report(instance, plan)
    return plan


def report(instance: dg.DagsterInstance, plan: ObservationPlan, *, max_changes: int | None = None) -> None:
    """Tell Dagster what it has to learn; of changed states the first `max_changes`, or all."""
    if plan.new_domains:
        register_domains(instance, plan.new_domains)
    for gone in plan.gone_domains:
        instance.delete_dynamic_partition(DOMAIN_PARTITIONS, gone)
    by_key = defaultdict[dg.AssetKey, list[Observation]](list)
    for seen in plan.changed[:max_changes]:
        by_key[seen.key].append(seen)
    for key, of_key in by_key.items():
        # staleness of an external asset is read from observations, automation and the partition bar from
        # materializations; in this order a run that starts in between is told stale rather than fresh
        for event in (dg.AssetObservation, dg.AssetMaterialization):
            report_events(
                instance,
                [
                    event(
                        key, partition=seen.domain, metadata=seen.metadata, tags={DATA_VERSION_TAG: seen.data_version}
                    )
                    for seen in of_key
                ],
            )


def register_domains(instance: dg.DagsterInstance, domains: Sequence[str]) -> None:
    """Register the partitions that aren't yet, whoever else is registering them.

    In SQLite, Dagster first looks which are there and then inserts the others: of two processes at the same moment one
    is refused. It is refused once, as it finds the other's then.
    """
    with suppress(IntegrityError):
        instance.add_dynamic_partitions(DOMAIN_PARTITIONS, domains)
        return
    instance.add_dynamic_partitions(DOMAIN_PARTITIONS, domains)


def lost_assets(instance: dg.DagsterInstance, losses: Losses, domains: Iterable[str]) -> list[dg.AssetObservation]:
    """Return an observation of every asset that Dagster has as materialized and of which something is gone."""
    made, found = dict[str, set[str]](), list[dg.AssetObservation]()
    for domain in domains:
        for name, sentence in losses.of(domain).items():
            if name not in made:
                made[name] = instance.get_materialized_partitions(dg.AssetKey(name))
            if domain in made[name]:
                advice = f"Missing: {sentence}. Make it again: raft run {shlex.quote(domain)}"
                found.append(dg.AssetObservation(name, partition=domain, metadata={MISSING: advice}))
    return found


def observe_domain(project: Project, domain: str) -> Iterator[Observation]:
    """Yield the state of every external asset of a domain."""
    folder = domain_folder(project.data, domain)
    with FileHashCache(project.home / "cache" / "hashes.sqlite") as memo:
        files = list_documents(folder, memo)
    yield Observation(
        DOCUMENTS,
        domain,
        digest(*[part for file in files for part in (file.path, file.content_hash)]),
        _describe_files(files),
    )
    for key, name in ((QUESTIONS, QUESTIONS_FILE), (PAIRS, PAIRS_FILE), (REVIEWS, REVIEWS_FILE)):
        written = folder / name
        content = written.read_bytes() if written.is_file() else b""
        lines = content.count(b"\n")
        yield Observation(
            key,
            domain,
            digest(content),
            {"dagster/row_count": lines, "path": project.name_address(str(written)) if content else "none"},
        )
    resolved = project.settings(domain)
    endpoints = project.endpoints
    contract = contract_prompts(
        resolved.values, asks_in_text=asks_in_text(endpoints[Role.TEACHER], resolved.values.questions)
    )
    for group in SETTINGS_GROUPS:
        section = getattr(resolved.values, group, None)
        roles = [role for role in roles_of(group, resolved.values) if role in endpoints]
        content_of_group = {
            "settings": digest_content(section, section.model_dump(mode="json"))
            if isinstance(section, SettingsGroup)
            else {},
            "models": {role.value: resolved_model(endpoints[role], project) for role in roles},
        }
        if group == "questions" and (relearned := _times_relearned(project, resolved.values)):
            content_of_group["relearned"] = {"times": relearned}
        if group == "questions":
            content_of_group["prompts"] = prompt_versions(resolved.values.questions, judged=Role.JUDGE in endpoints)
        is_automatic = resolved.values.training_files.tokenizer == "auto"
        if group == "training_files" and is_automatic and (tokenizer := tokenizer_file(project)):
            content_of_group["tokenizer"] = {"sha256": tokenizer_sha256(tokenizer)}
        if group == "judging" and Role.JUDGE in endpoints:
            content_of_group["prompts"] = judging_prompts(resolved.values.judging)
        if changed := changed_prompts(contract.get(group, {})):
            content_of_group["contract"] = changed
        text = json.dumps(content_of_group, sort_keys=True, ensure_ascii=False)
        metadata = {"preset": resolved.preset, **contract.get(group, {})}
        metadata |= dict(chain.from_iterable(map(dict.items, content_of_group.values())))
        yield Observation(
            settings_key(group), domain, digest(text), {name: str(value) for name, value in metadata.items()}
        )


def external_assets(partitions_def: dg.PartitionsDefinition) -> list[dg.AssetSpec]:
    """Return the external assets, for the definitions."""
    described = {
        DOCUMENTS: ("Files of the domain's folder with their hashes.", "folder"),
        QUESTIONS: (f"Golden questions that a person wrote: `{QUESTIONS_FILE}` of the domain.", "json"),
        PAIRS: (f"Question pairs that another tool made: `{PAIRS_FILE}` of the domain.", "json"),
        REVIEWS: (f"A person's verdicts on question pairs: `{REVIEWS_FILE}` of the domain.", "json"),
    } | {settings_key(name): (_describe_group(name, group.roles), "yaml") for name, group in SETTINGS_GROUPS.items()}
    return [
        dg.AssetSpec(
            key,
            partitions_def=partitions_def,
            group_name=key.path[0],
            kinds={kind},
            description=text,
            owners=OWNERS,
        )
        for key, (text, kind) in described.items()
    ]


def _times_relearned(project: Project, values: DomainSettings) -> int:
    """Return how often the form of the domain's pairs was to be found out again, where anything else than text is."""
    in_text = asks_in_text(project.endpoints[Role.TEACHER], values.questions)
    return 0 if in_text else times_relearned(records_of(project))


def _describe_group(group: str, roles: tuple[Role, ...]) -> str:
    models = f", and the resolved model of {' and '.join(roles)}" if roles else ""
    return f"Settings `{group}` of the domain that determine data{models}."


def _describe_files(files: list[DocumentFile]) -> dict[str, Any]:
    listed = "\n".join(
        f"| {code_span(file.path)} | {file.size:,} | `{file.content_hash[:12]}` |" for file in files[:50]
    )
    more = f"\n\n… and {len(files) - 50} more" if len(files) > 50 else ""
    return {
        "documents": len(files),
        "bytes": sum(file.size for file in files),
        "files": dg.MetadataValue.md(f"| file | bytes | SHA-256 |\n|---|---:|---|\n{listed}{more}"),
    }


def _keys() -> list[dg.AssetKey]:
    return [DOCUMENTS, QUESTIONS, PAIRS, REVIEWS, *map(settings_key, SETTINGS_GROUPS)]
