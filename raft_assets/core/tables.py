"""The tables of the lineage: a model per table, whose fields and descriptions are the schema in the lake and in the UI.

What belongs here: row models and nothing that computes. Reading and writing tables is the lake's.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field

from raft_assets.core.languages import ENGLISH
from raft_assets.core.stored_fields import added

Split = Literal["train", "valid", "eval"]
QuestionSource = Literal["generated", "golden"]
Arm = Literal["main", "retrieved", "distractors_only", "closed_book"]
# the main arm's questions, with other numbers and kinds of distractors
RobustnessArm = Literal[
    "distractors_1", "distractors_3", "distractors_5", "distractors_10", "random_distractors", "hard_distractors"
]
EvaluatedModel = Literal["baseline", "student"]
ScoredBy = Literal["baseline", "student", "reference"]  # the last are rules without a model
PAGED_KINDS = frozenset({"pdf", "pptx", "image"})  # of documents: their numbered parts are pages, of others sections
CONTINUOUS_KINDS = frozenset({"pdf", "image"})  # of documents: text goes on from one page to the next


class Row(BaseModel):
    """A row of a table; unknown columns are errors, rows never change.

    `table` is the table's folder in the lake; it is empty for rows that the lake doesn't hold.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")
    table: ClassVar[str] = ""


class SourceDocument(Row):
    """A page or section of a readable document."""

    table: ClassVar[str] = "source_documents"

    doc_id: str = Field(description="hash of the first path of the document, relative to the domain")
    path: str = Field(description="path relative to the domain")
    content_hash: str = Field(description="SHA-256 of the file")
    kind: str = Field(
        description="reader that read it: pdf, docx, md, txt, html, json, jsonl, api, pptx, xlsx, "
        "csv, tsv, epub, ipynb, rtf, image"
    )
    page: int = Field(
        description="page of a PDF or picture, slide, sheet, or section or entry of another document, from 1"
    )
    title: str = Field(description="title of the document")
    heading: str = Field(description="nearest heading, empty where there is none")
    start: int = Field(description="first character in document_text")
    end: int = Field(description="one past the last character in document_text")
    text: str = Field(description="cleaned text; the pages of a document joined by a blank line are its document_text")
    left_out: dict[str, int] = added(
        {},
        since="0.3.0",
        digested=False,
        description="words of the whole document that its text leaves out, by reason, the same on each of its pages",
    )
    language: str = added(
        "",
        since="0.3.0",
        means_default=(ENGLISH,),
        description="main language of the document (ISO 639-1), the same on each page; empty as in English",
    )
    other_languages: list[str] = added(
        [], since="0.3.0", description="further languages of a good part of the document, the same on each page"
    )
    scanned: dict[str, int] = added(
        {},
        since="0.3.0",
        digested=False,
        description="pages of the whole document that are pictures without a text layer, by what became of them: ocr "
        "(read by OCR) or unread; the same on each of its pages",
    )


class QuarantinedFile(Row):
    """A file that could not be read, with the reason; the other files are processed all the same."""

    table: ClassVar[str] = "quarantine"

    path: str = Field(description="path relative to the domain")
    content_hash: str = Field(description="SHA-256 of the file, empty where it could not be opened")
    reason: str = Field(description="reason code, such as encrypted, corrupt, no_text")
    detail: str = Field(description="what happened and what to do, one sentence")


class Chunk(Row):
    """A passage of at most `chunk_size` tokens."""

    table: ClassVar[str] = "chunks"

    chunk_id: str = Field(description="hash of document, normalized text and occurrence")
    doc_id: str = Field(description="document")
    path: str = Field(description="path relative to the domain")
    kind: str = Field(description="prose or api")
    page_from: int = Field(description="first page of a PDF, first section or entry of another document")
    page_to: int = Field(description="last page, section or entry")
    start: int = Field(description="first character in document_text")
    end: int = Field(description="one past the last character in document_text")
    heading: str = Field(description="nearest heading, empty where there is none")
    signature: str = Field(
        default="", description="what a continued API description repeats before its text; empty elsewhere"
    )
    text: str = Field(description="document_text[start:end]")
    tokens: int = Field(description="length of the passage in tokens of the setting's tokenizer")
    language: str = added(
        "",
        since="0.3.0",
        means_default=(ENGLISH,),
        description="language of the passage (ISO 639-1), in which it is asked about; empty as in English",
    )

    @property
    def passage(self) -> str:
        """What models are shown of the chunk: its text, after the signature if it continues a description."""
        return f"{self.signature}\n{self.text}" if self.signature else self.text


class ChunkEmbedding(Row):
    """A vector per chunk."""

    table: ClassVar[str] = "chunk_embeddings"

    chunk_id: str = Field(description="chunk")
    vector: list[float] = Field(description="vector of the EMBEDDING role's model")


class RefusedChunk(Row):
    """A chunk that the EMBEDDING role's service refuses: it has no vector, and retrieval never returns it."""

    table: ClassVar[str] = "refused_chunks"

    chunk_id: str = Field(description="chunk")
    path: str = Field(description="path relative to the domain")
    page_from: int = Field(description="first page")
    reason: str = Field(description="why it has no vector, in the service's words")


class GoldenQuestion(Row):
    """A question that a person wrote: evaluation only."""

    table: ClassVar[str] = "golden_questions"

    question_id: str = Field(description="id from questions.jsonl")
    question: str = Field(description="question")
    answers: list[str] = Field(description="golden answers, any of which is right; empty where unanswerable")
    answerable: bool = Field(description="whether the domain's documents hold the answer")
    path: str = Field(description="document that holds the answer, empty where none is named")
    oracle_chunk_ids: list[str] = Field(description="chunks that hold the evidence")
    status: str = Field(
        description="resolved, no_evidence, evidence_not_found, evidence_in_many_places or unanswerable"
    )
    other_chunk_ids: list[str] = added(
        [], since="0.3.0", description="chunks elsewhere that hold the evidence too: held out of training, no oracles"
    )
    detail: str = added("", since="0.3.0", description="one sentence where evidence was not resolved")
    language: str = added(
        "",
        since="0.3.0",
        means_default=(ENGLISH,),
        description="language of the question (ISO 639-1): that of its oracle chunk, else its own; empty as in English",
    )


class QAPair(Row):
    """A generated question with its chain-of-thought answer and the outcome of every quality gate.

    Rejected rows stay.
    """

    table: ClassVar[str] = "qa_pairs"

    question_id: str = Field(description="hash of chunk and question; of the chunk alone where no question came")
    chunk_id: str = Field(description="oracle chunk")
    doc_id: str = Field(description="document")
    path: str = Field(description="path relative to the domain")
    question: str = Field(description="question")
    kind: str = Field(description="question type: what, who, when, where, why, how, which, cloze, api, other")
    answer: str = Field(
        description="chain-of-thought answer in RAFT's contract, verbatim from the teacher or rendered from its parts"
    )
    final_answer: str = Field(description="text after <ANSWER>:")
    quotes: list[str] = Field(description="texts between ##begin_quote## and ##end_quote##")
    accepted: bool = Field(description="whether every gate passed, but for those that a person's accept overrides")
    reason: str = Field(description="reason code of the first gate that failed and counts, empty where accepted")
    gates: dict[str, str] = Field(description="gate to pass or reason code, in the order in which they ran")
    question_call: str = Field(description="key in the call store of the call that asked")
    answer_call: str = Field(description="key in the call store of the call that answered")
    judge_call: str = Field(default="", description="key in the call store of the call that judged; empty: none did")
    judge_remark: str = Field(default="", description="what the judge said, or why it said nothing")
    review_note: str = Field(default="", description="what a person noted who reviewed the pair")
    call_detail: str = added(
        "", since="0.3.0", description="what a service said where it gave no answer or no vector, or filtered it"
    )
    structured: bool = added(
        default=False,
        since="0.3.0",
        description="whether the teacher answered by a JSON schema, from which the answer is rendered",
    )
    language: str = added(
        "",
        since="0.3.0",
        means_default=(ENGLISH,),
        description="language of its chunk (ISO 639-1); empty as in English",
    )

    @property
    def is_imported(self) -> bool:
        """Whether another tool made the pair: no call of this project asked for it."""
        return not self.question_call


class RaftRow(Row):
    """A RAFT row: a question, its documents in order, and the answer to learn."""

    table: ClassVar[str] = "qa_dataset"

    question_id: str = Field(description="QA pair")
    question: str = Field(description="question")
    documents: list[str] = Field(description="texts of the documents, in the order shown to the model")
    document_chunk_ids: list[str] = Field(description="their chunks")
    oracle_index: int | None = Field(description="position of the oracle document, null where it was left out")
    has_oracle: bool = Field(description="whether the oracle document is among the documents")
    answer: str = Field(description="chain-of-thought answer, or abstention where no document holds the answer")
    final_answer: str = Field(description="golden answer")
    split: Split = Field(description="train, valid or eval")
    unit: str = Field(description="group that never crosses splits (document, section or chunk, with near-duplicates)")
    chunk_id: str = Field(description="oracle chunk")
    doc_id: str = Field(description="document")
    path: str = Field(description="path relative to the domain")
    kind: str = Field(description="question type")
    language: str = added(
        "",
        since="0.3.0",
        means_default=(ENGLISH,),
        description="language of the question (ISO 639-1), in which its prompt is worded; empty as in English",
    )


class ModelAnswer(Row):
    """A model's answer to one question under one arm."""

    question_id: str = Field(description="QA pair or golden question")
    source: QuestionSource = Field(description="generated or golden")
    arm: Arm | RobustnessArm = Field(description="what the model was shown")
    evaluated: ScoredBy = Field(description="baseline or student; reference: rules without a model")
    model: str = Field(description="model that answered")
    question: str = Field(description="question")
    documents: list[str] = Field(description="documents shown, in order")
    document_chunk_ids: list[str] = Field(description="their chunks")
    oracle_chunk_ids: list[str] = Field(description="chunks that hold the answer")
    golden_answers: list[str] = Field(description="right answers; empty where abstaining is right")
    answerable: bool = Field(description="whether a document shown holds the answer; always true in the closed book")
    kind: str = Field(description="question type")
    cluster: str = Field(description="oracle chunk, else the question: rows of one cluster are not independent")
    answer: str = Field(description="the model's answer, verbatim")
    final_answer: str = Field(description="text after <ANSWER>:, empty where there is none")
    quotes: list[str] = Field(description="what the model quoted")
    abstained: bool = Field(description="whether it said that the documents do not contain the answer")
    well_formed: bool = Field(description="whether the answer keeps RAFT's contract")
    status: str = Field(description="ok, or why there is no answer")
    detail: str = Field(description="one sentence where there is no answer")
    call: str = Field(description="key in the call store")
    language: str = added(
        "",
        since="0.3.0",
        means_default=(ENGLISH,),
        description="language of the question (ISO 639-1), by whose rules the answer is scored; empty as in English",
    )


class BaselineAnswer(ModelAnswer):
    """An answer of the model before fine-tuning."""

    table: ClassVar[str] = "baseline_answers"


class StudentAnswer(ModelAnswer):
    """An answer of the fine-tuned model."""

    table: ClassVar[str] = "student_answers"


ANSWERS: Mapping[EvaluatedModel, type[ModelAnswer]] = MappingProxyType(
    {"baseline": BaselineAnswer, "student": StudentAnswer}
)


class JudgedAnswer(Row):
    """The judge's rating of one answer of the main arm by one metric."""

    table: ClassVar[str] = "judged_answers"

    question_id: str = Field(description="QA pair or golden question")
    source: QuestionSource = Field(description="generated or golden")
    evaluated: EvaluatedModel = Field(description="baseline or student")
    cluster: str = Field(description="rows of one cluster are not independent")
    metric: str = Field(description="groundedness, relevance, coherence, fluency or similarity")
    sample: int = Field(description="0, or 1 where the same answer was judged again")
    score: int | None = Field(description="1 to 5, null where the judge gave none")
    reason: str = Field(description="the judge's, one sentence")
    status: str = Field(description="ok, or why there is no score")
    detail: str = Field(description="one sentence where there is no score")
    call: str = Field(description="key in the call store")


class AzureJudgedAnswer(JudgedAnswer):
    """The rating of the same answer by one of Microsoft's evaluators."""

    table: ClassVar[str] = "azure_judged_answers"


class Score(Row):
    """One metric of one answer."""

    question_id: str = Field(description="QA pair or golden question")
    source: QuestionSource = Field(description="generated or golden")
    arm: Arm | RobustnessArm = Field(description="arm")
    evaluated: ScoredBy = Field(description="baseline or student; reference: rules without a model")
    cluster: str = Field(description="rows of one cluster are not independent")
    metric: str = Field(description="name of the metric")
    value: float = Field(description="0 to 1, but for answer_words and what is judged from 1 to 5")


class QuestionProvenance(Row):
    """Where a question of an evaluation came from."""

    question_id: str = Field(description="QA pair or golden question")
    source: QuestionSource = Field(description="generated or golden")
    chunk_id: str = Field(description="oracle chunk, the first of several; empty where no evidence is known")
    path: str = Field(description="document of the chunk, relative to the domain")
    page_from: int | None = Field(description="first page of the chunk in a PDF, null in another document")
    page_to: int | None = Field(description="last page of it")
    section_from: int | None = Field(default=None, description="first section of the chunk, null in a PDF")
    section_to: int | None = Field(default=None, description="last section of it")
    first_character: int | None = Field(description="first character of the chunk in its document")
    end_character: int | None = Field(description="one past the last")
    question_call: str = Field(description="key of the teacher's call that asked, empty for a person's question")
    teacher_call: str = Field(description="key of the teacher's call that answered, empty for a person's question")
    teacher_model: str = Field(default="", description="model that answered it, empty where the call isn't stored")
