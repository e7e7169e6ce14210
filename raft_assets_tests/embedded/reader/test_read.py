"""Readings point at the documents' own words, whatever the documents are."""

from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from raft_assets.embedded.encoder import Encoder
from raft_assets.embedded.reader.model import CONFIG_FILE, WEIGHTS_FILE, ReaderFormatError
from raft_assets.embedded.reader.passages import Analyst
from raft_assets.embedded.reader.read import Reader, ReaderAnswer
from raft_assets.embedded.reader.training import TrainingResult
from raft_assets_tests.embedded.reader.conftest import Case

WORDS = st.sampled_from(
    ["Bats", "fly", "in", "1944", "the", "moth", ".", ",", "\n", "\n\n", "(", ")", "“", "π", "- ", "x: ", "$5", "…"]
)
TEXTS = st.one_of(st.lists(WORDS, max_size=25).map(" ".join), st.text(max_size=60))


@settings(max_examples=30, deadline=None)
@given(question=TEXTS, documents=st.lists(TEXTS, max_size=3))
def test_answers_are_exact_substrings(encoder: Encoder, question: str, documents: list[str]) -> None:
    reading = Reader.initial(encoder).read(question, documents)
    assert 0 <= reading.confidence <= 1
    if reading.document is None:
        assert (reading.sentence, reading.answer) == (None, None)
        return
    assert reading.sentence is not None
    assert reading.answer is not None
    assert reading.sentence in documents[reading.document]
    assert reading.answer in reading.sentence


def test_an_answer_across_a_line_break_is_the_documents_own(trained: TrainingResult, unseen: list[Case]) -> None:
    document = "The tower of Holm was raised by Ella\nFord. The sea is cold."
    reading = trained.reader.read("Who raised the tower of Holm?", [unseen[0].documents[0], document])
    assert reading.answer == "Ella\nFord"
    assert reading.document == 1


@pytest.mark.parametrize(("question", "documents"), [("Who?", []), ("Who?", [" "]), ("", ["A text."])])
def test_nothing_to_read_is_an_abstention(encoder: Encoder, question: str, documents: list[str]) -> None:
    assert Reader.initial(encoder).read(question, documents) == ReaderAnswer(None, None, None, 1.0)


def test_the_baseline_always_answers(encoder: Encoder) -> None:
    reading = Reader.initial(encoder).read("When was the lighthouse built?", ["Cheese ripens in caves."])
    assert reading.answer


def test_a_saved_reader_reads_as_before(
    encoder: Encoder, trained: TrainingResult, unseen: list[Case], tmp_path: Path
) -> None:
    # one analyst: the last bits of a sentence's states depend on the sentences that it was encoded with (float32 sums
    # in another order); this way both readers see the same states, and any difference comes from the weights
    analyst = Analyst(encoder)
    kept = Reader(encoder, trained.reader.model, analyst=analyst)
    kept.save(tmp_path / "one")
    loaded = Reader.load(encoder, tmp_path / "one", analyst=analyst)
    loaded.save(tmp_path / "two")
    for name in (CONFIG_FILE, WEIGHTS_FILE):
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()
    assert sum(file.stat().st_size for file in (tmp_path / "one").iterdir()) < 200_000
    for case in unseen[:4]:
        assert loaded.read(case.question, case.documents) == kept.read(case.question, case.documents)


@pytest.mark.parametrize(
    ("name", "change"),
    [
        (CONFIG_FILE, lambda _: b"{"),
        (CONFIG_FILE, lambda text: text.replace(b"raft-embedded-reader/2", b"raft-embedded-reader/0")),
        (CONFIG_FILE, lambda text: text.replace(b'"encoder_sha256": "', b'"encoder_sha256": "0')),
        (WEIGHTS_FILE, lambda text: text[:-1] + bytes([text[-1] ^ 1])),
    ],
    ids=["no json", "another format", "another encoder", "damaged weights"],
)
def test_a_folder_that_does_not_fit_is_refused(
    encoder: Encoder, tmp_path: Path, name: str, change: Callable[[bytes], bytes]
) -> None:
    Reader.initial(encoder).save(tmp_path)
    (tmp_path / name).write_bytes(change((tmp_path / name).read_bytes()))
    with pytest.raises(ReaderFormatError, match="train the model again"):
        Reader.load(encoder, tmp_path)


def test_sentences_are_forgotten_when_there_are_too_many(encoder: Encoder) -> None:
    analyst = Analyst(encoder, kept_pieces=20)
    (first,), (again,) = analyst.documents(["Bats hunt."]), analyst.documents(["Bats hunt."])
    assert first[0] is again[0]
    analyst.documents([f"Number {number} is a number of some size." for number in range(5)])
    assert analyst.documents(["Bats hunt."])[0][0] is not first[0]
