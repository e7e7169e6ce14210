"""Addresses of this machine: whether a host is the machine itself, and a socket that listens there."""

import socket
from ipaddress import ip_address

from raft_assets.core.errors import SettingsError

BACKLOG = 128
LOCAL_NAMES = ["localhost", "127.0.0.1", "[::1]"]  # by which a browser on this machine names it
SERVE_PORT = 8321  # of `raft serve` on 127.0.0.1


def is_loopback(host: str) -> bool:
    """Return whether only this machine can reach a host, a name or an IP address."""
    try:
        ip = ip_address(host)
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")
    mapped = getattr(ip, "ipv4_mapped", None) or ip
    return mapped.is_loopback


def is_every_address(host: str) -> bool:
    """Return whether a host means every address of this machine, which is no name that a client could use."""
    try:
        return ip_address(host).is_unspecified
    except ValueError:
        return False


def listen(host: str, port: int, *, who: str) -> socket.socket:
    """Open a socket that listens; `who` is the subject of the SettingsError that is raised where it can't."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=BACKLOG)
    except (OSError, OverflowError) as error:
        raise SettingsError(
            f"{who} can't listen on {host}, port {port}: {error}. Choose another port, or stop what uses it."
        ) from error
