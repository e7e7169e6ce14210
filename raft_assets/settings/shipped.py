"""What comes with the package besides code: presets and an example domain.

In a wheel they are in the package; in the repository they are its own `presets/` and `data/`, where people look.
"""

from importlib.resources import files
from pathlib import Path

EXAMPLE = "bats"


def shipped_presets() -> Path:
    """Return the folder of the presets that come with the package."""
    return _shipped() / "presets"


def example_domain() -> Path:
    """Return the folder of the example: a domain with documents and golden questions."""
    return _shipped() / "data" / EXAMPLE


def _shipped() -> Path:
    package = Path(str(files("raft_assets")))
    inside = package / "shipped"  # made by the wheel alone: `force-include` in pyproject.toml
    return inside if inside.is_dir() else package.parent
