"""What the azd environment says of what is, or will be, on Azure: deployments, the student's plan, the account.

The names are the interface between `raft azure configure`, which writes them, the parameters of `infra/`, and the
outputs of its templates, which azd writes back.
"""

from dataclasses import dataclass
from typing import Self, TypeVar

from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError

from raft_assets.core.errors import SettingsError
from raft_assets.provisioning.azd import AzdEnvironment
from raft_assets.settings.endpoints import Role

T = TypeVar("T")

DEPLOYMENTS, STUDENT = "RAFT_DEPLOYMENTS", "RAFT_STUDENT"
LOCATION, SUBSCRIPTION, GROUP = "AZURE_LOCATION", "AZURE_SUBSCRIPTION_ID", "AZURE_RESOURCE_GROUP"
ACCOUNT, ENDPOINT, STORAGE = "RAFT_ACCOUNT_ID", "RAFT_ACCOUNT_ENDPOINT", "RAFT_STORAGE_ACCOUNT"  # outputs
EXISTING_ACCOUNT, EXISTING_GROUP = "RAFT_EXISTING_ACCOUNT", "RAFT_EXISTING_GROUP"
CLASSIC, LAKE = "RAFT_CLASSIC", "RAFT_LAKE_ON_AZURE"
_ACCOUNT_ID = ("subscriptions", "resourcegroups", "providers", "microsoft.cognitiveservices", "accounts")


class PlannedDeployment(BaseModel):
    """A deployment of a base model; `capacity` in thousand tokens a minute."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    format: str
    model: str
    version: str
    sku: str
    capacity: int
    roles: tuple[Role, ...]


class PlannedStudent(BaseModel):
    """How the student is trained and deployed; before training nothing of it is on Azure."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    model: str
    version: str
    format: str
    training_type: str
    deployment_sku: str
    deployment_capacity: int


@dataclass(frozen=True)
class AccountId:
    """A Foundry or Azure OpenAI account, as its resource id names it."""

    subscription: str
    group: str
    name: str

    @classmethod
    def parse(cls, variable: str, text: str) -> Self:
        """Read a resource id. Raises SettingsError for what is none."""
        parts = text.strip("/").split("/")
        is_whole = text.startswith("/") and len(parts) == 8  # infra/resources.bicep counts the parts
        words = tuple(parts[index].lower() for index in (0, 2, 4, 5, 6)) if is_whole else ()
        if words != _ACCOUNT_ID:
            raise SettingsError(
                f"{variable} is {text!r}; it must be a resource id, such as /subscriptions/ID/resourceGroups/GROUP"
                "/providers/Microsoft.CognitiveServices/accounts/NAME: `az cognitiveservices account list --query "
                "[].id` shows yours."
            )
        return cls(parts[1], parts[3], parts[7])

    @property
    def path(self) -> str:
        """The resource id."""
        accounts = "providers/Microsoft.CognitiveServices/accounts"
        return f"/subscriptions/{self.subscription}/resourceGroups/{self.group}/{accounts}/{self.name}"


def planned_deployments(environment: AzdEnvironment) -> list[PlannedDeployment]:
    """Return the deployments of base models. Raises SettingsError where none is chosen, or one can't be read."""
    text = environment.get(DEPLOYMENTS)
    if text is None:
        raise SettingsError(
            f"No model is chosen in the azd environment {environment.name} ({DEPLOYMENTS} is not set): run "
            "`raft azure configure`."
        )
    return _parse(DEPLOYMENTS, text, TypeAdapter(list[PlannedDeployment]))


def planned_student(environment: AzdEnvironment) -> PlannedStudent | None:
    """Return the student's plan, None without one. Raises SettingsError where it can't be read."""
    text = environment.get(STUDENT)
    return None if text is None else _parse(STUDENT, text, TypeAdapter(PlannedStudent))


def account_of(environment: AzdEnvironment) -> AccountId | None:
    """Return the account: the one that was made or, before that, the existing one; None where there is none yet."""
    for variable in (ACCOUNT, EXISTING_ACCOUNT):
        if text := environment.get(variable):
            return AccountId.parse(variable, text)
    return None


def group_of(environment: AzdEnvironment) -> str:
    """Return the name of the resource group, as `infra/main.bicep` names it."""
    return environment.get(GROUP) or f"rg-{environment.name}"


def is_on(environment: AzdEnvironment, switch: str) -> bool:
    """Return a switch, which is off by default. Raises SettingsError for what is neither true nor false."""
    text = environment.get(switch)
    if text not in (None, "true", "false"):
        raise SettingsError(f"{switch} is {text!r}; allowed is true or false: `azd env set {switch} true`.")
    return text == "true"


def _parse(name: str, text: str, adapter: TypeAdapter[T]) -> T:
    try:
        return adapter.validate_json(text)
    except ValidationError:
        raise SettingsError(f"{name} of the azd environment can't be read: run `raft azure configure` again.") from None
