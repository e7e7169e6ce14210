"""Arrows between the rooms point one way."""

import subprocess
import sys

import pytest

PLAIN = ("core", "settings", "documents", "llm", "pairs", "dataset", "student", "evaluation", "embedded")


@pytest.mark.parametrize("library", PLAIN)
def test_a_plain_library_imports_no_dagster(library: str) -> None:
    code = f"""
import importlib, pkgutil, sys
package = importlib.import_module("raft_assets.{library}")
for module in pkgutil.walk_packages(getattr(package, "__path__", []), package.__name__ + "."):
    importlib.import_module(module.name)
sys.exit("dagster" in sys.modules)
"""
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_the_code_location_imports_no_heavy_package() -> None:
    code = """
import sys, raft_assets.definitions
print([name for name in ("azure", "torch", "nltk", "transformers", "matplotlib", "playwright") if name in sys.modules])
"""
    assert (
        subprocess.run(
            [sys.executable, "-W", "ignore", "-c", code], capture_output=True, text=True, check=True
        ).stdout.strip()
        == "[]"
    )
