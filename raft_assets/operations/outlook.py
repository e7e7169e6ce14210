"""What a domain's next run comes to, in one line: documents, time, money, and whether a verdict can follow.

What belongs here: putting together what `estimate` and `golden_coverage` say. What isn't known is said, never zero.
"""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

from raft_assets.core.errors import DataError
from raft_assets.evaluation.verdict import MIN_CLUSTERS
from raft_assets.evaluation.wording import count_noun
from raft_assets.operations.corpus import read_corpus
from raft_assets.operations.estimate import estimate_calls
from raft_assets.operations.golden_coverage import GoldenCoverage, coverage_of_questions
from raft_assets.operations.model_clients import ModelClients
from raft_assets.operations.ranges import CALLS_AT_ONCE, Amount, CallEstimate
from raft_assets.settings.domains import domain_folder
from raft_assets.settings.endpoints import Endpoint, Role
from raft_assets.storage.call_store import SqliteCallStore, open_call_store
from raft_assets.storage.mirror import documents_of

TRAINING_ASSET = "finetuned_model"
# of the embedded provider on two cores, before any call of it is stored: the shipped domains, seconds a call and tokens
# of training a second
EMBEDDED_CALL_S = {Role.TEACHER: 0.02, Role.EMBEDDING: 2.8, Role.BASELINE: 0.08, Role.STUDENT: 0.08}
EMBEDDED_TRAINING_TOKENS_A_S = 30_000


@dataclass(frozen=True)
class Outlook:
    """What the next run comes to.

    `suffixes`: how many files of each kind the folder holds. `seconds` are those of what was timed or is known;
    `untimed`: roles of which no call was timed; `trains_unseen`: whether a training is due whose time isn't known.
    `eval_share`: of the passages, where generated questions decide.
    """

    suffixes: Mapping[str, int]
    estimates: Sequence[CallEstimate]
    seconds: float
    untimed: Sequence[Role]
    trains_unseen: bool
    coverage: GoldenCoverage
    eval_share: float

    @property
    def sentence(self) -> str:
        """The line for people."""
        due = f"{self._time}, {self._money}" if self.estimates else "everything is fresh, nothing to pay"
        return f"{self._documents}: {due}, {self._verdict}"

    @property
    def _documents(self) -> str:
        total = sum(self.suffixes.values())
        (suffix, count), *_ = Counter(self.suffixes).most_common() or [("", 0)]
        noun = suffix.removeprefix(".").upper() if count == total and suffix else "document"
        return count_noun(total, noun)

    @property
    def _time(self) -> str:
        training = " and the training, of unknown length" if self.trains_unseen else ""
        if not self.untimed:
            return f"about {describe_seconds(self.seconds)}{training}"
        told = f"no call of {' and '.join(self.untimed)} was timed yet"
        if not self.seconds:
            return f"time unknown ({told}: raft preview times some)"
        return f"more than {describe_seconds(self.seconds)}{training} ({told})"

    @property
    def _money(self) -> str:
        unknown = sorted({one.model for one in self.estimates if one.dollars is None and one.calls})
        low, high = (sum(end.dollars or 0.0 for end in ends) for ends in zip(*self._ranges, strict=True))
        amount = f"US$ {low:,.2f}" if f"{low:.2f}" == f"{high:.2f}" else f"US$ {low:,.2f}–{high:,.2f}"
        if not unknown:
            return "US$ 0" if not high else amount
        missing = f"the price of {' and '.join(unknown)} is unknown"
        return f"{amount} and more ({missing})" if high else f"cost unknown ({missing})"

    @property
    def _ranges(self) -> list[tuple[Amount, Amount]]:
        return [(one.low, one.high) for one in self.estimates]

    @property
    def _verdict(self) -> str:
        coverage, passages = self.coverage, count_noun(self.coverage.passages, "passage")
        if not coverage.can_train:
            return "a verdict is not possible, because golden questions leave nothing to train on"
        if coverage.questions and not coverage.can_decide:
            return (
                f"a verdict is not possible, because golden questions are about {passages} and it takes {MIN_CLUSTERS}"
            )
        if coverage.questions:
            return f"a verdict is possible, on golden questions about {passages}"
        evaluated = int(coverage.chunks * self.eval_share)
        if evaluated < MIN_CLUSTERS:
            return (
                "a verdict is not possible, because there is no golden question, and "
                f"{count_noun(coverage.chunks, 'passage')} leave about {evaluated:,} to evaluate on, where it takes "
                f"{MIN_CLUSTERS}"
            )
        return "a verdict is possible, but on questions that the teacher wrote, because there is no golden question"


def outlook_of(models: ModelClients, domain: str, *, fresh: Collection[str]) -> Outlook:
    """Return what the next run of a domain comes to; `fresh`: assets that it will skip.

    Raises DataError if no document can be read, and SettingsError as a run would.
    """
    files = documents_of(models.project, domain)
    if not files:
        raise DataError(f"There are no documents in {domain_folder(models.project.data, domain)}: put some there.")
    corpus = read_corpus(models, domain, fresh=fresh)
    estimates = [one for one in estimate_calls(models, domain, corpus, fresh=fresh) if one.calls]
    seconds, untimed, trains_unseen = 0.0, list[Role](), False
    with open_call_store(models.project) as store:
        for one in estimates:
            took = _seconds(models, store, one)
            seconds += took or 0.0
            if took is None and one.asset == TRAINING_ASSET:
                trains_unseen = True
            elif took is None and one.role not in untimed:
                untimed.append(one.role)
    return Outlook(
        suffixes=Counter(PurePosixPath(file.path).suffix.lower() for file in files),
        estimates=estimates,
        seconds=seconds,
        untimed=untimed,
        trains_unseen=trains_unseen,
        coverage=coverage_of_questions(models.project, domain, corpus.documents, corpus.chunks),
        eval_share=models.project.settings(domain).values.dataset.eval_share,
    )


def describe_seconds(seconds: float) -> str:
    """Return a duration as people say it before something begins, in minutes or hours."""
    if seconds < 90:
        return "1 min"
    return f"{seconds / 60:.0f} min" if seconds < 90 * 60 else f"{seconds / 3600:.0f} h"


def _seconds(models: ModelClients, store: SqliteCallStore, due: CallEstimate) -> float | None:
    """Return how long calls take by those that were timed; None where none was, and for a training at a service.

    A student answers as its base model does.
    """
    endpoint = models.endpoints[due.role]
    if due.asset == TRAINING_ASSET:
        return due.usage.input_tokens / EMBEDDED_TRAINING_TOKENS_A_S if endpoint.provider == "embedded" else None
    if due.seconds is not None:
        return due.seconds
    latency = _latency(store, endpoint)
    if latency is None and due.role is Role.STUDENT:
        latency = _latency(store, models.endpoints[Role.BASELINE])
    at_once = min(CALLS_AT_ONCE, endpoint.limits.max_concurrency)
    return None if latency is None else due.calls * latency / at_once


def _latency(store: SqliteCallStore, endpoint: Endpoint) -> float | None:
    timed = store.recent_latency(endpoint.service, endpoint.model)
    return EMBEDDED_CALL_S.get(endpoint.role) if timed is None and endpoint.provider == "embedded" else timed
