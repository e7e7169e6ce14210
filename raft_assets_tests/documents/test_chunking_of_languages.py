"""Chunks of documents in other languages than English."""

from collections.abc import Sequence

import pytest
import regex

from raft_assets.core.sentences import split_sentences
from raft_assets.core.tables import Chunk, SourceDocument
from raft_assets.documents.chunking import chunk_document
from raft_assets.documents.document_languages import tell_languages, with_language
from raft_assets.documents.reading import ReadDocument, group_into_documents
from raft_assets.settings.domain import ChunkSettings

SENTENCES = {
    "zh": "北码头的灯塔于{n}年首次点亮，居民们常常来到这里散步、聊天和休息。",
    "ja": "北埠頭の灯台は{n}年に初めて灯され、住民は週末にここへ散歩に来ます。",
    "hi": "उत्तरी घाट का प्रकाशस्तंभ सन् {n} में पहली बार जलाया गया था। ",
    "ar": "هل أضيئت المنارة على الرصيف الشمالي في عام {n} لأول مرة؟ ",
    "ur": "شمالی گھاٹ کا مینار {n} میں پہلی بار روشن ہوا۔ ",
}
QUOTED = "他说：“灯塔于{n}年点亮。”"
GERMAN = "Der Leuchtturm auf der Nordmole wurde im Jahr {n} angezündet, und er ist noch in Betrieb. "
FRENCH = "Le phare de la jetée nord a été allumé en {n} pour la première fois, et il est encore là. "


def a_page(text: str, *, name: str = "d", kind: str = "txt") -> SourceDocument:
    return SourceDocument(
        doc_id=name,
        path=f"{name}.txt",
        content_hash="",
        kind=kind,
        page=1,
        title="",
        heading="",
        start=0,
        end=len(text),
        text=text,
    )


def a_document(text: str) -> ReadDocument:
    return ReadDocument((a_page(text),), text)


def chunks_of(text: str) -> list[Chunk]:
    return chunk_document(a_document(text), ChunkSettings())


@pytest.mark.parametrize("code", SENTENCES)
def test_chunks_end_where_sentences_do(code: str) -> None:
    chunks = chunks_of("".join(SENTENCES[code].format(n=1900 + number) for number in range(40)))
    assert len(chunks) > 1
    assert {chunk.text[-1] for chunk in chunks} == {SENTENCES[code].strip()[-1]}


def test_a_sentence_that_ends_in_a_quotation_is_not_cut_before_the_mark() -> None:
    chunks = chunks_of("".join(QUOTED.format(n=1900 + number) for number in range(60)))
    assert len(chunks) > 1
    assert {chunk.text[-2:] for chunk in chunks} == {"。”"}


def test_a_sentence_too_long_for_a_chunk_is_cut_between_clauses() -> None:
    chunks = chunks_of("，".join(f"灯塔于{1900 + number}年首次点亮" for number in range(90)) + "。")
    assert len(chunks) > 1
    assert {chunk.text[-1] for chunk in chunks} == {"，", "。"}


def test_no_vowel_sign_is_cut_off_its_letter() -> None:
    chunks = chunks_of("ประภาคารนี้สูงที่สุดในเมืองท่าเรือ" * 60)
    assert len(chunks) > 1
    assert not any(regex.match(r"\p{M}", chunk.text) for chunk in chunks)


def told(*pages: SourceDocument, language: str = "auto") -> dict[str, tuple[str, list[str]]]:
    return {page.doc_id: (page.language, page.other_languages) for page in tell_languages(pages, language)}


def test_scraps_and_apis_are_in_the_main_language_of_the_domain() -> None:
    german = GERMAN.format(n=1884) * 3
    pages = (a_page(german, name="a"), a_page("42", name="b"), a_page("api_call: f(x)", name="c", kind="api"))
    assert told(*pages) == {name: ("de", []) for name in "abc"}
    assert told(*pages, language="fr") == {name: ("fr", []) for name in "abc"}
    assert told(a_page("42", name="b")) == {"b": ("en", [])}


def test_passages_of_a_bilingual_document_have_their_own_languages() -> None:
    german, french = ("".join(text.format(n=1900 + n) for n in range(20)) for text in (GERMAN, FRENCH))
    (document,) = group_into_documents(tell_languages([a_page(f"{german}\n\n{french}")]))
    assert {document.pages[0].language, *document.pages[0].other_languages} == {"de", "fr"}
    chunks = with_language(document, chunk_document(document, ChunkSettings()))
    languages = [chunk.language for chunk in chunks if ("phare" in chunk.text) != ("Leuchtturm" in chunk.text)]
    assert languages == sorted(languages)
    assert set(languages) == {"de", "fr"}


THAI = "ประภาคารที่ท่าเรือทางเหนือถูกจุดไฟครั้งแรกในปี {n} ชาวเมืองมักมาเดินเล่นที่นี่ในวันหยุดสุดสัปดาห์ และนั่งพักผ่อนริมทะเล"


def test_thai_has_no_marks_so_chunks_end_at_blanks_and_sentences_are_no_longer_than_a_few_clauses() -> None:
    text = " ".join(THAI.format(n=1900 + number) for number in range(40))
    chunks = chunks_of(text)
    assert max(chunk.tokens for chunk in chunks) <= ChunkSettings().chunk_size
    ends = {text[chunk.end : chunk.end + 1] for chunk in chunks}
    assert ends == {" ", ""}
    assert not any(chunk.text.endswith("ในปี") for chunk in chunks)  # its number follows
    sentences = split_sentences(text, "th")
    assert "".join(sentences).replace(" ", "") == text.replace(" ", "")
    assert max(map(len, sentences)) < 2 * len(THAI)
    without_blanks = chunks_of(text.replace(" ", ""))
    assert max(chunk.tokens for chunk in without_blanks) <= ChunkSettings().chunk_size


@pytest.mark.parametrize("code", SENTENCES)
def test_where_the_subject_changes_is_looked_for_between_sentences_of_every_script(code: str) -> None:
    sentences = [SENTENCES[code].format(n=1900 + number).strip() for number in range(30)]
    seen: list[str] = []

    def likeness(texts: Sequence[str]) -> list[float]:
        seen.extend(texts)
        return [0.0 if number % 10 == 0 else 1.0 - number / 100 for number in range(1, len(texts))]

    chunks = chunk_document(a_document(" ".join(sentences)), ChunkSettings(), likeness=likeness)
    assert seen == sentences
    assert {chunk.text[-1] for chunk in chunks} == {sentences[0][-1]}
    assert {sentences[place] for place in (10, 20)} <= {
        next(one for one in sentences if chunk.text.startswith(one)) for chunk in chunks
    }
