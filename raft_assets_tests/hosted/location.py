"""A code location whose worker a test can kill: `paid` notes each time that it runs, `made` waits until it may end."""

import os
import time
from pathlib import Path

import dagster as dg

FOLDER = Path(os.environ["PLATFORM_FOLDER"])
domains = dg.StaticPartitionsDefinition(["bats", "surfing", "broken"])


@dg.asset(partitions_def=domains)
def paid(context: dg.AssetExecutionContext) -> None:
    with (FOLDER / f"{context.partition_key}.paid").open("a") as file:
        file.write(f"{context.run_id}\n")


@dg.asset(partitions_def=domains, deps=[paid])
def made(context: dg.AssetExecutionContext) -> None:
    if context.partition_key == "broken":
        raise ValueError("it fails by itself")
    draft = FOLDER / f"{context.run_id}.draft"
    draft.write_text(str(os.getpid()))
    draft.replace(draft.with_suffix(".pid"))
    while not (FOLDER / "go").exists():
        time.sleep(0.05)


definitions = dg.Definitions(
    assets=[paid, made],
    jobs=[dg.define_asset_job("lineage", selection=dg.AssetSelection.all())],
    executor=dg.in_process_executor,
)
