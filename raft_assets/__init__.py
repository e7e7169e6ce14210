"""A folder of documents becomes a small language model that answers from them, and a report that proves it.

The names below are those of `raft_assets.api`, which is imported with the first of them: `import raft_assets` by itself
loads nothing.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from raft_assets.api import (
        Chunks,
        Documents,
        Evaluation,
        Pairs,
        RaftError,
        Rows,
        Session,
        ask,
        assemble,
        chunk,
        evaluate,
        export,
        generate_pairs,
        read_documents,
    )

__all__ = [
    "Chunks",
    "Documents",
    "Evaluation",
    "Pairs",
    "RaftError",
    "Rows",
    "Session",
    "ask",
    "assemble",
    "chunk",
    "evaluate",
    "export",
    "generate_pairs",
    "read_documents",
]


def __getattr__(name: str) -> Any:
    """Return a name of the public API, importing it with the first one (PEP 562)."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module  # an import statement would be an arrow from below every room

    value = globals()[name] = getattr(import_module("raft_assets.api"), name)
    return value


def __dir__() -> list[str]:
    """Return the names of the module, with those that are not imported yet."""
    return sorted({*globals(), *__all__})
