"""Settings that determine data, typed, with unit, default and bounds.

They come from a preset (`presets/*.yaml`) and a domain's `domain.yaml`, over the defaults below. A change makes
everything that depends on it stale.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from raft_assets.core.errors import SettingsError
from raft_assets.core.prompt_contract import missing_parts
from raft_assets.core.stored_fields import added
from raft_assets.core.tables import Arm

Tokenizer = Literal["o200k_base", "cl100k_base", "wordpiece"]  # of OpenAI's models, and of the embedded provider


class SettingsGroup(BaseModel):
    """A group of settings; unknown names are errors, values never change."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class DocumentSettings(SettingsGroup):
    """Which files are read."""

    max_file_mb: Annotated[int, Field(ge=1, le=2000)] = Field(
        default=50, description="larger files are quarantined, MB"
    )
    language: Annotated[str, Field(pattern=r"^(?:auto|[a-z]{2})$")] = added(
        "auto",
        since="0.3.0",
        description="language of all documents, ISO 639-1 (de, zh, ar); auto: found in each document's text",
    )

    @field_validator("language", mode="before")
    @classmethod
    def _no_is_norwegian(cls, language: Any) -> Any:
        """Read the code that YAML takes for false."""
        return "no" if language is False else language


class ChunkSettings(SettingsGroup):
    """How documents are split into chunks."""

    tokenizer: Literal["o200k_base", "cl100k_base"] = Field(
        default="o200k_base", description="what counts tokens; o200k is that of GPT-4o and later"
    )
    chunk_size: Annotated[int, Field(ge=16, le=8000)] = Field(
        default=160, description="hard maximum of a chunk, tokens"
    )
    chunk_overlap: Annotated[int, Field(ge=0, le=4000)] = Field(
        default=0,
        description="tokens that neighbouring chunks share, at most; chunks that share text share a split, and golden "
        "evidence then holds out its whole section",
    )
    min_chunk_tokens: Annotated[int, Field(ge=1, le=1000)] = Field(
        default=24, description="smaller chunks are merged with a neighbour, tokens"
    )
    boundaries: Literal["structure", "semantic"] = Field(
        default="structure",
        description="split by the document's structure, the same on every machine, or where the subject changes, "
        "by the EMBEDDING role's vectors",
    )

    @model_validator(mode="after")
    def _overlap_fits(self) -> "ChunkSettings":
        if 2 * self.chunk_overlap > self.chunk_size or self.min_chunk_tokens > self.chunk_size:
            raise ValueError("chunk_overlap must be at most half of chunk_size, min_chunk_tokens at most chunk_size")
        return self


class QuestionSettings(SettingsGroup):
    """How the teacher is asked, and what a pair must pass."""

    style: Literal["general", "llama"] = Field(
        default="general", description="folder of pairs/prompts; llama: one message with an example, for Llama's family"
    )
    questions_per_chunk: Annotated[int, Field(ge=0, le=20)] = Field(
        default=4, description="questions asked about every chunk; 0: the teacher is asked nothing"
    )
    target_pairs: Annotated[int, Field(ge=1)] | None = Field(
        default=None, description="stop evenly at this many accepted pairs; null: all chunks"
    )
    temperature: Annotated[float, Field(ge=0, le=2)] | None = Field(
        default=None, description="of the teacher; null: the service's default"
    )
    reasoning_effort: Literal["none", "minimal", "low", "medium", "high", "xhigh", "max"] | None = Field(
        default=None, description="of a teacher that reasons, whose reasoning is paid; null: the service's default"
    )
    max_answer_tokens: Annotated[int, Field(ge=64, le=32000)] = Field(default=1024, description="maximum answer tokens")
    min_support: Annotated[float, Field(ge=0, le=1)] = Field(
        default=0.6, description="share of the answer's content words that the oracle document must contain"
    )
    retrieval_top_k: Annotated[int, Field(ge=0, le=100)] = Field(
        default=5, description="retrieval must return the question's chunk among this many nearest ones; 0: gate off"
    )
    near_duplicate: Annotated[float, Field(ge=0.5, le=1)] = Field(
        default=0.85, description="Jaccard similarity of two questions that counts as the same"
    )
    structured: Literal["auto", "off"] = added(
        "auto",
        since="0.3.0",
        description="auto: questions and answers as JSON of a schema where the teacher's service takes one, found out "
        "once per domain; off: always as text",
    )

    @field_validator("structured", mode="before")
    @classmethod
    def _off_is_a_word(cls, structured: Any) -> Any:
        """Read the word that YAML takes for false."""
        return "off" if structured is False else structured


Protocol = Literal["unseen_passages", "seen_passages"]


class DatasetSettings(SettingsGroup):
    """RAFT rows and splits (arXiv 2403.10131, section 3)."""

    distractors: Annotated[int, Field(ge=0, le=50)] = Field(default=3, description="distractor documents per row")
    distractor_kind: Literal["random", "hard"] = Field(
        default="random", description="random, or nearest chunks by embedding"
    )
    p: Annotated[float, Field(ge=0, le=1)] = Field(
        default=0.8, description="share of train and valid rows that keep their oracle document"
    )
    without_oracle: Literal["abstain", "answer"] = Field(
        default="abstain", description="what rows without their oracle document teach"
    )
    eval_share: Annotated[float, Field(gt=0, lt=1)] = Field(default=0.25, description="share of rows for evaluation")
    valid_share: Annotated[float, Field(ge=0, lt=1)] = Field(default=0.1, description="share of rows for validation")
    min_eval_rows: Annotated[int, Field(ge=1)] = Field(
        default=20,
        description="rows of evaluation at least, where training keeps half of its share; a coarser split unit is used "
        "only if evaluation gets them",
    )
    min_valid_rows: Annotated[int, Field(ge=0)] = Field(
        default=10, description="a coarser split unit is used only if validation gets this many rows"
    )
    near_duplicate: Annotated[float, Field(ge=0.5, le=1)] = Field(
        default=0.8, description="Jaccard similarity of two chunks that share a split"
    )
    distractors_from_evaluation: bool = added(
        default=True,
        since="0.3.0",
        description="whether train and valid rows may show other passages of documents that evaluate; never those that "
        "evaluation asks about",
    )
    protocol: Protocol = added(
        "unseen_passages",
        since="0.3.0",
        description="whether training may show the passages of golden questions; seen_passages is the RAFT paper's "
        "own, for corpora that are too small to hold them out: never with the same or nearly the same question",
    )
    seed: int = Field(default=0, description="of every draw")

    @model_validator(mode="after")
    def _shares_leave_training(self) -> "DatasetSettings":
        if self.eval_share + self.valid_share >= 1:
            raise ValueError("eval_share and valid_share together must be below 1")
        return self


class TrainingSettings(SettingsGroup):
    """The student's fine-tuning."""

    n_epochs: Annotated[int, Field(ge=1, le=50)] | Literal["auto"] = Field(
        default="auto", description="passes over the training file"
    )
    batch_size: Annotated[int, Field(ge=1, le=256)] | Literal["auto"] = Field(
        default="auto", description="rows per step"
    )
    checkpoint: Literal["last", "best"] = Field(
        default="last",
        description="which of the job's models is the student: the last, or the one with the most usable validation "
        "answers where the service generates some, and the lowest validation loss",
    )
    learning_rate_multiplier: Annotated[float, Field(gt=0, le=10)] | Literal["auto"] = Field(
        default="auto", description="of the service's default"
    )
    seed: Annotated[int, Field(ge=0, lt=2**31)] = Field(default=0, description="of the training job")


class StudentSettings(SettingsGroup):
    """How the student is prompted, in training and in evaluation."""

    format: Literal["chat", "completion"] = Field(
        default="chat", description="of the training files and of the prompts"
    )
    finetuned_model: Annotated[str, Field(min_length=1)] | None = Field(
        default=None,
        description="a model or deployment of yours that is already fine-tuned: it is evaluated, and nothing is "
        "trained or deployed",
    )
    examples: Literal["auto", "always", "never"] = added(
        "auto",
        since="0.3.0",
        description="worked examples before the task of a completion prompt, which a base model needs; auto: always, "
        "but for a domain whose training files or answers of a version before have none",
    )


class PromptSettings(SettingsGroup):
    """What teacher, baseline and student are instructed before the documents, all three in the same words."""

    instructions: str | None = Field(
        default=None, description="the system prompt; null: the prompt contract's own instructions"
    )

    @model_validator(mode="after")
    def _tells_the_contract(self) -> "PromptSettings":
        instructions = self.instructions
        missing = missing_parts(instructions) if instructions is not None else []
        if missing:
            raise ValueError(f"instructions must state the answer format; they lack {', '.join(map(repr, missing))}")
        if instructions and "<DOCUMENT>" in instructions:
            raise ValueError("instructions must not hold <DOCUMENT>, with which the documents begin")
        return self


class TrainingFileSettings(SettingsGroup):
    """How the student's training files are written."""

    answer_weight: Literal[1] | None = Field(
        default=None, description="`weight` of an assistant message that answers, chat only; null: not written"
    )
    abstention_weight: Literal[0, 1] | None = Field(
        default=None, description="`weight` of one that abstains, chat only; 0: shown, but not trained on"
    )
    bom: Literal["auto"] | bool = Field(
        default="auto", description="UTF-8 byte order mark; auto: where the student's service wants one (Azure)"
    )
    tokenizer: Literal["auto"] | Tokenizer = Field(
        default="auto",
        description="what counts a row's tokens; auto: the student's own, or the nearest that is offline",
    )
    context_tokens: Annotated[int, Field(ge=256, le=2_000_000)] = Field(
        default=65_536,
        description="longest row that the student's training accepts, tokens; the default is that of GPT-4o and 4.1",
    )
    too_long: Literal["error", "drop"] = Field(
        default="error",
        description="what happens to longer rows: training_files fails, or they are left out and counted",
    )


class EvaluationSettings(SettingsGroup):
    """How baseline and student are asked."""

    arms: tuple[Arm, ...] = Field(
        default=("main", "retrieved", "distractors_only", "closed_book"),
        min_length=1,
        description="what the model is shown",
    )
    top_k: Annotated[int, Field(ge=1, le=50)] = Field(default=4, description="documents of the retrieved arm")
    robustness_rows: Annotated[int, Field(ge=0)] = Field(
        default=30,
        description="questions asked again among 1, 3, 5 and 10 distractors, random ones and hard ones; 0: none",
    )
    max_rows: Annotated[int, Field(ge=1)] | None = Field(default=None, description="generated rows per arm; null: all")
    max_answer_tokens: Annotated[int, Field(ge=64, le=32000)] = Field(default=1024, description="maximum answer tokens")
    temperature: Annotated[float, Field(ge=0, le=2)] | None = Field(
        default=0, description="of baseline and student; 0: the likeliest answer; null: the service's default"
    )
    seed: Annotated[int, Field(ge=0, lt=2**31)] | None = Field(
        default=0, description="of baseline and student, where the service takes one; null: none is sent"
    )

    @model_validator(mode="after")
    def _main_arm_stays(self) -> "EvaluationSettings":
        if "main" not in self.arms:
            raise ValueError("arms must hold main: the verdict rests on it")
        return self


JudgedMetric = Literal["groundedness", "relevance", "coherence", "fluency", "similarity"]


class JudgingSettings(SettingsGroup):
    """What the judge, if one is configured, rates in the answers of baseline and student."""

    metrics: tuple[JudgedMetric, ...] = Field(
        default=("groundedness", "relevance", "coherence", "fluency", "similarity"), description="a call each"
    )
    max_questions: Annotated[int, Field(ge=0)] = Field(
        default=100, description="questions of the main arm whose answers are judged, a stable sample; 0: none"
    )
    repeated_questions: Annotated[int, Field(ge=0)] = Field(
        default=20, description="of these, how many are judged twice, which shows how far the judge agrees with itself"
    )


class VerdictSettings(SettingsGroup):
    """How certain a verdict must be."""

    bootstrap_draws: Annotated[int, Field(ge=1000, le=1_000_000)] = Field(
        default=10_000, description="resamples behind an interval"
    )
    guard_margin: Annotated[float, Field(ge=0, le=1)] = added(
        0.1,
        since="0.3.0",
        description="share of one by which form and abstention may be worse: a student that isn't shown to stay within "
        "it is not called better",
    )


class DomainSettings(SettingsGroup):
    """Everything that determines a domain's data, except for the roles' models."""

    version: Literal[1] = Field(default=1, description="of the preset's format")
    documents: DocumentSettings = DocumentSettings()
    chunks: ChunkSettings = ChunkSettings()
    prompt: PromptSettings = PromptSettings()
    questions: QuestionSettings = QuestionSettings()
    dataset: DatasetSettings = DatasetSettings()
    student: StudentSettings = StudentSettings()
    training_files: TrainingFileSettings = TrainingFileSettings()
    training: TrainingSettings = TrainingSettings()
    evaluation: EvaluationSettings = EvaluationSettings()
    judging: JudgingSettings = JudgingSettings()
    verdict: VerdictSettings = VerdictSettings()

    @model_validator(mode="after")
    def _weights_can_be_written(self) -> "DomainSettings":
        weights = (self.training_files.answer_weight, self.training_files.abstention_weight)
        if self.student.format == "completion" and weights != (None, None):
            raise ValueError("training_files.answer_weight and abstention_weight must be null: only chat has weights")
        return self


@dataclass(frozen=True)
class ResolvedSettings:
    """A domain's settings and, per dotted name, the source of each value."""

    preset: str
    values: DomainSettings
    sources: Mapping[str, str]


def flatten_settings(settings: SettingsGroup, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield every value of a settings model with its dotted name."""
    for name in type(settings).model_fields:
        value = getattr(settings, name)
        if isinstance(value, SettingsGroup):
            yield from flatten_settings(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value


def check_layer(name: str, layer: Mapping[str, Any]) -> None:
    """Check one layer for unknown names and for groups that hold no names and values.

    Raises SettingsError.
    """
    for section, content in layer.items():
        if section in DomainSettings.model_fields and section != "version" and not isinstance(content, dict):
            raise SettingsError(f"{name}: {section} is {content!r}; it must hold names and values.")
    validate_settings(name, layer, only_unknown=True)


def validate_settings(name: str, values: Mapping[str, Any], *, only_unknown: bool = False) -> DomainSettings:
    """Return the settings with these values; raises SettingsError.

    `only_unknown`: for a single layer, report misspelt names only, with the layer that holds them; values are validated
    after merging.
    """
    try:
        return DomainSettings.model_validate(values)
    except ValidationError as error:
        for problem in error.errors():
            if only_unknown and problem["type"] != "extra_forbidden":
                continue
            where = ".".join(
                str(part)
                for part in problem["loc"]
                if not str(part).startswith(("literal", "constrained", "int", "function"))
            )
            raise SettingsError(
                f"{name}: {where or 'settings'} is {_abbreviate(problem['input'])}. {_describe_allowed(problem, where)}"
            ) from error
    return DomainSettings()


def _abbreviate(value: Any) -> str:
    return repr(value) if len(repr(value)) <= 80 else repr(value)[:77] + "..."


def _describe_allowed(problem: Mapping[str, Any], where: str) -> str:
    if problem["type"] != "extra_forbidden":
        return f"Allowed: {problem['msg'].removeprefix('Value error, ').removeprefix('Input ').strip()}."
    *parents, _ = where.split(".")
    section: Any = DomainSettings
    for parent in parents:
        section = section.model_fields[parent].annotation
    return f"There is no such setting; the settings there are: {', '.join(section.model_fields)}."


def merge_layer(target: dict[str, Any], layer: Mapping[str, Any]) -> None:
    """Merge a layer into `target`, in place; its values replace those below it."""
    for key, value in layer.items():
        if isinstance(value, dict) and isinstance(target.get(key), dict):
            merge_layer(target[key], value)
        else:
            target[key] = dict(value) if isinstance(value, dict) else value


def flatten_names(values: Mapping[str, Any], prefix: str = "") -> Iterator[str]:
    """Yield the dotted name of every value."""
    for key, value in values.items():
        if isinstance(value, Mapping):
            yield from flatten_names(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}"
