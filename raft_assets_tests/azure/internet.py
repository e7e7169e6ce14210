"""Production host names on this machine: a CONNECT proxy, a throw-away certificate authority, one TLS server behind it.

The product is unaware: it is given `HTTPS_PROXY` and the authority's file, and asks `https://management.azure.com`.
A host that no application answers for is refused, and remembered.
"""

import asyncio
import contextlib
import secrets
import socket
import ssl
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import MappingProxyType
from urllib.parse import urlsplit

import uvicorn
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Receive, Scope, Send

DAY = timedelta(days=1)
PIECE = 1 << 16
NO_SERVERS: Mapping[str, int] = MappingProxyType({})


class Authority:
    """A certificate authority that nobody trusts but who is given its file."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._key = ec.generate_private_key(ec.SECP256R1())
        # a name of its own: among issuers of one name, OpenSSL takes the first that this process came to trust
        name = f"raft-assets tests {secrets.token_hex(8)}"
        self._name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
        certificate = self._signed(self._name, self._key.public_key(), x509.BasicConstraints(ca=True, path_length=0))
        self.file = folder / "authority.pem"
        self.file.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))

    def context(self, host: str) -> ssl.SSLContext:
        """A server's context with a certificate for the host."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.pem(host))
        return context

    def pem(self, host: str) -> Path:
        """A file with a key and a certificate for the host."""
        key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, host[:64])])
        certificate = self._signed(name, key.public_key(), x509.SubjectAlternativeName([x509.DNSName(host)]))
        file = self._folder / f"{host}.pem"
        pem = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        file.write_bytes(pem + certificate.public_bytes(serialization.Encoding.PEM))
        return file

    def _signed(
        self, name: x509.Name, key: ec.EllipticCurvePublicKey, extension: x509.ExtensionType
    ) -> x509.Certificate:
        now = datetime.now(UTC)
        return (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(self._name)
            .public_key(key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - DAY)
            .not_valid_after(now + DAY)
            .add_extension(extension, critical=isinstance(extension, x509.BasicConstraints))
            .sign(self._key, hashes.SHA256())
        )


@dataclass
class Internet:
    """What clients need to know, and which unknown hosts they asked for."""

    proxy: str
    authority: Path
    unknown: list[str] = field(default_factory=list)

    @property
    def variables(self) -> dict[str, str]:
        """Environment of a process that shall live in it; `requests` and `httpx` read different names."""
        trusted = str(self.authority)
        return {
            "HTTPS_PROXY": self.proxy,
            "REQUESTS_CA_BUNDLE": trusted,
            "SSL_CERT_FILE": trusted,
            "NO_PROXY": "127.0.0.1,localhost",
        }


@contextlib.contextmanager
def internet(
    apps: Mapping[str, ASGIApp], authority: Authority, *, servers: Mapping[str, int] = NO_SERVERS
) -> Iterator[Internet]:
    """Serves each application under its host name until the block ends.

    `servers`: ports of this machine that speak TLS for a host themselves.
    """
    contexts = {host: authority.context(host) for host in apps}

    async def dispatch(scope: Scope, receive: Receive, send: Send) -> None:
        host = dict(scope["headers"]).get(b"host", b"").decode().partition(":")[0]
        await apps.get(host, PlainTextResponse("no such host", 404))(scope, receive, send)

    def choose(connection: ssl.SSLObject, name: str, _: ssl.SSLContext) -> None:
        connection.context = contexts[name]

    front = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    front.sni_callback = choose  # type: ignore[assignment]
    config = uvicorn.Config(dispatch, log_level="critical", access_log=False, lifespan="off")
    config.load()
    config.ssl = front
    server = uvicorn.Server(config)
    with socket.create_server(("127.0.0.1", 0)) as tls, socket.create_server(("127.0.0.1", 0)) as proxy:
        ports = dict.fromkeys(apps, tls.getsockname()[1]) | dict(servers)
        found = Internet(f"http://127.0.0.1:{proxy.getsockname()[1]}", authority.file)

        async def live() -> None:
            async def tunnel(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
                await _tunnel(reader, writer, ports, found.unknown)

            async with await asyncio.start_server(tunnel, sock=proxy):
                await server.serve([tls])

        thread = threading.Thread(target=asyncio.run, args=(live(),), name="internet", daemon=True)
        thread.start()
        try:
            yield found
        finally:
            server.should_exit = server.force_exit = True
            thread.join(10)


async def _tunnel(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, ports: Mapping[str, int], unknown: list[str]
) -> None:
    with (
        contextlib.closing(writer),
        contextlib.suppress(ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError),
    ):
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split()
        asked = head[1]
        if asked.startswith(("/", "*")):  # not of a proxy: another test looks for a server that isn't up yet
            writer.write(b"HTTP/1.1 400 no tunnel\r\n\r\n")
            await writer.drain()
            return
        host = urlsplit(asked if "://" in asked else f"//{asked}").hostname or asked
        if head[0] != "CONNECT" or host not in ports:
            unknown.append(host)
            writer.write(b"HTTP/1.1 403 no such host\r\n\r\n")
            await writer.drain()
            return
        behind, onward = await asyncio.open_connection("127.0.0.1", ports[host])
        with contextlib.closing(onward):
            writer.write(b"HTTP/1.1 200 connected\r\n\r\n")
            _, running = await asyncio.wait(
                [asyncio.ensure_future(_pump(reader, onward)), asyncio.ensure_future(_pump(behind, writer))],
                return_when=asyncio.FIRST_COMPLETED,
            )
            for pump in running:
                pump.cancel()


async def _pump(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
    with contextlib.suppress(ConnectionError):
        while piece := await source.read(PIECE):
            sink.write(piece)
            await sink.drain()
