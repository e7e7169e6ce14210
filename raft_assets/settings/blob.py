"""Addresses on Azure Blob: what they name, and what opens them. Account names may be logged, credentials never."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from raft_assets.core.errors import SettingsError
from raft_assets.settings.environment import Environment

SCHEMES = ("abfs", "abfss", "az")
ADDRESS_FORMAT = "abfs://container@account.dfs.core.windows.net/folder"
ACCOUNT_VARIABLE, KEY_VARIABLE, SAS_VARIABLE, CONNECTION_STRING_VARIABLE = (
    f"AZURE_STORAGE_{part}" for part in ("ACCOUNT_NAME", "ACCOUNT_KEY", "SAS_TOKEN", "CONNECTION_STRING")
)


@dataclass(frozen=True)
class BlobLocation:
    """A folder of a container of a storage account."""

    account: str
    container: str
    folder: str


def validate_address(name: str, address: str, environment: Environment) -> str:
    """Return the address that a variable holds, under the one scheme that both DuckDB and fsspec use for Azure Blob.

    Raises SettingsError if it contains a credential, names no location, or is of a kind that nothing here opens.
    """
    parts = urlsplit(address)
    if "?" in address or "#" in address or parts.password is not None:
        raise SettingsError(
            f"{name} contains a query, a fragment or a password, and addresses appear in tables and reports: write "
            f"{ADDRESS_FORMAT} without them, and a shared access signature into {SAS_VARIABLE}."
        )
    if parse_blob_address(name, address, environment) is None:
        import fsspec  # type: ignore[import-untyped]  # a tenth of a second, and most commands need none

        try:
            fsspec.get_filesystem_class(parts.scheme)
        except (ValueError, ImportError) as error:  # an unknown scheme, or one whose package isn't installed
            raise SettingsError(f"{name} is {address!r}, which can't be opened: {error}.") from error
        return address
    return f"{SCHEMES[0]}://{address.partition('://')[2]}"


def parse_blob_address(name: str, address: str, environment: Environment) -> BlobLocation | None:
    """Return the location that an address on Azure Blob names; None for other addresses.

    Raises SettingsError if it names no container, the account isn't known, or two accounts are named.
    """
    parts = urlsplit(address)
    if parts.scheme not in SCHEMES:
        return None
    container, _, host = parts.netloc.rpartition("@") if "@" in parts.netloc else (parts.netloc, "", "")
    if not container:
        raise SettingsError(f"{name} is {address!r}; allowed is {ADDRESS_FORMAT}.")
    connection = environment.get(CONNECTION_STRING_VARIABLE)
    named = {
        name: host.partition(".")[0],
        CONNECTION_STRING_VARIABLE: _parse_account_name(connection) if connection else "",
        ACCOUNT_VARIABLE: environment.get(ACCOUNT_VARIABLE) or "",
    }
    accounts = {source: account for source, account in named.items() if account}
    if not accounts:
        raise SettingsError(
            f"{name} is {address!r}, which names no storage account: write {ADDRESS_FORMAT}, or set {ACCOUNT_VARIABLE}."
        )
    if len(set(accounts.values())) > 1:
        names = " and ".join(f"{source} names {account}" for source, account in accounts.items())
        raise SettingsError(f"Two storage accounts are named, {names}: remove one of them.")
    return BlobLocation(next(iter(accounts.values())), container, parts.path.strip("/"))


def storage_options(address: str, environment: Environment, sign_in: Callable[[], Any]) -> dict[str, Any]:
    """Return the options with which fsspec opens an address on Azure Blob; empty for other addresses.

    They hold the connection string, account key or shared access signature of the environment or `.env`, else the
    credential that `sign_in` gives.
    """
    location = parse_blob_address("The address", address, environment)
    if location is None:
        return {}
    names = {"connection_string": CONNECTION_STRING_VARIABLE, "account_key": KEY_VARIABLE, "sas_token": SAS_VARIABLE}
    secrets = {option: value for option, name in names.items() if (value := environment.get(name))}
    return {"anon": False, "account_name": location.account} | (secrets or {"credential": sign_in()})


def _parse_account_name(connection: str) -> str:
    """Return the account that a connection string names.

    Raises SettingsError, whose message doesn't repeat the value, if it is no connection string.
    """
    parts = dict(part.split("=", 1) for part in connection.split(";") if "=" in part)
    fields = {name.strip().lower(): value.strip() for name, value in parts.items()}
    host = urlsplit(fields.get("blobendpoint", "")).hostname or ""
    account = fields.get("accountname") or host.partition(".")[0]
    if not account:
        raise SettingsError(
            f"{CONNECTION_STRING_VARIABLE} is not a connection string: it must begin with DefaultEndpointsProtocol= "
            "and contain AccountName=."
        )
    return account
