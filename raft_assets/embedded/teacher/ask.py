"""The embedded teacher's public module: questions about a chunk, with answers that it contains word for word."""

from raft_assets.embedded.teacher.api import ApiDescription, api_description, is_fragment, template_questions
from raft_assets.embedded.teacher.asked import GeneratedQuestion, Ranked, spread
from raft_assets.embedded.teacher.prose import Passage, cloze_questions, wh_questions
from raft_assets.embedded.teacher.reading import prose_of

__all__ = ["TEACHER_VERSION", "GeneratedQuestion", "generate_questions"]

TEACHER_VERSION = "4"  # what determines the questions; part of a stored call's identity
# of a chunk; where the rules find fewer, cloze questions are added, because the retrieval gate may reject one
MIN_QUESTIONS = 2


def generate_questions(chunk: str, *, count: int) -> list[GeneratedQuestion]:
    """Return at most `count` questions about the chunk, best first and of different sentences first; deterministic.

    Where the rules find fewer than `MIN_QUESTIONS`, cloze questions about other sentences follow; the list is empty
    where nothing can be asked. English only.
    """
    api = api_description(chunk)
    ranked = spread(_about_api(api)) if api else _about_prose(chunk)
    return [question.asked for question in ranked[: max(count, 0)]]


def _about_api(api: ApiDescription) -> list[Ranked]:
    return [*template_questions(api), *wh_questions(Passage.of(prose_of(api.description), topic=api.topic))]


def _about_prose(chunk: str) -> list[Ranked]:
    passage = Passage.of(prose_of(chunk))
    asked = spread([] if is_fragment(chunk) else wh_questions(passage))
    sentences = {question.sentence for question in asked}
    gaps = (gap for gap in cloze_questions(passage) if gap.sentence not in sentences)
    return [*asked, *spread(gaps)[: max(0, MIN_QUESTIONS - len(asked))]]
