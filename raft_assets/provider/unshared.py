"""`SharedFiles` of a provider whose folder no other machine knows: nothing is shared, and nothing is fetched."""

from collections.abc import Collection


class Unshared:
    """Shares nothing."""

    machine = ""

    def names(self, folder: str) -> list[str]:
        """Return no names."""
        return []

    def read(self, names: Collection[str]) -> dict[str, bytes]:
        """Return no contents."""
        return {}

    def fetch(self, name: str) -> None:
        """Fetch nothing."""

    def publish(self, name: str) -> None:
        """Publish nothing."""

    def forget(self, name: str) -> None:
        """Forget nothing."""

    def reconcile(self) -> None:
        """Do nothing."""


UNSHARED = Unshared()
