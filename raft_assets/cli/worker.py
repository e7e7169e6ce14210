"""The process that materializes one domain for `raft run`: `python -m raft_assets.cli.worker`."""

import argparse
import sys
from collections.abc import Sequence

import dagster as dg

from raft_assets.cli.project import open_instance
from raft_assets.defs.runs import Ended, materialize
from raft_assets.operations.process import claim_domain
from raft_assets.settings.project import Project

FAILED, WAITS, BUSY = 1, 3, 4  # exit codes, the first two also of `raft run`
EXIT_CODES: dict[Ended, int] = {"done": 0, "failed": FAILED, "waiting": WAITS}


def worker_command(domain: str, wanted: Sequence[dg.AssetKey], *, force: bool, command: str) -> list[str]:
    """Return the command line of the process that materializes one domain."""
    names = ",".join(key.to_user_string() for key in wanted)
    arguments = ["--domain", domain, "--assets", names, "--command", command, *(["--force"] if force else [])]
    return [sys.executable, "-m", __name__, *arguments]


def _work() -> int:
    parser = argparse.ArgumentParser(description="Materializes one domain; started by `raft run`.")
    for name in ("--domain", "--assets", "--command"):
        parser.add_argument(name, required=True)
    parser.add_argument("--force", action="store_true")
    arguments = parser.parse_args()
    from raft_assets.definitions import definitions  # `raft run` imports this module and needs no graph of it

    wanted = [dg.AssetKey.from_user_string(name) for name in arguments.assets.split(",")]
    project = Project.load()
    claimed = claim_domain(project, arguments.domain)
    if claimed is None:
        return BUSY
    with open_instance(project) as instance:
        ended = materialize(
            definitions(), instance, project, arguments.domain, wanted, force=arguments.force, command=arguments.command
        )
    claimed.close()
    return EXIT_CODES[ended]


if __name__ == "__main__":
    sys.exit(_work())
