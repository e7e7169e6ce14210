"""A machine's identity endpoint, as App Service has it: `DefaultAzureCredential` asks it unchanged."""

import base64
import contextlib
import json
import secrets
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

HEADER = "secret-of-the-machine"


class Identity(ThreadingHTTPServer):
    """Gives tokens that hold for `lifetime_s`; none while `refuses`. `valid` holds when each token ends.

    `on_token` is called with a token before it is given.
    """

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.refuses = False
        self.lifetime_s = 3600
        self.valid: dict[str, float] = {}
        self.on_token: Callable[[str], object] = lambda _: None

    @property
    def variables(self) -> dict[str, str]:
        """Environment of a process on this machine."""
        return {
            "IDENTITY_ENDPOINT": f"http://127.0.0.1:{self.server_port}/token",
            "IDENTITY_HEADER": HEADER,
            "AZURE_TOKEN_CREDENTIALS": "ManagedIdentityCredential",
        }

    def holds(self, token: str) -> bool:
        """Whether a token was given here and is not over."""
        return self.valid.get(token, 0.0) > time.time()


class _Handler(BaseHTTPRequestHandler):
    server: Identity

    def do_GET(self) -> None:
        if self.server.refuses or self.headers.get("X-IDENTITY-HEADER") != HEADER:
            self._say(400, {"error": "no identity"})
            return
        (resource,) = parse_qs(urlsplit(self.path).query)["resource"]
        until = time.time() + self.server.lifetime_s
        token = _token(resource, until)
        self.server.valid[token] = until
        self.server.on_token(token)
        self._say(
            200, {"access_token": token, "expires_on": str(int(until)), "resource": resource, "token_type": "Bearer"}
        )

    def _say(self, status: int, body: dict[str, str]) -> None:
        self.send_response(status)
        self.end_headers()
        self.wfile.write(json.dumps(body).encode())

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
        """Quiet."""


def _token(resource: str, until: float) -> str:
    """A token in the form of Microsoft's, for a resource; nobody here looks at a signature."""
    now = int(time.time())
    issuer = f"https://sts.windows.net/{uuid.uuid4()}/"
    claims = {"aud": resource, "iss": issuer, "nbf": now - 60, "iat": now - 60, "exp": int(until)}
    parts = ({"typ": "JWT", "alg": "RS256"}, claims, {"signature": secrets.token_hex(8)})
    return ".".join(base64.urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=") for part in parts)


def audience_of(token: str) -> str:
    """What a token is for."""
    claims = token.split(".")[1]
    return str(json.loads(base64.urlsafe_b64decode(claims + "=" * (-len(claims) % 4)))["aud"]).rstrip("/")


@contextlib.contextmanager
def serving() -> Iterator[Identity]:
    """An identity endpoint until the block ends."""
    with Identity() as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()
