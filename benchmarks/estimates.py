"""Ranges of `raft estimate` beside the bill: cold, and after a preview.

    python benchmarks/estimates.py [--preview CHUNKS] [--minutes MINUTES] [FOLDER ...]

Every domain (the shipped ones, or the folders) has a project of its own and is run once, at `raft serve` with invented
prices: it is estimated before anything is stored, again after a preview, and then run. A domain that takes longer than
the minutes is given up and said to be.
"""

import argparse
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from project import REPOSITORY, copied
from service import simulated

from raft_assets.operations.model_clients import ModelClients
from raft_assets.operations.report import collect_report_data
from raft_assets.settings.domains import domain_names
from raft_assets.settings.project import Project
from raft_assets.storage.lake import Lake
from raft_assets.storage.results import ResultsStore

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
    parser.add_argument("--preview", type=int, default=20, help="chunks that are previewed")
    parser.add_argument("--minutes", type=float, default=30, help="that a domain may take")
    parser.add_argument("folders", nargs="*", type=Path)
    options = parser.parse_args()
    print(f"{'domain':18} {'asset':18} {'estimated':10} {'low':>9} {'high':>9} {'bill':>9}  width", flush=True)
    for folder in options.folders or [REPOSITORY / "data" / name for name in domain_names(REPOSITORY / "data")]:
        with (
            tempfile.TemporaryDirectory() as place,
            simulated(Path(place) / "service", "--latency", "0", "--per-token", "0") as address,
        ):
            project = Measured(Path(place) / "project", folder, address, time.monotonic() + 60 * options.minutes)
            try:
                for line in project.lines(options.preview):
                    print(line, flush=True)
            except subprocess.TimeoutExpired:
                print(f"{folder.name:18} did not end within {options.minutes:g} minutes", flush=True)


class Measured:
    """A project with one domain, whose commands end by a moment of the monotonic clock."""

    def __init__(self, project: Path, domain: Path, address: str, deadline: float) -> None:
        project.mkdir()
        copied(project, domain)
        self._project, self._domain, self._deadline = project, domain.name, deadline
        lines = [
            f"{role}_OPENAI_{name}={value}"
            for role, model in MODELS.items()
            for name, value in (("BASE_URL", address), ("DEPLOYMENT", model), ("API_KEY", "none"))
        ]
        (project / ".env").write_text("\n".join(lines) + "\n", "utf-8")
        (project / "prices.yaml").write_text(f'- {{model: "embedded-*", service: "{address}", {PRICES}}}\n', "utf-8")

    def lines(self, preview: int) -> Iterator[str]:
        """Estimates, previews, estimates again, runs, and yields a line per estimate and asset."""
        cold = self.estimate()
        self.raft("preview", self._domain, "-n", str(preview), "--yes")
        previewed = self.estimate()
        self.raft("run", self._domain, "--yes")
        for when, record in (("cold", cold), ("previewed", previewed)):
            for asset, (low, high, paid) in self.compared(record).items():
                verdict = "" if low * (1 - 1e-9) <= paid <= high * (1 + 1e-9) else "  OUTSIDE"
                width = f"{high / low:5.2f}" if low else "    -"
                yield f"{self._domain:18} {asset:18} {when:10} {low:9.4f} {high:9.4f} {paid:9.4f}  {width}{verdict}"

    def estimate(self) -> dict[str, Any]:
        """What `raft estimate` has stored."""
        self.raft("estimate", self._domain)
        return self._lake.read_record("estimate", self._domain)

    def compared(self, record: dict[str, Any]) -> dict[str, tuple[float, float, float]]:
        """An estimate's least and most and the bill since it was made by asset, US dollars, as the report has them."""
        self._lake.write_record("estimate", self._domain, record)
        models = ModelClients(self._opened)
        data = collect_report_data(self._domain, self._lake, models, ResultsStore.of(self._opened))
        found: dict[str, tuple[float, float, float]] = {}
        for one in data.estimated:
            low, high, paid = found.get(one.asset, (0.0, 0.0, 0.0))
            assert one.dollars is not None
            assert one.paid is not None
            found[one.asset] = (low + one.dollars[0], high + one.dollars[1], paid + one.paid)
        return found

    @property
    def _opened(self) -> Project:
        return Project.load(self._project, {"RAFT_PROJECT": str(self._project)})

    @property
    def _lake(self) -> Lake:
        return Lake.of(self._opened)

    def raft(self, *arguments: str) -> str:
        """Output of a command; raises TimeoutExpired where it doesn't end in time."""
        command = [sys.executable, "-m", "raft_assets.cli.main", *arguments]
        variables = {name: value for name, value in os.environ.items() if name != "RAFT_PROVIDER"}
        with subprocess.Popen(
            command,
            env=variables | {"RAFT_PROJECT": str(self._project)},
            cwd=self._project,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        ) as process:
            try:
                told, _ = process.communicate(timeout=max(self._deadline - time.monotonic(), 1.0))
            except BaseException:
                os.killpg(process.pid, signal.SIGKILL)  # with what it has started
                raise
        if process.returncode:
            sys.exit(f"{' '.join(arguments)} ended with {process.returncode}: {told}")
        return told


if __name__ == "__main__":
    main()
