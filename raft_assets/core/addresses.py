"""What the host of an address says: whether it is this machine itself."""

from ipaddress import ip_address

SERVE_PORT = 8321  # of `raft serve` on 127.0.0.1


def is_loopback(host: str) -> bool:
    """Return whether only this machine can reach a host, a name or an IP address."""
    try:
        ip = ip_address(host)
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")
    mapped = getattr(ip, "ipv4_mapped", None) or ip
    return mapped.is_loopback
