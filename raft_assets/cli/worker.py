"""The process that materializes one domain for `raft run`: `python -m raft_assets.cli.worker`."""

import argparse
import sys
from collections.abc import Sequence

import dagster as dg

from raft_assets.defs.runs import claim, materialize
from raft_assets.defs.staleness import states
from raft_assets.settings.project import Workplace

FAILED, BUSY, WAITING = 1, 3, 4


def worker_command(domain: str, wanted: Sequence[dg.AssetKey], *, force: bool, command: str) -> list[str]:
    """Command line of the process that materializes one domain."""
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
    claimed = claim(Workplace.load(), arguments.domain)
    if claimed is None:
        return BUSY
    defs = definitions()
    with dg.DagsterInstance.get() as instance:
        done = materialize(defs, instance, arguments.domain, wanted, force=arguments.force, command=arguments.command)
        found = () if done else states(instance, defs.resolve_asset_graph(), arguments.domain).values()
    claimed.close()
    if done:
        return 0
    return WAITING if any(one.state == "waiting" for one in found if one.key in wanted) else FAILED


if __name__ == "__main__":
    sys.exit(_work())
