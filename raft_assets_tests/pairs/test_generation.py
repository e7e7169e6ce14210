"""Rounds of questions and answers, up to a target."""

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from raft_assets.core.errors import EndpointError
from raft_assets.core.identity import digest
from raft_assets.core.tables import Chunk
from raft_assets.llm.requests import NO_USAGE, Answer, Request
from raft_assets.pairs.gates import apply_gates
from raft_assets.pairs.generation import draft_pairs
from raft_assets.pairs.questions import Draft
from raft_assets.settings.domain import QuestionSettings
from raft_assets_tests.builders import a_chunk, an_answer

TWO_PLACES = ("first", "second", "third", "fourth", "fifth")


class Teacher:
    """A service that has up to five questions about a document; of `silent` ones it has none, of `wrong` it lies."""

    def __init__(self, *, silent: Sequence[str] = (), wrong: Sequence[str] = ()) -> None:
        self.silent, self.wrong = silent, wrong
        self.asked = list[str]()

    def ask(self, requests: Iterable[Request]) -> Iterator[Answer]:
        for request in requests:
            content = request.body["messages"][-1]["content"]
            self.asked.append(content)
            yield Answer(digest(content), self._reply(content), "ok", "", NO_USAGE, 0.0, from_store=False)

    def _reply(self, content: str) -> str:
        document, task = re.findall(r"<DOCUMENT>(.*)</DOCUMENT>\n\n(.*)", content, re.DOTALL)[0]
        name, *sentences = document.split(" | ")
        if asked := re.match(r"Write (\d+) question", task):
            places = [] if name in self.silent else TWO_PLACES[: int(asked[1])]
            return "\n".join(f"What stands in the {place} place of {name}?" for place in places) or "None."
        place = next(number for number, word in enumerate(TWO_PLACES) if word in task)
        return an_answer(sentences[place], "nectar" if name in self.wrong else sentences[place])


def a_document(name: str) -> Chunk:
    return a_chunk(name, " | ".join([name, *(f"{name}{word} stone" for word in TWO_PLACES)]))


def accepted_of(drafts: Iterable[Draft]) -> int:
    return sum(pair.accepted for pair in apply_gates(drafts, settings=QuestionSettings(), rank_of=None))


def drafts_of(names: Sequence[str], teacher: Teacher, *, each: int, target: int | None) -> list[Draft]:
    drafts = draft_pairs(
        [a_document(name) for name in names],
        QuestionSettings(questions_per_chunk=each, target_pairs=target),
        ask=teacher.ask,
        accepted=accepted_of,
    )
    return list(drafts)


NAMES = [f"shelf{number}" for number in range(8)]


@settings(deadline=None, max_examples=40)
@given(st.integers(1, 5), st.integers(1, 45), st.sets(st.sampled_from(NAMES)), st.sets(st.sampled_from(NAMES)))
def test_generation_goes_on_until_the_target_is_accepted_or_every_chunk_is_exhausted(
    each: int, target: int, silent: set[str], wrong: set[str]
) -> None:
    drafts = drafts_of(NAMES, Teacher(silent=sorted(silent), wrong=sorted(wrong)), each=each, target=target)
    possible = len(set(NAMES) - silent - wrong) * each
    assert accepted_of(drafts) == min(target, possible)
    of_chunk = Counter(draft.chunk.chunk_id for draft in drafts if draft.question)
    assert max(of_chunk.values(), default=0) <= each


def test_every_chunk_is_asked_before_any_twice_even_where_a_second_round_is_needed() -> None:
    drafts = drafts_of(NAMES, Teacher(wrong=NAMES[:4]), each=3, target=4)
    assert {draft.chunk.chunk_id for draft in drafts} == set(NAMES)
    assert max(Counter(draft.chunk.chunk_id for draft in drafts).values()) == 1


def test_without_a_target_every_chunk_is_asked_once_for_everything() -> None:
    teacher = Teacher()
    assert len(drafts_of(NAMES, teacher, each=4, target=None)) == 32
    assert sum("Write 4 questions" in content for content in teacher.asked) == len(NAMES)


@pytest.mark.parametrize("target", [1, 5, 13])
def test_the_same_rounds_are_asked_again_so_that_stored_answers_serve(target: int) -> None:
    first, second = Teacher(wrong=NAMES[::2]), Teacher(wrong=NAMES[::2])
    assert drafts_of(NAMES, first, each=3, target=target) == drafts_of(NAMES[::-1], second, each=3, target=target)
    assert first.asked == second.asked


def test_nothing_is_asked_where_no_question_is_wanted() -> None:
    teacher = Teacher()
    assert drafts_of(NAMES, teacher, each=0, target=5) == []
    assert drafts_of([], teacher, each=3, target=5) == []
    assert teacher.asked == []


def test_what_is_wrong_with_all_answers_is_raised_though_it_shows_after_the_last_one() -> None:
    teacher = Teacher()

    def ask(requests: Iterable[Request]) -> Iterator[Answer]:
        listed = list(requests)
        yield from teacher.ask(listed)
        if "Write" not in listed[0].body["messages"][-1]["content"]:
            raise EndpointError("TEACHER does not respond")

    with pytest.raises(EndpointError, match="does not respond"):
        draft_pairs([a_document("a")], QuestionSettings(), ask=ask, accepted=accepted_of)
