"""Every setting, typed, with its unit, default and bounds; the only module that reads the environment.

Two kinds that never mix. `DomainSettings` determine data: they come from a preset (`presets/*.yaml`) and a domain's
`domain.yaml`, and a
change makes what depends on it stale. `Workplace` and `Endpoint` say where and how the work is executed: they come from
the environment, `.env` and
`.env.state`. Of these only a role's *model* determines data.

Precedence, highest first: `domain.yaml`, then its preset, then the defaults below; for addresses and keys: environment,
`.env`, `.env.state`.
Which preset: `preset:` in `domain.yaml`, then the last `raft run --preset` for that domain, then `RAFT_PRESET`, then
`default`.
"""

import json
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar
from urllib.parse import urlsplit

import dotenv
import yaml
from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError, model_validator

from raft_assets.errors import SettingsError
from raft_assets.raft.atomic import write_text
from raft_assets.raft.contract import CONTRACT_PARTS
from raft_assets.raft.files import SETTINGS_FILE, domain_folder
from raft_assets.raft.tables import Arm

T = TypeVar("T")

EMBEDDED_MODELS = {
    "TEACHER": "embedded-teacher",
    "EMBEDDING": "embedded-encoder",
    "BASELINE": "embedded-reader",
    "STUDENT": "embedded-reader",
}
EMBEDDED_LABEL = "embedded provider: rules and an extractive reader of English, no language model"
EMBEDDED_CEILING = 2  # calls at once: the embedded provider computes on this machine's cores
OPENAI_BASE_URL = "https://api.openai.com/v1"
DEFAULT_PRESET = "default"
AZURE_BLOB_SCHEMES = ("abfs", "abfss", "az")
DEPLOYMENT_PREFIX = "raft-"  # of the deployments that this product makes
DEVELOPER_TIER = "DeveloperTier"  # of Azure: no hosting cost, no promises, and an end after 24 h
Tokenizer = Literal["o200k_base", "cl100k_base", "wordpiece"]  # of OpenAI's models, and of the embedded provider's
_FAMILY = re.compile(r"gpt|o\d|llama|mistral|mixtral|ministral|phi|qwen|gemma|gemini|claude|deepseek|falcon|command")
_OF_CL100K = re.compile(r"gpt-(3\.?5|4(-turbo|-\d{4}|-32k)?$)")  # GPT-4o and what came later have another vocabulary


# ---------------------------------------------------------------- settings that determine data


class Section(BaseModel):
    """A group of settings; unknown names are errors, values never change."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class DocumentSettings(Section):
    """What is read."""

    max_file_mb: Annotated[int, Field(ge=1, le=2000)] = Field(
        default=50, description="larger files are quarantined, MB"
    )


class ChunkSettings(Section):
    """How documents are cut."""

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
        default=24, description="smaller pieces join a neighbour, tokens"
    )
    boundaries: Literal["structure", "semantic"] = Field(
        default="structure",
        description="cut by the document's structure, the same on every machine, or where the subject changes, "
        "by the EMBEDDING role's vectors",
    )

    @model_validator(mode="after")
    def _overlap_fits(self) -> "ChunkSettings":
        if 2 * self.chunk_overlap > self.chunk_size or self.min_chunk_tokens > self.chunk_size:
            raise ValueError("chunk_overlap must be at most half of chunk_size, min_chunk_tokens at most chunk_size")
        return self


class QuestionSettings(Section):
    """What the teacher is asked, and what a pair must pass."""

    style: Literal["general", "llama"] = Field(
        default="general", description="folder of raft/prompts; llama: one message with an example, for Llama's family"
    )
    questions_per_chunk: Annotated[int, Field(ge=0, le=20)] = Field(
        default=4, description="questions asked of every chunk; 0: the teacher is asked nothing"
    )
    target_pairs: Annotated[int, Field(ge=1)] | None = Field(
        default=None, description="stop evenly at this many accepted pairs; null: all chunks"
    )
    temperature: Annotated[float, Field(ge=0, le=2)] | None = Field(
        default=None, description="of the teacher; null: the service's default"
    )
    max_answer_tokens: Annotated[int, Field(ge=64, le=32000)] = Field(
        default=1024, description="room for an answer, tokens"
    )
    min_support: Annotated[float, Field(ge=0, le=1)] = Field(
        default=0.6, description="share of the answer's content words that the oracle document must hold"
    )
    retrieval_top_k: Annotated[int, Field(ge=0, le=100)] = Field(
        default=5, description="the question must bring its chunk back among so many nearest ones; 0: gate off"
    )
    near_duplicate: Annotated[float, Field(ge=0.5, le=1)] = Field(
        default=0.85, description="Jaccard similarity of two questions that counts as the same"
    )


class DatasetSettings(Section):
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
        default=20, description="a coarser split unit is taken only if evaluation gets so many rows"
    )
    min_valid_rows: Annotated[int, Field(ge=0)] = Field(
        default=10, description="a coarser split unit is taken only if validation gets so many rows"
    )
    near_duplicate: Annotated[float, Field(ge=0.5, le=1)] = Field(
        default=0.8, description="Jaccard similarity of two chunks that share a split"
    )
    seed: int = Field(default=0, description="of every draw")

    @model_validator(mode="after")
    def _shares_leave_training(self) -> "DatasetSettings":
        if self.eval_share + self.valid_share >= 1:
            raise ValueError("eval_share and valid_share together must be below 1")
        return self


class TrainingSettings(Section):
    """The student's fine-tuning."""

    n_epochs: Annotated[int, Field(ge=1, le=50)] | Literal["auto"] = Field(
        default="auto", description="passes over the training file"
    )
    batch_size: Annotated[int, Field(ge=1, le=256)] | Literal["auto"] = Field(
        default="auto", description="rows per step"
    )
    checkpoint: Literal["last", "best"] = Field(
        default="last",
        description="which of the job's models is the student: the last, or that of the least validation loss",
    )
    learning_rate_multiplier: Annotated[float, Field(gt=0, le=10)] | Literal["auto"] = Field(
        default="auto", description="of the service's default"
    )
    seed: Annotated[int, Field(ge=0, lt=2**31)] = Field(default=0, description="of the training job")


class StudentSettings(Section):
    """How the student is spoken to, in training and in evaluation."""

    format: Literal["chat", "completion"] = Field(
        default="chat", description="of the training files and of the prompts"
    )
    finetuned_model: Annotated[str, Field(min_length=1)] | None = Field(
        default=None,
        description="a model or deployment of yours that is already fine-tuned: it is evaluated, nothing is trained or "
        "deployed",
    )


class PromptSettings(Section):
    """What teacher, baseline and student are told before the documents, all three in the same words."""

    instructions: str | None = Field(
        default=None, description="the system prompt; null: the prompt contract's own instructions"
    )

    @model_validator(mode="after")
    def _tells_the_contract(self) -> "PromptSettings":
        told = self.instructions
        missing = [part for part in CONTRACT_PARTS if told is not None and part not in told]
        if missing:
            raise ValueError(
                "instructions must tell the form in which answers are read; "
                f"what is not in them: {', '.join(map(repr, missing))}"
            )
        if told and "<DOCUMENT>" in told:
            raise ValueError("instructions must not hold <DOCUMENT>, with which the documents begin")
        return self


class TrainingFileSettings(Section):
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
        description="longest row that the student's training takes, tokens; the default is that of GPT-4o and 4.1",
    )
    too_long: Literal["error", "drop"] = Field(
        default="error", description="what longer rows do: fail training_files, or be left out and counted"
    )


class EvaluationSettings(Section):
    """What baseline and student are asked."""

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
    max_answer_tokens: Annotated[int, Field(ge=64, le=32000)] = Field(
        default=1024, description="room for an answer, tokens"
    )

    @model_validator(mode="after")
    def _main_arm_stays(self) -> "EvaluationSettings":
        if "main" not in self.arms:
            raise ValueError("arms must hold main: the verdict rests on it")
        return self


JudgedMetric = Literal["groundedness", "relevance", "coherence", "fluency", "similarity"]


class JudgingSettings(Section):
    """What the judge rates in the answers of baseline and student, where one is configured."""

    metrics: tuple[JudgedMetric, ...] = Field(
        default=("groundedness", "relevance", "coherence", "fluency", "similarity"), description="a call each"
    )
    max_questions: Annotated[int, Field(ge=0)] = Field(
        default=100, description="questions of the main arm whose answers are judged, a stable sample; 0: none"
    )
    repeated_questions: Annotated[int, Field(ge=0)] = Field(
        default=20, description="of these, how many are judged twice, which tells how far the judge agrees with itself"
    )


class VerdictSettings(Section):
    """How sure a verdict has to be."""

    bootstrap_draws: Annotated[int, Field(ge=1000, le=1_000_000)] = Field(
        default=10_000, description="resamples behind an interval"
    )


class DomainSettings(Section):
    """Everything that determines a domain's data, but for the roles' models."""

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
    """A domain's settings and, per dotted name, where each value comes from."""

    preset: str
    values: DomainSettings
    sources: Mapping[str, str]


# ---------------------------------------------------------------- endpoints


class Role(StrEnum):
    """What a model is used for."""

    TEACHER = "TEACHER"
    EMBEDDING = "EMBEDDING"
    BASELINE = "BASELINE"
    STUDENT = "STUDENT"
    JUDGE = "JUDGE"


@dataclass(frozen=True)
class Limits:
    """How fast a role's model may be asked; None: found out from the service's headers, or unlimited."""

    ceiling: int = 256  # calls at once
    requests_per_minute: int | None = None
    tokens_per_minute: int | None = None


@dataclass(frozen=True)
class Endpoint:
    """A model and the service that answers for it. Equal `service` and `model` mean: equal request, equal answer."""

    role: Role
    provider: Literal["embedded", "openai", "azure", "azureml"]
    model: str
    base_url: str = ""
    api_key: SecretStr | None = field(default=None, repr=False)
    api_version: str | None = None
    known_as: str = ""  # the model behind a deployment whose name doesn't tell, from <ROLE>_MODEL
    limits: Limits = Limits()
    batch: bool = False  # asked through the service's Batch API: half the price, answered within a day

    @property
    def base_model(self) -> str:
        """The model as price lists, tokenizers and licences name it."""
        return self.known_as or self.model

    @property
    def plain_model(self) -> str:
        """The model's name without publisher and case: `meta-llama/Meta-Llama-3.1-8B` is llama-3.1-8b."""
        return self.base_model.lower().rpartition("/")[2].removeprefix("meta-")

    @property
    def family(self) -> str:
        """What kin the model is, such as `gpt` or `llama`; empty where its name doesn't tell."""
        found = _FAMILY.match(self.plain_model)
        return "" if found is None else "gpt" if re.fullmatch(r"o\d", found[0]) else found[0]

    @property
    def service(self) -> str:
        """Identity of the service in call keys and data versions: address without credentials, or `embedded`."""
        return self.provider if self.provider == "embedded" else self.base_url.rstrip("/")

    @property
    def is_free(self) -> bool:
        """Whether calls cost nothing: only the embedded provider is known to."""
        return self.provider == "embedded"

    @property
    def is_deployed_on_azure(self) -> bool:
        """Whether a model that is fine-tuned from it must be deployed, and may cost while it stands."""
        return self.provider in ("azure", "azureml")

    @property
    def wants_bom(self) -> bool:
        """Whether training files must begin with a byte order mark: Azure OpenAI asks for it."""
        return self.provider == "azure"

    @property
    def tokenizer(self) -> Tokenizer:
        """The vocabulary of the model, or of OpenAI's present models where the model's own isn't known offline."""
        if self.provider == "embedded":
            return "wordpiece"
        return "cl100k_base" if _OF_CL100K.match(self.base_model) else "o200k_base"


@dataclass(frozen=True)
class Hosting:
    """How Azure trains and hosts a fine-tuned student; nothing of it changes what the student says.

    `hours`: how long a deployment may live; the developer tier ends after 24 h by itself. `model_format`: who made the
    base model, as Azure names it (`OpenAI`, `Meta`, ...). `training_type`: what Azure
    calls `trainingType` (`Standard`, `GlobalStandard`, `DeveloperTier`), None for the service's default.
    """

    subscription: str | None = None
    resource_group: str | None = None
    sku: str = DEVELOPER_TIER
    capacity: int = 50
    hours: int | None = None
    model_format: str = "OpenAI"
    training_type: str | None = None
    redeploy: bool = False


@dataclass(frozen=True)
class MLWorkspace:
    """An Azure ML workspace that tunes and serves the student ("MaaS")."""

    subscription: str
    resource_group: str
    name: str


@dataclass(frozen=True)
class Environment:
    """Variables of the process, then of `.env`, then of `.env.state`.

    Unprefixed credentials count from the files only.
    """

    process: Mapping[str, str]
    files: Mapping[str, str]

    @classmethod
    def load(cls, project: Path, process: Mapping[str, str] | None = None) -> "Environment":
        """Reads the two files of the project folder; the process's own variables by default."""
        files: dict[str, str] = {}
        for name in (".env.state", ".env"):
            files |= {key: value for key, value in dotenv.dotenv_values(project / name).items() if value}
        workspace = project / "config.json"  # as Azure ML's studio gives it
        if workspace.is_file():
            files |= {f"config.json {key}": str(value) for key, value in _read_json(workspace).items()}
        return cls(process=dict(os.environ if process is None else process), files=files)

    def get(self, name: str) -> str | None:
        """A variable that names its role or this product; empty counts as absent."""
        return self.process.get(name) or self.files.get(name) or None

    def endpoints(self) -> dict[Role, Endpoint]:
        """The endpoint of every role; the judge only where one is configured.

        Raises SettingsError for a half-configured role: falling back would spend, or not spend, where the user didn't
        mean to.
        """
        pinned = self.get("RAFT_PROVIDER")
        if pinned not in (None, "embedded"):
            raise SettingsError(
                f"RAFT_PROVIDER is {pinned!r}; allowed is embedded "
                f"(which ignores every configured endpoint), or nothing."
            )
        found = {role: endpoint for role in Role if not pinned and (endpoint := self._endpoint(role))}
        for role, model in EMBEDDED_MODELS.items():
            if role != Role.BASELINE:
                limits = Limits(ceiling=EMBEDDED_CEILING)
                found.setdefault(Role(role), Endpoint(Role(role), "embedded", model, limits=limits))
        student = found[Role.STUDENT]
        found.setdefault(
            Role.BASELINE,
            replace(student, role=Role.BASELINE),
        )
        return {
            role: replace(endpoint, limits=self._limits(endpoint), batch=self._asks_in_batches(role))
            for role, endpoint in found.items()
        }

    def _asks_in_batches(self, role: Role) -> bool:
        """What `<ROLE>_BATCH` says. Raises SettingsError for the embeddings, which are asked as they are needed."""
        wanted = bool(_bounded_int(self, f"{role}_BATCH", default=0, low=0, high=1))
        if wanted and role is Role.EMBEDDING:
            raise SettingsError("EMBEDDING_BATCH is set, and embeddings are not asked in batches: remove it.")
        return wanted

    def hosting(self) -> Hosting:
        """What `AZURE_SUBSCRIPTION_ID`, `AZURE_RESOURCE_GROUP` and the `STUDENT_DEPLOYMENT_*` variables say.

        Raises SettingsError for a value that can't be.
        """
        return Hosting(
            subscription=self.get("AZURE_SUBSCRIPTION_ID"),
            resource_group=self.get("AZURE_RESOURCE_GROUP"),
            sku=self.get("STUDENT_DEPLOYMENT_SKU") or DEVELOPER_TIER,
            capacity=_bounded_int(self, "STUDENT_DEPLOYMENT_CAPACITY", default=50, low=1, high=100_000),
            hours=_bounded_int(self, "STUDENT_DEPLOYMENT_HOURS", default=None, low=1, high=24 * 365),
            model_format=self.get("STUDENT_DEPLOYMENT_FORMAT") or "OpenAI",
            training_type=self.get("STUDENT_TRAINING_TYPE"),
            redeploy=bool(_bounded_int(self, "RAFT_REDEPLOY", default=0, low=0, high=1)),
        )

    def _limits(self, endpoint: Endpoint) -> Limits:
        """What `<ROLE>_MAX_CONCURRENT_CALLS`, `_REQUESTS_PER_MINUTE` and `_TOKENS_PER_MINUTE` say."""

        def number(name: str, default: int | None) -> int | None:
            return _bounded_int(self, f"{endpoint.role}_{name}", default=default, low=1, high=10**9)

        known = endpoint.limits
        return Limits(
            ceiling=number("MAX_CONCURRENT_CALLS", known.ceiling) or known.ceiling,
            requests_per_minute=number("REQUESTS_PER_MINUTE", None),
            tokens_per_minute=number("TOKENS_PER_MINUTE", None),
        )

    def _endpoint(self, role: Role) -> Endpoint | None:
        prefixes = (role.value, "COMPLETION") if role is Role.TEACHER else (role.value,)
        found = [
            endpoint
            for prefix in prefixes
            for read in (self._azure, self._openai, self._azureml)
            if (endpoint := read(role, prefix))
        ]
        if len(found) > 1:
            raise SettingsError(
                f"{role} is configured twice, as {found[0].service} and as {found[1].service}: remove one of them."
            )
        return found[0] if found else None

    def ml_workspace(self) -> MLWorkspace:
        """From `AZUREML_WORKSPACE`, `AZURE_RESOURCE_GROUP` and `AZURE_SUBSCRIPTION_ID`, else from `config.json`.

        Raises SettingsError where a part is missing.
        """
        named = {
            "AZURE_SUBSCRIPTION_ID": "subscription_id",
            "AZURE_RESOURCE_GROUP": "resource_group",
            "AZUREML_WORKSPACE": "workspace_name",
        }
        parts = [self.get(name) or self.files.get(f"config.json {field}") for name, field in named.items()]
        if missing := [name for name, part in zip(named, parts, strict=True) if not part]:
            raise SettingsError(
                f"STUDENT is in an Azure ML workspace, and it isn't known which: set {', '.join(missing)}, or put the "
                "workspace's config.json beside workspace.yaml."
            )
        return MLWorkspace(*map(str, parts))

    def _azureml(self, role: Role, prefix: str) -> Endpoint | None:
        model = self.get(f"{prefix}_AZUREML_MODEL")
        if not model:
            return None
        if role is not Role.STUDENT:
            raise SettingsError(f"{prefix}_AZUREML_MODEL is set; only STUDENT is tuned in an Azure ML workspace.")
        if not self._endpoint(Role.BASELINE):
            raise SettingsError(
                "STUDENT_AZUREML_MODEL is set, and a base model in a registry doesn't answer: set BASELINE_OPENAI_* to "
                "an endpoint of it."
            )
        place = self.ml_workspace()
        known_as = self.get(f"{prefix}_MODEL") or re.sub(r"/versions/[^/]+$", "", model).rpartition("/")[2]
        return Endpoint(role, "azureml", model, f"azureml://{place.name}", known_as=known_as)

    def _openai(self, role: Role, prefix: str) -> Endpoint | None:
        names = [f"{prefix}_OPENAI_{part}" for part in ("API_KEY", "BASE_URL", "DEPLOYMENT")]
        key, base_url, model = (self.get(name) for name in names)
        if not (key or base_url or model):
            return None
        key, base_url = key or self.files.get("OPENAI_API_KEY"), base_url or self.files.get("OPENAI_BASE_URL")
        if not model:
            raise SettingsError(
                f"{role} is half configured: {names[2]} (the model) is not set. "
                f"Set it, or remove the other {prefix}_OPENAI_* variables."
            )
        if not (key or base_url):
            raise SettingsError(
                f"{role} is half configured: set {names[0]}, or {names[1]} for a service that needs no key."
            )
        address = _without_credentials(names[1], base_url or OPENAI_BASE_URL)
        return Endpoint(
            role,
            "openai",
            model,
            address,
            SecretStr(key) if key else None,
            known_as=self.get(f"{prefix}_MODEL") or "",
        )

    def _azure(self, role: Role, prefix: str) -> Endpoint | None:
        names = [f"{prefix}_AZURE_OPENAI_{part}" for part in ("API_KEY", "ENDPOINT", "DEPLOYMENT")]
        key, address, model = (self.get(name) for name in names)
        if not (key or address or model):
            return None
        key, address = key or self.files.get("AZURE_OPENAI_API_KEY"), address or self.files.get("AZURE_OPENAI_ENDPOINT")
        for name, value in zip(names[1:], (address, model), strict=True):
            if not value:
                raise SettingsError(
                    f"{role} is half configured: {name} is not set. "
                    f"Set it, or remove the other {prefix}_AZURE_OPENAI_* variables."
                )
        return Endpoint(
            role,
            "azure",
            str(model),
            _without_credentials(names[1], str(address)),
            SecretStr(key) if key else None,
            self.get(f"{prefix}_OPENAI_API_VERSION"),
            self.get(f"{prefix}_MODEL") or "",
        )


# ---------------------------------------------------------------- where the work is done


@dataclass(frozen=True)
class Budgets:
    """What may be spent on model calls, US dollars, per run and per calendar month; None: no budget."""

    run: float | None = None
    month: float | None = None

    @property
    def is_set(self) -> bool:
        """Whether there is a budget to keep."""
        return self.run is not None or self.month is not None


@dataclass(frozen=True)
class Workplace:
    """Folders and limits of this machine; none of them changes a result."""

    project: Path
    data: Path
    home: Path
    lake: str
    calls_address: str | None
    presets: Path
    default_preset: str
    max_concurrent_runs: int
    budget: Budgets
    encoder_folder: Path | None
    huggingface_home: Path
    environment: Environment

    @classmethod
    def load(cls, project: Path | None = None, process: Mapping[str, str] | None = None) -> "Workplace":
        """The workplace of a project folder.

        The given one, `RAFT_PROJECT`, or the nearest folder upwards that holds `workspace.yaml`.
        """
        variables = dict(os.environ if process is None else process)
        root = (
            project or (Path(variables["RAFT_PROJECT"]) if variables.get("RAFT_PROJECT") else _find_project(Path.cwd()))
        ).resolve()
        environment = Environment.load(root, variables)

        def folder(name: str, default: Path) -> Path:
            return (root / (environment.get(name) or default)).resolve()

        home = folder("RAFT_HOME", root / ".raft")
        encoder = environment.get("RAFT_ENCODER_DIR")
        return cls(
            project=root,
            data=folder("RAFT_DATA", root / "data"),
            home=home,
            lake=_lake(root, environment.get("RAFT_LAKE")) or str(home / "lake"),
            calls_address=_lake(root, environment.get("RAFT_CALLS")),
            presets=folder("RAFT_PRESETS", root / "presets"),
            default_preset=environment.get("RAFT_PRESET") or DEFAULT_PRESET,
            max_concurrent_runs=_bounded_int(
                environment, "RAFT_MAX_CONCURRENT_RUNS", default=os.cpu_count() or 2, low=1, high=256
            ),
            budget=Budgets(_dollars(environment, "RAFT_BUDGET_RUN"), _dollars(environment, "RAFT_BUDGET_MONTH")),
            encoder_folder=(root / encoder).resolve() if encoder else None,
            huggingface_home=Path(environment.get("HF_HOME") or Path.home() / ".cache" / "huggingface"),
            environment=environment,
        )

    @property
    def dagster_home(self) -> Path:
        """`DAGSTER_HOME` where it is set, else a folder of the workplace."""
        return (self.project / (self.environment.get("DAGSTER_HOME") or self.home / "dagster_home")).resolve()

    @property
    def embedded_folder(self) -> Path:
        """State of the embedded provider: uploaded files, jobs, trained models."""
        return self.home / "embedded"

    @property
    def batches(self) -> Path:
        """What is remembered of batches of calls."""
        return self.home / "calls" / "batches"

    @property
    def jobs_folder(self) -> Path:
        """What this machine remembers of fine-tuning jobs that it submitted."""
        return self.home / "jobs"

    @property
    def results(self) -> Path:
        """DuckDB file of the evaluations."""
        return self.home / "results.duckdb"

    @property
    def calls(self) -> Path:
        """The call store."""
        return self.home / "calls" / "calls.sqlite"

    def settings(self, domain: str) -> ResolvedSettings:
        """The domain's settings with the source of each.

        Raises SettingsError naming file, field, value and what is allowed.
        """
        file = self._settings_file(domain)
        own = _read_yaml(file) if file.is_file() else {}
        preset = own.pop("preset", None) or self.chosen_presets().get(domain) or self.default_preset
        layers = [(f"presets/{preset}.yaml", self._preset(str(preset))), (f"{domain}/{SETTINGS_FILE}", own)]
        merged: dict[str, Any] = {}
        sources: dict[str, str] = {}
        for name, layer in layers:
            _check_layer(name, layer)
            _merge(merged, layer)
            sources |= dict.fromkeys(_dotted(layer), name)
        values = _validated(f"{domain} ({' + '.join(name for name, layer in layers if layer) or 'defaults'})", merged)
        return ResolvedSettings(str(preset), values, {name: sources.get(name, "default") for name, _ in dotted(values)})

    def _settings_file(self, domain: str) -> Path:
        return domain_folder(self.data, domain) / SETTINGS_FILE

    def chosen_presets(self) -> dict[str, str]:
        """Domain to the preset that `raft run --preset` chose for it last."""
        file = self.home / "presets.json"
        return json.loads(file.read_text("utf-8")) if file.is_file() else {}

    def choose_preset(self, domain: str, preset: str) -> None:
        """Remembers the choice, so that the UI, the sensor and `raft status` see the same settings as the run.

        Raises SettingsError for an unknown preset, and where the domain names its own.
        """
        self._preset(preset)
        file = self._settings_file(domain)
        if file.is_file() and _read_yaml(file).get("preset", preset) != preset:
            raise SettingsError(f"{file} names a preset of its own: change it there, or remove the line.")
        self._write_presets(self.chosen_presets() | {domain: preset})

    def forget_preset(self, domain: str) -> None:
        """Forgets what was chosen for a domain."""
        if domain in self.chosen_presets():
            self._write_presets({name: preset for name, preset in self.chosen_presets().items() if name != domain})

    def _write_presets(self, presets: Mapping[str, str]) -> None:
        write_text(self.home / "presets.json", json.dumps(presets, ensure_ascii=False, indent=1))

    def preset_names(self) -> list[str]:
        """Every preset that can be chosen."""
        return sorted({DEFAULT_PRESET} | {file.stem for file in self.presets.glob("*.yaml")})

    def _preset(self, name: str) -> dict[str, Any]:
        file = self.presets / f"{name}.yaml"
        if name not in self.preset_names():
            raise SettingsError(
                f"There is no preset {name!r} in {self.presets}. Allowed: {', '.join(self.preset_names())}."
            )
        return _read_yaml(file) if file.is_file() else {}


def storage_options(address: str) -> dict[str, Any]:
    """What fsspec is told to open an address on Azure Blob: keyless, unless `AZURE_STORAGE_CONNECTION_STRING` or
    `AZURE_STORAGE_ACCOUNT_KEY` stands in the environment or in `.env`. Nothing for other addresses.
    """
    if urlsplit(address).scheme not in AZURE_BLOB_SCHEMES:
        return {}
    environment = Workplace.load().environment
    names = ("connection_string", "account_name", "account_key")
    found = {name: environment.get(f"AZURE_STORAGE_{name.upper()}") for name in names}
    return {"anon": False} | {name: value for name, value in found.items() if value}


def blob_container(address: str) -> tuple[str, str, str] | None:
    """Account (empty where only the environment tells), container and folder of an address on Azure Blob, else None.

    Raises SettingsError for an address without a container.
    """
    parts = urlsplit(address)
    if parts.scheme not in AZURE_BLOB_SCHEMES:
        return None
    container, _, host = parts.netloc.rpartition("@") if "@" in parts.netloc else (parts.netloc, "", "")
    if not container:
        raise SettingsError(
            f"RAFT_LAKE is {address!r}; allowed is abfs://container@account.dfs.core.windows.net/folder."
        )
    return host.partition(".")[0], container, parts.path.strip("/")


def _without_credentials(name: str, address: str) -> str:
    """An address stands in tables, reports and errors: a password in it would stand there, too."""
    if "@" in urlsplit(address).netloc or urlsplit(address).query:
        raise SettingsError(
            f"{name} holds a user, a password or a query: "
            f"put the key into {name.rpartition('_OPENAI_')[0]}_OPENAI_API_KEY instead."
        )
    return address


def dotted(settings: Section, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Every value of a settings model with its dotted name."""
    for name in type(settings).model_fields:
        value = getattr(settings, name)
        if isinstance(value, Section):
            yield from dotted(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value


def _find_project(start: Path) -> Path:
    return next((folder for folder in (start, *start.parents) if (folder / "workspace.yaml").is_file()), start)


def _lake(root: Path, address: str | None) -> str | None:
    """An address as it is, a folder relative to the project."""
    return address if not address or "://" in address else str(root / address)


def _bounded_int(environment: Environment, name: str, *, default: T, low: int, high: int) -> int | T:
    value = environment.get(name)
    if value is None:
        return default
    if not value.isdigit() or not low <= int(value) <= high:
        raise SettingsError(f"{name} is {value!r}; allowed is a whole number from {low} to {high}.")
    return int(value)


def _dollars(environment: Environment, name: str) -> float | None:
    value = environment.get(name)
    if value is None:
        return None
    try:
        dollars = float(value)
    except ValueError:
        dollars = -1.0
    if not 0 <= dollars < float("inf"):
        raise SettingsError(f"{name} is {value!r}; allowed is an amount of US dollars, such as 12.50.")
    return dollars


def _read_yaml(file: Path) -> dict[str, Any]:
    try:
        content = yaml.safe_load(file.read_text("utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise SettingsError(f"{file} is not readable as YAML: {' '.join(str(error).split())}") from error
    if not isinstance(content or {}, dict):
        raise SettingsError(
            f"{file} must hold names and values "
            f"(such as `chunks: {{chunk_size: 200}}`), not a {type(content).__name__}."
        )
    return content or {}


def _read_json(file: Path) -> dict[str, Any]:
    try:
        content = json.loads(file.read_text("utf-8"))
    except ValueError as error:
        raise SettingsError(f"{file} is not readable as JSON: {error}.") from error
    return content if isinstance(content, dict) else {}


def _check_layer(name: str, layer: Mapping[str, Any]) -> None:
    for section, content in layer.items():
        if section in DomainSettings.model_fields and section != "version" and not isinstance(content, dict):
            raise SettingsError(f"{name}: {section} is {content!r}; allowed are names and values below it.")
    _validated(name, layer, only_unknown=True)


def _validated(name: str, values: Mapping[str, Any], *, only_unknown: bool = False) -> DomainSettings:
    """The settings of the values; raises SettingsError.

    `only_unknown`: of a single layer, misspelt names are told with the layer that holds them; values are judged after
    merging.
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
                f"{name}: {where or 'settings'} is {_shown(problem['input'])}. {_allowed(problem, where)}"
            ) from error
    return DomainSettings()


def _shown(value: Any) -> str:
    return repr(value) if len(repr(value)) <= 80 else repr(value)[:77] + "..."


def _allowed(problem: Mapping[str, Any], where: str) -> str:
    if problem["type"] != "extra_forbidden":
        return f"Allowed: {problem['msg'].removeprefix('Value error, ').removeprefix('Input ').strip()}."
    *parents, _ = where.split(".")
    section: Any = DomainSettings
    for parent in parents:
        section = section.model_fields[parent].annotation
    return f"There is no such setting; known there: {', '.join(section.model_fields)}."


def _merge(target: dict[str, Any], layer: Mapping[str, Any]) -> None:
    for key, value in layer.items():
        if isinstance(value, dict) and isinstance(target.get(key), dict):
            _merge(target[key], value)
        else:
            target[key] = dict(value) if isinstance(value, dict) else value


def _dotted(values: Mapping[str, Any], prefix: str = "") -> Iterator[str]:
    for key, value in values.items():
        if isinstance(value, Mapping):
            yield from _dotted(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}"
