"""Addresses on Azure Blob: what they name, and what opens them. Accounts are told, credentials never."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from raft_assets.core.errors import SettingsError
from raft_assets.settings.environment import Environment

SCHEMES = ("abfs", "abfss", "az")
FORM = "abfs://container@account.dfs.core.windows.net/folder"
ACCOUNT, KEY, SAS, CONNECTION = (
    f"AZURE_STORAGE_{part}" for part in ("ACCOUNT_NAME", "ACCOUNT_KEY", "SAS_TOKEN", "CONNECTION_STRING")
)


@dataclass(frozen=True)
class BlobPlace:
    """A folder of a container of a storage account."""

    account: str
    container: str
    folder: str


def checked_address(name: str, address: str, environment: Environment) -> str:
    """The address that a variable holds, under the one scheme that DuckDB and fsspec both know Azure Blob by.

    Raises SettingsError where it carries a credential, or names no place.
    """
    parts = urlsplit(address)
    if parts.query or parts.fragment or parts.password is not None:
        raise SettingsError(
            f"{name} holds a query or a password, and an address stands in tables and reports: write {FORM} without "
            f"them, and a shared access signature into {SAS}."
        )
    if blob_place(name, address, environment) is None:
        return address
    return f"{SCHEMES[0]}://{address.partition('://')[2]}"


def blob_place(name: str, address: str, environment: Environment) -> BlobPlace | None:
    """What an address on Azure Blob names; None for other addresses.

    Raises SettingsError where it names no container, or the account isn't known, or two accounts are named.
    """
    parts = urlsplit(address)
    if parts.scheme not in SCHEMES:
        return None
    container, _, host = parts.netloc.rpartition("@") if "@" in parts.netloc else (parts.netloc, "", "")
    if not container:
        raise SettingsError(f"{name} is {address!r}; allowed is {FORM}.")
    connection = environment.get(CONNECTION)
    named = {
        name: host.partition(".")[0],
        CONNECTION: _account_of(connection) if connection else "",
        ACCOUNT: environment.get(ACCOUNT) or "",
    }
    accounts = {source: account for source, account in named.items() if account}
    if not accounts:
        raise SettingsError(f"{name} is {address!r}, which names no storage account: write {FORM}, or set {ACCOUNT}.")
    if len(set(accounts.values())) > 1:
        told = " and ".join(f"{source} names {account}" for source, account in accounts.items())
        raise SettingsError(f"Two storage accounts are meant, {told}: remove what is wrong.")
    return BlobPlace(next(iter(accounts.values())), container, parts.path.strip("/"))


def storage_options(address: str, environment: Environment, sign_in: Callable[[], Any]) -> dict[str, Any]:
    """What fsspec is told to open an address on Azure Blob; nothing for other addresses.

    The connection string, account key or shared access signature that stands in the environment or in `.env`, else
    the credential that `sign_in` gives.
    """
    place = blob_place("The address", address, environment)
    if place is None:
        return {}
    names = {"connection_string": CONNECTION, "account_key": KEY, "sas_token": SAS}
    found = {option: value for option, name in names.items() if (value := environment.get(name))}
    return {"anon": False, "account_name": place.account} | (found or {"credential": sign_in()})


def _account_of(connection: str) -> str:
    """Raises SettingsError, which doesn't repeat it, for what is no connection string."""
    parts = dict(part.split("=", 1) for part in connection.split(";") if "=" in part)
    fields = {name.strip().lower(): value.strip() for name, value in parts.items()}
    host = urlsplit(fields.get("blobendpoint", "")).hostname or ""
    account = fields.get("accountname") or host.partition(".")[0]
    if not account:
        raise SettingsError(
            f"{CONNECTION} is no connection string: one begins with DefaultEndpointsProtocol= and holds AccountName=."
        )
    return account
