"""The five roles, the models and services that answer for them, and how a student is hosted."""

import ipaddress
import re
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Literal
from urllib.parse import urlsplit

from pydantic import SecretStr

from raft_assets.core.addresses import is_loopback
from raft_assets.settings.domain import Tokenizer

EMBEDDED_MODELS = {
    "TEACHER": "embedded-teacher",
    "EMBEDDING": "embedded-encoder",
    "BASELINE": "embedded-reader",
    "STUDENT": "embedded-reader",
}
EMBEDDED_LABEL = "embedded provider: rules and an extractive reader of English, no language model"
EMBEDDED_MAX_CONCURRENCY = 2  # calls at once: the embedded provider computes on this machine's cores
OPENAI_BASE_URL = "https://api.openai.com/v1"
# names that no public server has (RFC 6762, 8375, 9476 and common use); nor has one without a dot, as in Compose files
PRIVATE_DOMAINS = (".localhost", ".local", ".internal", ".home.arpa", ".lan", ".cluster.local")
DEPLOYMENT_PREFIX = "raft-"  # of the deployments that this product creates
DEVELOPER_TIER = "DeveloperTier"  # of Azure: no hosting cost, no service level, and deletion after 24 h
# how Azure OpenAI and Foundry are addressed: the resource, or a project in it, with or without the API's path
_AZURE_OPENAI_URL = re.compile(
    r"https://[^/]+\.(openai|services\.ai|cognitiveservices)\.azure\.com(/api/projects/[^/]+)?(/openai(/v1)?)?",
    re.IGNORECASE,
)
_PROJECT_PATH = re.compile(r"/api/projects/[^/]+")
_AZURE_PATH = re.compile(r"(/api/projects/[^/]+)?(/openai)?(/v1)?$")
_VERSION = re.compile(r"@[0-9a-f]{12}$")
_FAMILY = re.compile(r"gpt|o\d|llama|mistral|mixtral|ministral|phi|qwen|gemma|gemini|claude|deepseek|falcon|command")
# GPT-4o and later models have another vocabulary
_CL100K_MODELS = re.compile(r"gpt-(3\.?5|4(-turbo|-\d{4}|-32k)?$)")


class Role(StrEnum):
    """What a model is used for."""

    TEACHER = "TEACHER"
    EMBEDDING = "EMBEDDING"
    BASELINE = "BASELINE"
    STUDENT = "STUDENT"
    JUDGE = "JUDGE"


@dataclass(frozen=True)
class Limits:
    """How fast a role's model may be called; None: discovered from the service's headers, or unlimited."""

    max_concurrency: int = 256  # calls at once
    requests_per_minute: int | None = None
    tokens_per_minute: int | None = None
    timeout_s: int | float | None = None  # until a call counts as lost; None: by the latencies observed


@dataclass(frozen=True)
class Endpoint:
    """A model and the service that answers for it. Equal `service` and `model` mean: equal request, equal answer."""

    role: Role
    provider: Literal["embedded", "openai", "azure", "azureml"]
    model: str
    base_url: str = ""
    api_key: SecretStr | None = field(default=None, repr=False)
    api_version: str | None = None
    underlying_model: str = ""  # the model behind a deployment whose name doesn't say, from <ROLE>_MODEL
    limits: Limits = Limits()
    batch: bool = False  # called through the service's Batch API: half the price, answered within a day
    is_declared_free: bool = False  # by <ROLE>_PRICE=0
    is_priced: bool = False  # by the project's own prices.yaml

    @property
    def base_model(self) -> str:
        """The model as price lists, tokenizers and licences name it."""
        return self.underlying_model or self.model

    @property
    def normalized_model(self) -> str:
        """The model's name as lists of models know it."""
        return normalize_model(self.base_model)

    @property
    def has_one_machine(self) -> bool:
        """Whether the service is one machine that trains and answers in turns, and says so in its models' ids.

        It adds a version to a name (`llama-3.1-8b@3f2a9c1b04de`): everything that determines an answer or a student.
        """
        return self.provider == "openai" and _VERSION.search(self.model) is not None

    @property
    def family(self) -> str:
        """The model family, such as `gpt` or `llama`; empty if the name doesn't say."""
        match = _FAMILY.match(self.normalized_model)
        return "" if match is None else "gpt" if re.fullmatch(r"o\d", match[0]) else match[0]

    @property
    def service(self) -> str:
        """Identity of the service in call keys and data versions: address without credentials, or `embedded`."""
        return self.provider if self.provider == "embedded" else self.base_url.rstrip("/")

    @property
    def is_free(self) -> bool:
        """Whether calls cost nothing: everything that isn't known to be free is paid.

        Free are the embedded provider, a service on this machine to whose model the project's prices.yaml gives no
        price, and what is declared to be free.
        """
        is_local = self.provider == "openai" and is_on_this_machine(self.base_url) and not self.is_priced
        return self.provider == "embedded" or self.is_declared_free or is_local

    @property
    def is_azure_openai(self) -> bool:
        """Whether Azure OpenAI or Foundry answers, which may be configured as `*_OPENAI_BASE_URL` as well."""
        return self.provider == "azure" or (
            self.provider == "openai" and _AZURE_OPENAI_URL.fullmatch(self.service) is not None
        )

    @property
    def is_foundry_project(self) -> bool:
        """Whether the address is that of a project in a Foundry resource, which wants tokens of its own."""
        return self.is_azure_openai and _PROJECT_PATH.search(self.service) is not None

    @property
    def azure_resource(self) -> str:
        """Address of the Azure resource itself, without a project and the API's path."""
        return _AZURE_PATH.sub("", self.service)

    @property
    def is_private(self) -> bool:
        """Whether the service is on this machine or a private network: somebody's own server, which may be small."""
        return self.provider == "embedded" or (self.provider == "openai" and _is_private(self.base_url))

    @property
    def is_deployed_on_azure(self) -> bool:
        """Whether a model fine-tuned from it must be deployed, which may cost as long as the deployment exists."""
        return self.is_azure_openai or self.provider == "azureml"

    @property
    def is_embedded_model(self) -> bool:
        """Whether the model is one of the embedded provider's, here or behind an address (`raft serve`)."""
        return self.provider == "embedded" or self.base_model.startswith("embedded-")

    @property
    def knows_english_only(self) -> bool:
        """Whether the model knows no other language than English."""
        return self.is_embedded_model

    @property
    def requires_bom(self) -> bool:
        """Whether training files must begin with a byte order mark, which Azure OpenAI requires."""
        return self.is_azure_openai

    @property
    def tokenizer(self) -> Tokenizer:
        """The vocabulary of the model, or of OpenAI's current models if the model's own isn't available offline."""
        if self.provider == "embedded":
            return "wordpiece"
        return "cl100k_base" if _CL100K_MODELS.match(self.base_model) else "o200k_base"


def normalize_model(model: str) -> str:
    """Return a model's name without publisher, case and version: `meta-llama/Meta-Llama-3.1-8B` is llama-3.1-8b."""
    return _VERSION.sub("", model.lower()).rpartition("/")[2].removeprefix("meta-")


def is_openai(address: str) -> bool:
    """Return whether OpenAI itself answers at the address, also for a region."""
    try:
        host = (urlsplit(address).hostname or "").rstrip(".")
    except ValueError:  # brackets that don't hold an IPv6 address
        return False
    return f".{host}".endswith(".api.openai.com")


def is_on_this_machine(address: str) -> bool:
    """Return whether the address of a service leads to this machine itself."""
    try:
        host = (urlsplit(address).hostname or "").rstrip(".")
    except ValueError:  # brackets that don't hold an IPv6 address
        return False
    return is_loopback(host) or _is_unspecified(host)


def _is_unspecified(host: str) -> bool:
    """Return whether a host is 0.0.0.0 or ::, by which connecting reaches this machine."""
    try:
        ip = ipaddress.ip_address(host)
    except ValueError:
        return False
    return (getattr(ip, "ipv4_mapped", None) or ip).is_unspecified


@dataclass(frozen=True)
class HostingSettings:
    """How Azure trains and hosts a fine-tuned student; nothing here changes what the student answers.

    `hours`: how long a deployment may live; the developer tier ends after 24 h by itself. `model_format`: the publisher
    of the base model, as Azure names it (`OpenAI`, `Meta`, ...). `training_type`: Azure's `trainingType` (`Standard`,
    `GlobalStandard`, `DeveloperTier`), None for the service's default.
    """

    subscription: str | None = None
    resource_group: str | None = None
    sku: str = DEVELOPER_TIER
    capacity: int = 50
    hours: int | None = None
    model_format: str = "OpenAI"
    training_type: str | None = None
    redeploy: bool = False


DEFAULT_HOSTING = HostingSettings()  # for a base model of which nothing is known


@dataclass(frozen=True)
class AzureMLWorkspace:
    """An Azure ML workspace that fine-tunes and serves the student ("MaaS")."""

    subscription: str
    resource_group: str
    name: str


def _is_private(address: str) -> bool:
    """Return whether an address leads to this machine or a private network, by its form alone."""
    try:
        host = (urlsplit(address).hostname or "").rstrip(".")
    except ValueError:  # brackets that hold no IPv6 address
        return False
    try:
        return not ipaddress.ip_address(host).is_global
    except ValueError:
        return "." not in host or host.endswith(PRIVATE_DOMAINS)
