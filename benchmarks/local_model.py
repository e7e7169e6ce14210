"""What a real small model learns from a shipped domain on this machine: `make test-local`.

    RAFT_LOCAL_PYTHON=... RAFT_TEST_MODEL=... python benchmarks/local_model.py [--domain bats] [--epochs N] [--seed N]

Runs the domain's lineage up to the training files with the embedded teacher, has the local worker train the model on
them, and prints what the student made of the validation rows after each epoch, beside what it should be. Quotes and
abstention are told as they are: a small base model learns form before the task.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from project import REPOSITORY, materialized

from raft_assets.core.languages import LANGUAGES
from raft_assets.core.prompt_contract import ABSTENTION, ANSWER_TAG, BEGIN_QUOTE, END_QUOTE

WANTED = {"valid_well_formed": 0.95, "valid_stops": 0.95}
TOLD = (
    "train_loss",
    "valid_loss",
    "valid_well_formed",
    "valid_stops",
    "valid_verbatim",
    "valid_abstains",
    "valid_usable",
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--domain", default="bats")
    parser.add_argument("--epochs", default="auto")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    missing = [name for name in ("RAFT_LOCAL_PYTHON", "RAFT_TEST_MODEL") if name not in os.environ]
    if missing:
        sys.exit(f"{' and '.join(missing)} not set: the worker's interpreter, and a model (a GGUF file or a folder)")
    with tempfile.TemporaryDirectory() as name:
        files = training_files(Path(name), options.domain)
        metrics = train(Path(name) / "job", files, options)
    short = [f"{name} {metrics.get(name, 0):.0%}" for name, share in WANTED.items() if metrics.get(name, 0) < share]
    if short:
        sys.exit(f"less than 95 %: {', '.join(short)}")


def training_files(project: Path, domain: str) -> Path:
    """Make a domain's training files by its lineage."""
    materialized(project, REPOSITORY / "data" / domain, "training_files")
    return project / ".raft" / "lake" / "training_files" / domain


def train(job: Path, files: Path, options: argparse.Namespace) -> dict[str, float]:
    """Train, print every epoch, and return the metrics of the best checkpoint."""
    (job / "worker").mkdir(parents=True)
    epochs = options.epochs if options.epochs == "auto" else int(options.epochs)
    order = {
        "format": 1,
        "base": os.environ["RAFT_TEST_MODEL"],
        "training_file": str(files / "train.jsonl"),
        "validation_file": str(files / "valid.jsonl"),
        "hyperparameters": {"n_epochs": epochs},
        "seed": options.seed,
        "contract": {
            "begin_quote": BEGIN_QUOTE,
            "end_quote": END_QUOTE,
            "answer_tag": ANSWER_TAG,
            "abstentions": [ABSTENTION, *(language.abstention for language in LANGUAGES.values())],
        },
    }
    (job / "worker" / "job.json").write_text(json.dumps(order), "utf-8")
    started = time.monotonic()
    worker = REPOSITORY / "raft_assets" / "local" / "worker" / "train.py"
    with (job / "log").open("wb") as log:
        subprocess.run([os.environ["RAFT_LOCAL_PYTHON"], worker, job], check=True, stdout=log, stderr=log)
    for line in (job / "worker" / "events.jsonl").read_text("utf-8").splitlines():
        event = json.loads(line)
        if event["type"] == "message":
            print(event["message"])
    state = json.loads((job / "worker" / "state.json").read_bytes())
    if state["status"] != "succeeded":
        sys.exit(f"the job ended as {state['status']}")
    for point in state["checkpoints"]:
        print(f"epoch {point['epoch']}:", ", ".join(f"{name} {point['metrics'].get(name, 0):.2f}" for name in TOLD))
    result = json.loads((job / "worker" / "result.json").read_bytes())
    seconds, memory = time.monotonic() - started, result["measured"]["peak_memory_gib"]
    print(f"best: step {state['best']}; {seconds:.0f} s, peak {memory} GiB")
    return dict(next(point["metrics"] for point in state["checkpoints"] if point["step"] == state["best"]))


if __name__ == "__main__":
    main()
