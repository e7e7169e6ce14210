"""The database of `RAFT_COORDINATION`, through which processes of several machines share budgets, limits and claims."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import parse_qsl, urlsplit

from pydantic import SecretStr

from raft_assets.core.addresses import is_loopback
from raft_assets.core.errors import SettingsError
from raft_assets.settings.environment import Environment

VARIABLE, PASSWORD_VARIABLE = "RAFT_COORDINATION", "RAFT_COORDINATION_PASSWORD"
PASSWORD_FILE_VARIABLE = f"{PASSWORD_VARIABLE}_FILE"
ADDRESS_FORMAT = "postgresql://role@host:5432/database"
_AZURE_HOSTS = ".postgres.database.azure.com"
_OPTIONS = {"host", "sslmode", "sslrootcert"}  # others could name another host or weaken how it is checked
_VERIFIED = "verify-full"


@dataclass(frozen=True)
class CoordinationDatabase:
    """A PostgreSQL database by its address, which holds no password, and how to sign in to it."""

    address: str
    is_local: bool  # on this machine: by a socket, or on loopback
    options: tuple[tuple[str, str], ...]  # of libpq, besides the address
    signs_in_to_azure: bool = False  # by Entra, without a password
    password: SecretStr | None = field(default=None, repr=False)

    @classmethod
    def of(cls, environment: Environment) -> "CoordinationDatabase | None":
        """Read the variables; None where there is no such database.

        Raises SettingsError for an address that can't be used, and for one that holds a password: addresses appear in
        logs and in lists of processes.
        """
        address = environment.get(VARIABLE)
        if not address:
            return None
        try:
            parts = urlsplit(address)
            given = dict(parse_qsl(parts.query, keep_blank_values=True, strict_parsing=bool(parts.query)))
            host = given.get("host") or parts.hostname or ""
            _ = parts.port
        except ValueError as error:
            raise SettingsError(f"{VARIABLE} is no address ({error}); allowed is {ADDRESS_FORMAT}.") from error
        if parts.password is not None or "password" in given:
            raise SettingsError(
                f"{VARIABLE} contains a password, and addresses appear in logs: write {ADDRESS_FORMAT} without it, and "
                f"the password into {PASSWORD_VARIABLE} or into a file that {PASSWORD_FILE_VARIABLE} names."
            )
        if parts.scheme not in ("postgresql", "postgres") or not parts.path.strip("/") or "," in host:
            raise SettingsError(f"{VARIABLE} must name one host and a database; allowed is {ADDRESS_FORMAT}.")
        is_local = not host or host.startswith("/") or is_loopback(host)
        _check_options(given, is_local=is_local)
        password = _password(environment)
        return cls(
            address=address,
            is_local=is_local,
            options=_tls(given, is_local=is_local),
            signs_in_to_azure=password is None and host.endswith(_AZURE_HOSTS),
            password=password,
        )


def _tls(given: Mapping[str, str], *, is_local: bool) -> tuple[tuple[str, str], ...]:
    """Return how the connection is protected; libpq's own variables, such as PGSSLMODE, are for other databases."""
    mode, authority = (given.get("sslmode", "prefer"), "") if is_local else (_VERIFIED, "system")
    return ("sslmode", mode), ("sslrootcert", given.get("sslrootcert", authority))


def _check_options(given: Mapping[str, str], *, is_local: bool) -> None:
    if unknown := given.keys() - _OPTIONS:
        raise SettingsError(
            f"{VARIABLE} has the option {min(unknown)}; allowed are {', '.join(sorted(_OPTIONS))} "
            f"in an address such as {ADDRESS_FORMAT}."
        )
    if not is_local and given.get("sslmode", _VERIFIED) != _VERIFIED:
        raise SettingsError(
            f"{VARIABLE} asks for sslmode={given['sslmode']} on another machine, where anybody on the way could answer "
            f"for the database: leave sslmode out ({_VERIFIED} is used), and name its authority's file by sslrootcert."
        )


def _password(environment: Environment) -> SecretStr | None:
    if password := environment.get(PASSWORD_VARIABLE):
        return SecretStr(password)
    file = environment.get(PASSWORD_FILE_VARIABLE)
    if not file:
        return None
    try:
        return SecretStr(Path(file).read_text("utf-8").rstrip("\r\n"))
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"{PASSWORD_FILE_VARIABLE} names {file}, which can't be read: {error}") from error
