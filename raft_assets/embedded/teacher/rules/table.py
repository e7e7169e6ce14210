"""The table of question rules."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from raft_assets.embedded.teacher.cases import Case, QuestionDraft
from raft_assets.embedded.teacher.rules import amounts, identities, participants, places, reasons, times


@dataclass(frozen=True)
class Rule:
    """A rule, the kind of its questions, and how much they are preferred (the more precise in samples, the higher)."""

    name: str
    kind: str
    preference: float
    drafts: Callable[[Case], Iterator[QuestionDraft]]


RULES = (
    Rule("time_in_lead", "when", 1.3, times.time_in_lead),
    Rule("time_behind_verb", "when", 1.3, times.time_behind_verb),
    Rule("duration", "how", 1.25, times.duration),
    Rule("count_of_existence", "how", 1.1, amounts.count_of_existence),
    Rule("count_of_subject", "how", 1.2, amounts.count_of_subject),
    Rule("count_of_object", "how", 1.25, amounts.count_of_object),
    Rule("amount_of_money", "how", 1.3, amounts.amount_of_money),
    Rule("measure", "how", 1.2, amounts.measure),
    Rule("reason", "why", 1.2, reasons.reason),
    Rule("means", "how", 1.15, reasons.means),
    Rule("used_for", "what", 1.0, reasons.used_for),
    Rule("place", "where", 1.2, places.place),
    Rule("called", "what", 1.15, identities.called),
    Rule("object_is_called", "what", 1.15, identities.object_is_called),
    Rule("alias", "what", 1.2, identities.alias),
    Rule("definition", "what", 1.05, identities.definition),
    Rule("apposition", "who", 1.1, identities.apposition),
    Rule("agent", "who", 1.2, participants.agent),
    Rule("object", "what", 0.95, participants.object_),
    Rule("subject", "what", 1.0, participants.subject),
)
