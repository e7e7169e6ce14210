"""Which calls a purge takes, by what they were asked for, and by their text where a version before asked."""

import pytest

from raft_assets.llm.keys import EMBEDDING, TRAINING_KIND, truncated_key
from raft_assets.llm.requests import NO_USAGE, Origin
from raft_assets.llm.store import CallSource, StoredCall
from raft_assets.operations.purged_calls import PurgedCalls, other_names, text_matcher

TEXT = "The vault of the Heligoland bat museum opens with the code 4711 on Sundays."
QUOTE = f"It says: {TEXT}"


def a_call(key: str, answer: str = "", *, kind: str = "chat", domain: str = "bats") -> StoredCall:
    origin = Origin("qa_pairs", domain, "run")
    return StoredCall(key, "service", "model", kind, "ok", NO_USAGE, 0.0, 1.0, answer.encode(), origin=origin)


CASES = [  # what it was asked for, the call, whether the document's purge and the domain's purge take it
    pytest.param([("bats", "secret.md")], a_call("k"), True, True, id="about the document"),
    pytest.param([("bats", "a.md")], a_call("k"), False, True, id="about another document"),
    pytest.param([("bats", "a.md")], a_call("k", QUOTE), False, True, id="another document says the same"),
    pytest.param([("bats", "a.md"), ("bats", "secret.md")], a_call("k"), True, True, id="shown among others"),
    pytest.param([("bats", "secret.md"), ("inn", "x.md")], a_call("k"), False, False, id="another domain's as well"),
    pytest.param([("inn", "secret.md")], a_call("k", domain="inn"), False, False, id="another domain's document"),
    pytest.param([("inn", "x.md")], a_call("k", kind=EMBEDDING), False, False, id="a vector that bats asked first"),
    pytest.param([("bats", "")], a_call("k", QUOTE), True, True, id="of a version before, with the text"),
    pytest.param([("bats", "")], a_call("k"), False, True, id="of a version before, without it"),
    pytest.param([("bats", "")], a_call("table"), True, True, id="of a version before, behind a table"),
    pytest.param([("bats", "")], a_call("k", kind=EMBEDDING), True, True, id="a vector of a version before"),
    pytest.param([("inn", "")], a_call("k", QUOTE, domain="inn"), False, False, id="another domain's, before"),
    pytest.param([], a_call("k", QUOTE, domain=""), True, True, id="nobody's, with the text"),
    pytest.param([], a_call("k", domain=""), False, False, id="nobody's, without it"),
    pytest.param([], a_call("k", QUOTE, domain="inn"), False, False, id="written by a version before, another's"),
    pytest.param([("bats", "")], a_call("k", kind=TRAINING_KIND), False, False, id="what a job cost"),
]


@pytest.mark.parametrize(("sources", "call", "with_document", "with_domain"), CASES)
def test_a_purge_takes_what_was_asked_for_it_alone(
    sources: list[tuple[str, str]], call: StoredCall, *, with_document: bool, with_domain: bool
) -> None:
    found = [CallSource(call.key, domain, document) for domain, document in sources]
    for documents, expected in ((["secret.md"], with_document), (None, with_domain)):
        purged = PurgedCalls("bats", documents, found, table_keys={"table"}, holds_text=text_matcher([TEXT]))
        assert purged.holds(call) is expected


def test_an_answer_that_a_batch_cut_off_goes_with_its_call() -> None:
    found = [CallSource("k", "bats", "secret.md"), CallSource(truncated_key("k"), "bats", "")]
    found.sort(key=lambda source: source.key)
    purged = PurgedCalls("bats", ["secret.md"], found, table_keys=set(), holds_text=text_matcher([]))
    assert purged.holds(a_call(truncated_key("k")))


def test_a_document_is_found_under_the_names_that_it_had() -> None:
    calls = [
        a_call("old", QUOTE),
        a_call("else"),
        a_call("there", QUOTE),
        a_call("both", QUOTE),
        a_call("inn's", QUOTE),
    ]
    documents = [("old", "old.md"), ("else", "else.md"), ("there", "a.md"), ("both", "else.md"), ("both", "old.md")]
    found = [CallSource(key, "bats", document) for key, document in documents] + [CallSource("inn's", "inn", "else.md")]
    gone = {"old.md", "else.md"}
    assert other_names("bats", gone, found, calls, text_matcher([TEXT])) == {"old.md"}
