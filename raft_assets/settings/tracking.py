"""Where evaluations are logged besides: an MLflow server that the project's own `.env` names.

A variable that is exported in a shell counts for nothing here: evaluations leave the machine only where the project
says so. Names: `RAFT_MLFLOW_TRACKING_URI`, `RAFT_MLFLOW_ARTIFACTS`, and MLflow's own `MLFLOW_TRACKING_USERNAME`,
`MLFLOW_TRACKING_PASSWORD`, `MLFLOW_TRACKING_TOKEN` and so on for the sign-in.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

from raft_assets.core.errors import SettingsError
from raft_assets.settings.environment import Environment

ADDRESS_VARIABLE, ARTIFACTS_VARIABLE = "RAFT_MLFLOW_TRACKING_URI", "RAFT_MLFLOW_ARTIFACTS"
_CLIENT_PREFIX = "MLFLOW_"  # of the variables that MLflow's client reads


@dataclass(frozen=True)
class Tracking:
    """An MLflow server. `with_texts`: whether the report and the answers are sent, which hold text of documents.

    `client_variables` are MLflow's own, of the project's files: how to sign in.
    """

    address: str
    with_texts: bool
    client_variables: Mapping[str, str]

    @classmethod
    def of(cls, environment: Environment) -> "Tracking | None":
        """Return the server that the project's files name, None where they name none.

        Raises SettingsError, which doesn't repeat the value, for an address that can't be used.
        """
        address = environment.files.get(ADDRESS_VARIABLE)
        if not address:
            return None
        chosen = environment.files.get(ARTIFACTS_VARIABLE) or "0"
        if chosen not in ("0", "1"):
            raise SettingsError(f"{ARTIFACTS_VARIABLE} is {chosen!r}; it must be 0 or 1.")
        own = {name: value for name, value in environment.files.items() if name.startswith(_CLIENT_PREFIX)}
        return cls(_check_address(address), chosen == "1", own)


def is_only_exported(environment: Environment) -> bool:
    """Return whether the server is named by an exported variable alone, which has no effect."""
    return ADDRESS_VARIABLE in environment.process and not environment.files.get(ADDRESS_VARIABLE)


def _check_address(address: str) -> str:
    try:
        parts = urlsplit(address)
        host = parts.hostname
    except ValueError:
        host = None
    if not host or parts.scheme not in ("http", "https"):
        raise SettingsError(
            f"{ADDRESS_VARIABLE} must be the address of an MLflow server, such as http://127.0.0.1:5000."
        )
    if "@" in parts.netloc or "?" in address or "#" in address:
        raise SettingsError(
            f"{ADDRESS_VARIABLE} contains a user, a password, a query or a fragment, which would be shown with it: put "
            "MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD, or MLFLOW_TRACKING_TOKEN, into .env instead."
        )
    return address.rstrip("/")
