"""The hosted platform of `RAFT_HOSTED_URL`, to which `raft run` submits work, and how this machine signs in to it."""

from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from pydantic import SecretStr

from raft_assets.core.addresses import is_loopback
from raft_assets.core.errors import SettingsError
from raft_assets.settings.environment import Environment

PACKAGE = "raft-assets"  # by which the platform's code location names its version
VARIABLE, TOKEN_VARIABLE, CLIENT_VARIABLE = "RAFT_HOSTED_URL", "RAFT_HOSTED_TOKEN", "RAFT_AUTH_CLIENT_ID"
TOKEN_FILE_VARIABLE = f"{TOKEN_VARIABLE}_FILE"


@dataclass(frozen=True)
class HostedPlatform:
    """The address of the platform's webserver, and a bearer token or the scope of Entra tokens for it.

    With neither, nothing is sent: the platform of this machine, or one inside a private network, asks for nothing.
    """

    address: str
    token: SecretStr | None = field(default=None, repr=False)
    scope: str | None = None

    @classmethod
    def of(cls, environment: Environment) -> "HostedPlatform | None":
        """Read the variables; None where no platform is named.

        Raises SettingsError for an address that can't be used: a password in it would appear in logs, and without TLS
        a token could be read on the way to another machine.
        """
        address = environment.get(VARIABLE)
        if not address:
            return None
        parts = urlsplit(address)
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment:
            raise SettingsError(
                f"{VARIABLE} must be the address of the platform's UI, such as https://raft.example.com."
            )
        if parts.username is not None or parts.password is not None:
            raise SettingsError(f"{VARIABLE} contains a user or a password: put a token into {TOKEN_VARIABLE} instead.")
        if parts.scheme == "http" and not is_loopback(parts.hostname):
            raise SettingsError(
                f"{VARIABLE} begins with http://, which is for this machine alone: use https:// for {parts.hostname}."
            )
        token = _token(environment)
        client = environment.get(CLIENT_VARIABLE)
        scope = f"api://{client}/.default" if client and token is None and parts.scheme == "https" else None
        return cls(address.rstrip("/"), token, scope)


def _token(environment: Environment) -> SecretStr | None:
    if token := environment.get(TOKEN_VARIABLE):
        return _checked(token, TOKEN_VARIABLE)
    file = environment.get(TOKEN_FILE_VARIABLE)
    if not file:
        return None
    try:
        return _checked(Path(file).read_text("utf-8"), TOKEN_FILE_VARIABLE)
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is no text"
        raise SettingsError(f"{TOKEN_FILE_VARIABLE} names {file}, which can't be read: {reason}.") from None


def _checked(token: str, name: str) -> SecretStr:
    """Return what may stand in a header. Raises SettingsError, which doesn't repeat the value, for anything else."""
    token = token.strip()
    if not token or not token.isascii() or not token.isprintable() or " " in token:
        raise SettingsError(f"{name} holds no token: it must be one word of ASCII characters.")
    return SecretStr(token)
