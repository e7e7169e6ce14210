"""Fine-tuning of the reader: a training file in, a reader with other weights out.

On top of the frozen encoder two linear rankers are learned, first that of sentences, then that of spans, and between
them the weights that separate present from absent answers. The same file, hyperparameters and machine give the same
bytes.
"""

import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from raft_assets.core.errors import DataError, RaftError
from raft_assets.embedded.encoder import Encoder, Floats
from raft_assets.embedded.reader.lessons import NO_TRAINING_EXAMPLES, TrainingExample, read_training_examples
from raft_assets.embedded.reader.model import READ_SENTENCES, Model
from raft_assets.embedded.reader.noise import Noise, Synonyms, answer_heads, noisy
from raft_assets.embedded.reader.passages import Analyst, Sentence
from raft_assets.embedded.reader.presence import Presence, evidence_of, learn_presence
from raft_assets.embedded.reader.questions import Question
from raft_assets.embedded.reader.ranking import Fit, Ranker, RankingSample, Schedule, learn
from raft_assets.embedded.reader.read import Reader
from raft_assets.embedded.reader.span_features import MEANING_DIMENSIONS
from raft_assets.embedded.reader.words import WORD

TRAINING_PIECES = 600_000  # of sentences kept while training: 460 MB at most
AUTO_EPOCHS, AUTO_BATCH_SIZE = 8, 16  # an epoch takes a hundredth of the time that reading the file takes
SENTENCE_EPOCHS, SENTENCE_RATE, SENTENCE_PULL = 20, 0.05, 1e-4
SPAN_RATE, SPAN_PULL = 0.03, 1e-3
KEPT_SPANS = 400  # candidates of a sample: the right ones and a draw from the others, which bounds memory
AXES_SENTENCES, AXES_EVERY = 700, 5  # sentences, and every which piece of them, that the axes are found from
AXES_STRETCH = 4.0  # brings projected states to the scale of the other features

# each question is learned as it is asked, and so many times in other words
COPIES, NOISE = 3, Noise(drop=0.3, replace=0.9)


class TrainingCancelledError(RaftError):
    """The training was cancelled; nothing was kept."""


class TrainingHyperparameters(BaseModel):
    """The hyperparameters of an OpenAI fine-tuning job."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    n_epochs: Literal["auto"] | Annotated[int, Field(ge=1, le=50)] = "auto"
    batch_size: Literal["auto"] | Annotated[int, Field(ge=1, le=256)] = "auto"
    learning_rate_multiplier: Literal["auto"] | Annotated[float, Field(gt=0, le=10)] = "auto"
    seed: int = 0

    def schedule(self) -> Schedule:
        """Return how the span ranker is learned."""
        multiplier = 1.0 if self.learning_rate_multiplier == "auto" else self.learning_rate_multiplier
        return Schedule(
            epochs=AUTO_EPOCHS if self.n_epochs == "auto" else self.n_epochs,
            batch_size=AUTO_BATCH_SIZE if self.batch_size == "auto" else self.batch_size,
            learning_rate=SPAN_RATE * multiplier,
            pull=SPAN_PULL,
            seed=self.seed,
        )


@dataclass(frozen=True)
class Step:
    """Progress of one step: mean -log P(right span), and the share of rows whose best span is right.

    Figures of the validation file come with the last step of each epoch; they are None otherwise.
    """

    step: int  # from 1
    train_loss: float
    train_accuracy: float
    valid_loss: float | None
    valid_accuracy: float | None


@dataclass(frozen=True)
class TrainingResult:
    """The trained reader and notes on its training."""

    reader: Reader
    used_rows: int
    skipped_rows: dict[str, int]  # rows by reason
    valid_used_rows: int
    valid_skipped_rows: dict[str, int]
    steps: int
    best_step: int  # the step whose weights were kept
    epochs: int
    trained_tokens: int  # pieces of the encoder, all epochs together


def train(
    encoder: Encoder,
    train_file: Path,
    valid_file: Path | None,
    *,
    hyperparameters: TrainingHyperparameters,
    on_step: Callable[[Step], None],
    cancelled: Callable[[], bool],
) -> TrainingResult:
    """Train a reader.

    Raises TrainingCancelledError soon after `cancelled` returns True, and DataError if the file teaches no answer.
    """

    def checkpoint() -> None:
        if cancelled():
            raise TrainingCancelledError("The training was cancelled.")

    def after_step(step: Step) -> None:
        checkpoint()
        on_step(step)

    analyst = Analyst(encoder, kept_pieces=TRAINING_PIECES)
    lessons = read_training_examples(train_file, analyst, on_batch=checkpoint)
    valid = read_training_examples(valid_file, analyst, on_batch=checkpoint) if valid_file else NO_TRAINING_EXAMPLES
    if not lessons.answered:
        raise DataError(
            f"No row of {train_file} can be learned from (skipped: {dict(lessons.skipped)}): quote the answer in each."
        )
    seed, schedule = hyperparameters.seed, hyperparameters.schedule()
    exercises = _as_asked(analyst, lessons.lessons, checkpoint)
    exercises += _in_other_words(analyst, lessons.lessons, seed, checkpoint)
    examined = _as_asked(analyst, valid.lessons, checkpoint)

    model = replace(Model.initial(), axes=_axes_of_meaning(lessons.lessons), gaps_first=True)
    model = replace(model, sentences=_learn_sentences(model, exercises, seed, checkpoint))
    if lessons.abstaining:
        model = replace(model, presence=_learn_presence(model, exercises, checkpoint))
    rng = np.random.default_rng(seed)
    samples = [_span_sample(model, exercise, rng) for exercise in _answered(exercises, checkpoint)]
    valid_samples = [_span_sample(model, exercise, rng) for exercise in _answered(examined, checkpoint)]
    learned = _learn_spans(model.spans, samples, valid_samples, schedule, on_step=after_step)
    return TrainingResult(
        reader=Reader(encoder, replace(model, spans=learned.ranker)),
        used_rows=len(lessons.lessons),
        skipped_rows=dict(lessons.skipped),
        valid_used_rows=len(valid.lessons),
        valid_skipped_rows=dict(valid.skipped),
        steps=learned.steps,
        best_step=learned.best_step,
        epochs=learned.epochs,
        trained_tokens=lessons.pieces * learned.epochs,
    )


@dataclass(frozen=True)
class _Exercise:
    """A training example with its question in one wording."""

    question: Question
    lesson: TrainingExample


@dataclass(frozen=True)
class _LearnedSpans:
    ranker: Ranker
    steps: int
    best_step: int
    epochs: int


def _as_asked(analyst: Analyst, lessons: Sequence[TrainingExample], checkpoint: Callable[[], None]) -> list[_Exercise]:
    questions = analyst.questions([lesson.question for lesson in lessons], on_batch=checkpoint)
    return [_Exercise(question, lesson) for question, lesson in zip(questions, lessons, strict=True)]


def _in_other_words(
    analyst: Analyst, lessons: Sequence[TrainingExample], seed: int, checkpoint: Callable[[], None]
) -> list[_Exercise]:
    """Return the training examples once more for each copy, except those without other words (gaps to fill).

    A copy's words depend on the seed, the copy and the row alone.
    """
    words = {match.group() for lesson in lessons for match in WORD.finditer(lesson.question)}
    synonyms = Synonyms(analyst.encoder, words | answer_heads(lesson.answer for lesson in lessons if lesson.answer))

    def reworded(lesson: TrainingExample, copy: int, row: int) -> TrainingExample:
        rng = random.Random(f"{seed}:{copy}:{row}")
        return replace(lesson, question=noisy(lesson.question, lesson.answer, NOISE, synonyms, rng))

    copies = [(lesson, reworded(lesson, copy, row)) for copy in range(COPIES) for row, lesson in enumerate(lessons)]
    changed = [copy for lesson, copy in copies if copy.question != lesson.question]
    return _as_asked(analyst, changed, checkpoint)


def _axes_of_meaning(lessons: Sequence[TrainingExample]) -> Floats:
    """Return the directions (384, MEANING_DIMENSIONS) in which word states of the documents differ most."""
    sentences = {
        sentence.text: sentence for lesson in lessons for document in lesson.documents for sentence in document
    }
    states = np.concatenate(
        [sentence.encoded.states[::AXES_EVERY] for sentence in list(sentences.values())[:AXES_SENTENCES]]
    )
    centred = states.astype(np.float32) - states.mean(axis=0, dtype=np.float32)
    _, directions = np.linalg.eigh(centred.T @ centred)
    axes = directions[:, ::-1][:, :MEANING_DIMENSIONS]
    signs = np.sign(
        axes[np.abs(axes).argmax(axis=0), np.arange(axes.shape[1])]
    )  # eigenvectors have no sign of their own
    return np.ascontiguousarray(axes * signs * AXES_STRETCH, np.float32)


def _learn_sentences(model: Model, exercises: Sequence[_Exercise], seed: int, checkpoint: Callable[[], None]) -> Ranker:
    samples = [_sentence_sample(model, exercise) for exercise in _answered(exercises, checkpoint)]
    learned = model.sentences
    for ranker, _ in learn(
        learned, samples, Schedule(SENTENCE_EPOCHS, AUTO_BATCH_SIZE, SENTENCE_RATE, SENTENCE_PULL, seed)
    ):
        checkpoint()
        learned = ranker
    return learned


def _learn_presence(model: Model, exercises: Sequence[_Exercise], checkpoint: Callable[[], None]) -> Presence | None:
    """Fit presence: answered rows are present; absent are abstaining rows, and answered ones without their document."""
    evidence: list[Floats] = []
    present: list[bool] = []
    for exercise in exercises:
        checkpoint()
        place, documents = exercise.lesson.place, exercise.lesson.documents
        cases = [(documents, place is not None)]
        if place is not None and len(documents) > 1:
            cases.append(([document for number, document in enumerate(documents) if number != place[0]], False))
        for shown, holds_answer in cases:
            ranked = model.rank_sentences(exercise.question, shown)
            evidence.append(evidence_of(ranked.candidates))
            present.append(holds_answer)
    return learn_presence(evidence, present)


def _learn_spans(
    start: Ranker,
    samples: Sequence[RankingSample],
    valid: Sequence[RankingSample],
    schedule: Schedule,
    *,
    on_step: Callable[[Step], None],
) -> _LearnedSpans:
    """Learn the span ranker: the last, or with samples to validate on, that of the epoch with the least loss."""
    steps_per_epoch = -(-len(samples) // schedule.batch_size)
    step, ranker = 0, start
    best: tuple[float, int, Ranker] = (np.inf, 0, start)
    for step, (ranker, fit) in enumerate(learn(start, samples, schedule), start=1):
        examination = ranker.fit_of(valid) if valid and step % steps_per_epoch == 0 else None
        if examination and examination.loss < best[0]:
            best = (examination.loss, step, ranker)
        on_step(_step(step, fit, examination))
    kept, best_step = (best[2], best[1]) if valid else (ranker, step)
    return _LearnedSpans(kept, step, best_step, step // steps_per_epoch)


def _sentence_sample(model: Model, exercise: _Exercise) -> RankingSample:
    ranked = model.rank_sentences(exercise.question, exercise.lesson.documents)
    return RankingSample(ranked.candidates, np.array([place == exercise.lesson.place for place in ranked.places], bool))


def _span_sample(model: Model, exercise: _Exercise, rng: np.random.Generator) -> RankingSample:
    """Return the spans of the best sentences, among them the right one whatever its rank."""
    lesson = exercise.lesson
    assert lesson.place is not None
    assert lesson.right is not None
    ranked = model.rank_sentences(exercise.question, lesson.documents)
    right = ranked.places.index(lesson.place)
    best = ranked.order[:READ_SENTENCES]
    chosen = best if right in best else [*best[:-1], right]
    sentences: list[Sentence] = [lesson.documents[d][s] for d, s in (ranked.places[number] for number in chosen)]
    spans = model.describe_spans(exercise.question, sentences, ranked.log_probabilities[chosen])
    is_right = np.concatenate(
        [
            lesson.right if number == right else np.zeros(len(sentence.spans), bool)
            for number, sentence in zip(chosen, sentences, strict=True)
        ]
    )
    kept = np.flatnonzero(is_right | (rng.random(len(spans)) < KEPT_SPANS / len(spans)))
    return RankingSample(spans.take(kept), is_right[kept])


def _step(number: int, fit: Fit, examination: Fit | None) -> Step:
    valid = (examination.loss, examination.accuracy) if examination else (None, None)
    return Step(number, fit.loss, fit.accuracy, *valid)


def _answered(exercises: Sequence[_Exercise], checkpoint: Callable[[], None]) -> Iterator[_Exercise]:
    for exercise in exercises:
        checkpoint()
        if exercise.lesson.place is not None:
            yield exercise
