"""The form of a domain's question pairs: whether the teacher answers by a JSON schema, and the gates that pairs pass.

It is resolved before the first question and kept with the domain's pairs, so that a later version, or a service that
learns something new, makes no pair stale and asks nothing again. It changes by the setting `questions.structured`, with
another teacher, or by relearning (`raft doctor --relearn`).
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any, Self

from raft_assets.core.errors import EndpointError
from raft_assets.core.tables import Chunk, QAPair
from raft_assets.llm.budget import BudgetReachedError
from raft_assets.llm.relearning import times_relearned
from raft_assets.llm.requests import NO_REQUESTER, Origin
from raft_assets.operations.kept_manifest import kept_manifest
from raft_assets.operations.model_clients import ModelClients, resolved_model
from raft_assets.operations.process import records_of
from raft_assets.pairs.gates import FIRST_GATE_SET, GATE_SET, LANGUAGE_GATE_SET
from raft_assets.pairs.generation import first_round_plan
from raft_assets.pairs.questions import question_request
from raft_assets.pairs.structured import is_constrained, probe_request
from raft_assets.settings.domain import DomainSettings, QuestionSettings
from raft_assets.settings.endpoints import Endpoint, Role
from raft_assets.storage.call_store import open_call_store
from raft_assets.storage.lake import Lake

log = logging.getLogger(__name__)

RECORD = "pair_form"  # of the lake
CHECKED_REQUESTS = 20  # of the plan: a teacher that answered any of them in text goes on in text
SENTENCES = {
    True: "the teacher answers by a JSON schema (quotes by number of the sentence)",
    False: "the teacher answers in text",
}


@dataclass(frozen=True)
class PairForm:
    """The form of a domain's pairs. Its default is that of every domain of versions before 0.3.0."""

    structured: bool = False
    gate_set: int = FIRST_GATE_SET

    @classmethod
    def of(cls, record: dict[str, Any]) -> Self:
        """Return the form in a manifest."""
        return cls(bool(record.get("structured", False)), int(record.get("gate_set", FIRST_GATE_SET)))

    @property
    def record(self) -> dict[str, Any]:
        """What a manifest says of it: what differs from the first form."""
        changed = {"structured": self.structured, "gate_set": self.gate_set}
        return {name: value for name, value in changed.items() if value != getattr(PairForm(), name)}


@dataclass(frozen=True)
class _Resolved:
    """The record in the lake: the form, the teacher for which it was resolved, and the count of relearnings then."""

    form: PairForm
    teacher: str
    relearned: int

    @classmethod
    def read(cls, lake: Lake, domain: str) -> "_Resolved | None":
        if not lake.exists(RECORD, domain, ".json"):
            return None
        record = lake.read_record(RECORD, domain)
        structured = record.get("structured", {}).get(Role.TEACHER.value, {})
        form = PairForm(bool(structured.get("structured", False)), record["gate_set"])
        return cls(form, structured.get("model", ""), record["relearned"])

    def write(self, lake: Lake, domain: str) -> None:
        teacher = {"model": self.teacher, "structured": self.form.structured}
        structured = {Role.TEACHER.value: teacher} if self.teacher else {}
        lake.write_record(
            RECORD, domain, {"gate_set": self.form.gate_set, "relearned": self.relearned, "structured": structured}
        )


def asks_in_text(teacher: Endpoint, settings: QuestionSettings) -> bool:
    """Return whether pairs have no other form than text, with this teacher and these settings."""
    return teacher.provider == "embedded" or settings.structured == "off"


def recorded_form(models: ModelClients, lake: Lake, domain: str, chunks: Sequence[Chunk] = ()) -> PairForm:
    """Return the form that the domain's pairs have, or would have if it is already known. Nothing is asked.

    `chunks`: those of the domain; a preview of some of them has found it out and stored the answer.
    """
    settings = models.project.settings(domain).values
    known = _current(models, lake, domain)
    if known is None:
        relearned = times_relearned(records_of(models.project))
        in_json = settings.questions.structured == "auto" and _find_out(
            models, lake, domain, settings, chunks=chunks, relearned=relearned, origin=NO_REQUESTER, ask=False
        )
        return PairForm(bool(in_json), _gate_set(lake, domain, relearned))
    return replace(known.form, structured=known.form.structured and settings.questions.structured == "auto")


def tells_languages(models: ModelClients, lake: Lake, domain: str) -> bool:
    """Return whether the domain's chunks have languages, in which its pairs are then asked for and checked."""
    known = _current(models, lake, domain)
    gate_set = known.form.gate_set if known else _gate_set(lake, domain, times_relearned(records_of(models.project)))
    return gate_set >= LANGUAGE_GATE_SET


def resolve_form(
    models: ModelClients,
    lake: Lake,
    domain: str,
    settings: DomainSettings,
    chunks: Sequence[Chunk],
    *,
    origin: Origin = NO_REQUESTER,
    keep: bool = True,
) -> PairForm:
    """Return the form of the domain's pairs; what isn't resolved yet is found out by one call at most.

    `keep`: write it down for later runs. Raises as a call of the teacher does.
    """
    known, relearned = _current(models, lake, domain), times_relearned(records_of(models.project))
    gate_set = known.form.gate_set if known else _gate_set(lake, domain, relearned)
    teacher = resolved_model(models.endpoints[Role.TEACHER], models.project)
    if settings.questions.structured == "off":
        found = known or _Resolved(PairForm(gate_set=gate_set), "", relearned)
        form = PairForm(gate_set=gate_set)
    elif known and known.teacher == teacher:
        return known.form
    else:
        structured = _find_out(models, lake, domain, settings, chunks=chunks, relearned=relearned, origin=origin)
        form = PairForm(bool(structured), gate_set)
        # a probe that failed says nothing: where the teacher answers in text all the same, its pairs show it
        found = _Resolved(form, "" if structured is None else teacher, relearned)
        log.info("%s: %s", domain, SENTENCES[form.structured])
    if keep:
        found.write(lake, domain)
    return form


def restore_form(models: ModelClients, lake: Lake, domain: str, record: dict[str, Any]) -> None:
    """Write down the form of a manifest as the domain's own."""
    teacher = resolved_model(models.endpoints[Role.TEACHER], models.project)
    _Resolved(PairForm.of(record), teacher, times_relearned(records_of(models.project))).write(lake, domain)


def _current(models: ModelClients, lake: Lake, domain: str) -> _Resolved | None:
    """Return what was resolved, unless it is to be resolved again."""
    known = _Resolved.read(lake, domain)
    return known if known and known.relearned == times_relearned(records_of(models.project)) else None


def _gate_set(lake: Lake, domain: str, relearned: int) -> int:
    """Return the gates of a domain whose form isn't written down: pairs that are there, or were, keep theirs."""
    if relearned:
        return GATE_SET
    if lake.exists(QAPair.table, domain):
        return FIRST_GATE_SET
    manifest = kept_manifest(lake, domain)
    return PairForm.of(manifest.pair_form).gate_set if manifest else GATE_SET


def _find_out(
    models: ModelClients,
    lake: Lake,
    domain: str,
    settings: DomainSettings,
    *,
    chunks: Sequence[Chunk],
    relearned: int,
    origin: Origin,
    ask: bool = True,
) -> bool | None:
    """Return whether the teacher answers by a schema; None if the probe failed, or wasn't made and is not to be."""
    endpoint = models.endpoints[Role.TEACHER]
    plan = first_round_plan(chunks, settings.questions)
    if endpoint.provider == "embedded" or not plan:
        return False
    if not relearned and _has_text_pairs(models, lake, domain):
        return False
    with models.caller(Role.TEACHER, origin=origin, live=True) as teacher:
        asked = (question_request(chunk, count, settings.questions) for chunk, count in plan[:CHECKED_REQUESTS])
        if not relearned and any(answer is not None for answer in teacher.stored(asked)):
            return False
        probe = probe_request(relearned)
        try:
            (answer,) = teacher.ask([probe]) if ask else teacher.stored([probe])
        except BudgetReachedError:
            raise
        except EndpointError as error:
            log.warning("%s: the probe for JSON schemas failed, so questions are asked in text: %s", domain, error)
            return None
    return None if answer is None or answer.status == "failed" else is_constrained(answer.text)


def _has_text_pairs(models: ModelClients, lake: Lake, domain: str) -> bool:
    """Return whether the domain has pairs in text from the teacher that is configured, or from one that isn't known."""
    if not lake.exists(QAPair.table, domain):
        return False
    made = (pair.question_call for pair in lake.rows(QAPair, domain) if pair.question_call and not pair.structured)
    keys = list(islice(made, 1))
    if not keys:
        return False
    with open_call_store(models.project) as store:
        call = store.get(keys).get(keys[0])
    endpoint = models.endpoints[Role.TEACHER]
    return call is None or (call.service, call.model) == (endpoint.service, endpoint.model)
