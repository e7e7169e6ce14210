"""Ranges of `raft estimate` beside the bill: cold, and after a preview.

    python benchmarks/estimates.py [--preview CHUNKS] [FOLDER ...]

Every domain (the shipped ones, or the folders) is run from nothing at `raft serve` with invented prices.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections import defaultdict
from pathlib import Path

from project import copied
from service import simulated

from raft_assets.llm.ledger import ledger
from raft_assets.operations.money import price_list
from raft_assets.settings.project import Project
from raft_assets.storage.call_store import open_call_store

MODELS = {
    "TEACHER": "embedded-teacher",
    "EMBEDDING": "embedded-encoder",
    "STUDENT": "embedded-reader",
    "BASELINE": "embedded-reader",
}
PRICES = "input: 2.0, output: 8.0, training: 25.0, source: invented, date: 2026-11-28"


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--preview", type=int, default=0, help="chunks that are previewed before the estimate")
    parser.add_argument("folders", nargs="*", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, simulated(Path(folder) / "service", "--latency", "0") as address:
        project = Path(folder) / "project"
        project.mkdir()
        for domain in options.folders or [None]:
            copied(project, domain)
        price(project, address)
        print(f"{'domain':18} {'asset':18} {'low':>9} {'high':>9} {'bill':>9}  width")
        for domain in sorted(path.name for path in (project / "data").iterdir() if not path.name.startswith(".")):
            measure(project, domain, options.preview)


def measure(project: Path, domain: str, preview: int) -> None:
    """Estimates, runs, and prints a line per asset."""
    if preview:
        raft(project, "preview", domain, "-n", str(preview), "--yes")
    before = bill(project, domain)
    ranges: dict[str, list[float]] = defaultdict(lambda: [0.0, 0.0])
    for line in map(json.loads, raft(project, "estimate", domain, "--json").splitlines()):
        for end, name in enumerate(("low", "high")):
            ranges[line["asset"]][end] += line[name]["dollars"]
    raft(project, "run", domain, "--yes")
    after = bill(project, domain)
    for asset, (low, high) in ranges.items():
        paid = after[asset] - before[asset]
        verdict = "" if low <= paid <= high else "  OUTSIDE"
        width = high / low if low else 1.0
        print(f"{domain:18} {asset:18} {low:9.4f} {high:9.4f} {paid:9.4f}  {width:5.2f}{verdict}", flush=True)


def bill(project: Path, domain: str) -> dict[str, float]:
    """What was paid for each asset of a domain, US dollars."""
    paid: dict[str, float] = defaultdict(float)
    opened = Project.load(project, {"RAFT_PROJECT": str(project)})
    with open_call_store(opened) as store:
        for row in ledger(store, price_list(opened)):
            if row.domain == domain:
                paid[row.asset] += row.dollars or 0.0
    return paid


def price(project: Path, address: str) -> None:
    """Names the service for every role, and prices that somebody invented."""
    lines = [
        f"{role}_OPENAI_{name}={value}"
        for role, model in MODELS.items()
        for name, value in (("BASE_URL", address), ("DEPLOYMENT", model), ("API_KEY", "none"))
    ]
    (project / ".env").write_text("\n".join(lines) + "\n", "utf-8")
    (project / "prices.yaml").write_text(f'- {{model: "embedded-*", service: "{address}", {PRICES}}}\n', "utf-8")


def raft(project: Path, *arguments: str) -> str:
    """Output of a command."""
    command = [sys.executable, "-m", "raft_assets.cli.main", *arguments]
    variables = {name: value for name, value in os.environ.items() if name != "RAFT_PROVIDER"}
    variables |= {"RAFT_PROJECT": str(project)}
    ended = subprocess.run(
        command,
        env=variables | {"RAFT_PROJECT": str(project)},
        cwd=project,
        capture_output=True,
        text=True,
        check=False,
    )
    if ended.returncode:
        sys.exit(f"{' '.join(arguments)} ended with {ended.returncode}: {ended.stdout}{ended.stderr}")
    return ended.stdout


if __name__ == "__main__":
    main()
