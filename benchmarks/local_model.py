"""What a real small model learns from a shipped domain on this machine: `make test-local`.

    RAFT_LOCAL_PYTHON=... RAFT_TEST_MODEL=... python benchmarks/local_model.py [--domain bats] [--epochs N]

Runs the domain's lineage with the embedded teacher and the model (a GGUF file, a folder of safetensors) as the student,
which `raft run` serves, trains and asks. Prints the job's messages, what the student made of the validation rows after
each epoch, and base and student on the golden questions, which nobody trained on; fails where fewer than 95 % of the
student's answers are well formed or end by themselves. Quotes, abstention and verdict are told as they are: a small
base model learns form before the task. On two cores with AVX-512 it takes 19 min, of which training 11. What takes
long besides is the base model, which never ends by itself: most of its answers are cut off, and asked for once more
with more tokens.
"""

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterable
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory

import yaml
from project import REPOSITORY, copied

from raft_assets.core.tables import BaselineAnswer, ModelAnswer, StudentAnswer
from raft_assets.settings.project import Project
from raft_assets.storage.lake import Lake
from raft_assets.storage.results import ResultsStore

WANTED = 0.95
SHOWN = ("well_formed", "quote_verbatim", "abstained_right", "token_f1")
GOLDEN_SCORES = """
SELECT domain, evaluated, scores.metric, value FROM scores JOIN current_verdicts USING (domain, run)
WHERE source = 'golden'
"""
TOLD = ("train_loss", "valid_loss", "valid_well_formed", "valid_stops", "valid_verbatim", "valid_abstains")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--domain", default="bats")
    parser.add_argument("--epochs", default="1", help="a number, or auto: the worker's own choice; 1")
    parser.add_argument("--distractors", type=int, default=1, help="documents in a row beside the one with the answer")
    parser.add_argument("--chunk-size", type=int, default=128, help="tokens of a document in a row, at most")
    parser.add_argument("--batch-size", type=int, default=4, help="rows of a step")
    parser.add_argument("--learning-rate", type=float, default=2.0, help="times the worker's own, 2e-4")
    parser.add_argument("--questions", type=int, default=24, help="golden questions that both are asked, at most")
    parser.add_argument("--generated", type=int, default=4, help="generated questions that both are asked as well")
    parser.add_argument("--keep", type=Path, help="folder that the project is made in, and stays in")
    options = parser.parse_args()
    missing = [name for name in ("RAFT_LOCAL_PYTHON", "RAFT_TEST_MODEL") if name not in os.environ]
    if missing:
        sys.exit(f"{' and '.join(missing)} not set: the worker's interpreter, and a model (a GGUF file or a folder)")
    with TemporaryDirectory() as name:
        project = run_lineage((options.keep or Path(name)).resolve(), options)
        tell_job(project)
        shares = tell_answers(project, options.domain)
    short = [f"{name} {share:.0%}" for name, share in shares.items() if share < WANTED]
    if short:
        sys.exit(f"less than {WANTED:.0%} of the student's answers: {', '.join(short)}")


def run_lineage(folder: Path, options: argparse.Namespace) -> Project:
    """Run the domain to its report, with the model as the student."""
    copied(folder, REPOSITORY / "data" / options.domain)
    domain = folder / "data" / options.domain
    settings = {
        "chunks": {"chunk_size": options.chunk_size},
        "dataset": {"distractors": options.distractors, "eval_share": 0.1},  # golden questions decide
        "training_files": {"context_tokens": 4096},
        "training": {
            "n_epochs": "auto" if options.epochs == "auto" else int(options.epochs),
            "batch_size": options.batch_size,
            "learning_rate_multiplier": options.learning_rate,
            "checkpoint": "best",
        },
        "evaluation": {"arms": ["main"], "robustness_rows": 0, "max_answer_tokens": 128, "max_rows": options.generated},
    }
    (domain / "domain.yaml").write_text(yaml.safe_dump(settings), "utf-8")
    questions = (domain / "questions.jsonl").read_text("utf-8").splitlines()
    step = max(1, len(questions) // options.questions)
    kept = islice(questions[::step], options.questions)
    (domain / "questions.jsonl").write_text("".join(f"{line}\n" for line in kept), "utf-8")
    variables = {
        "RAFT_PROJECT": str(folder),
        "STUDENT_LOCAL_MODEL": str(Path(os.environ["RAFT_TEST_MODEL"]).resolve()),
    }
    started = time.monotonic()
    command = [sys.executable, "-m", "raft_assets.cli.main", "run", options.domain]
    subprocess.run(command, env=os.environ | variables, check=True)
    print(f"the whole run: {(time.monotonic() - started) / 60:.1f} min")
    return Project.load(folder, os.environ | variables)


def tell_job(project: Project) -> None:
    """Print what the fine-tuning job said, and what it measured."""
    (job,) = project.local_folder.glob("*/jobs/ftjob-*")
    for line in (job / "worker" / "events.jsonl").read_text("utf-8").splitlines():
        event = json.loads(line)
        if event["type"] == "message":
            print(event["message"])
    state = json.loads((job / "worker" / "state.json").read_bytes())
    for point in state["checkpoints"]:
        metrics = point["metrics"]
        print(f"epoch {point['epoch']}:", ", ".join(f"{name} {metrics[name]:.2f}" for name in TOLD if name in metrics))
    measured = json.loads((job / "worker" / "result.json").read_bytes())["measured"]
    print(f"best: step {state['best']}; {measured['seconds']:.0f} s, peak {measured['peak_memory_gib']} GiB")


def tell_answers(project: Project, domain: str) -> dict[str, float]:
    """Print base and student on the golden questions; return the shares of the student's answers that must be high."""
    lake = Lake.of(project)
    results = ResultsStore.of(project)
    scores = results.query(GOLDEN_SCORES)
    scores = scores[scores["domain"] == domain]
    stops = {"baseline": _stops(lake.rows(BaselineAnswer, domain)), "student": _stops(lake.rows(StudentAnswer, domain))}
    for model, share in stops.items():
        told = [f"{model}: stops by itself {share:.0%}"]
        for name in SHOWN:
            values = scores[(scores["evaluated"] == model) & (scores["metric"] == name)]["value"]
            told.append(f"{name} {values.mean():.0%} of {len(values)}" if len(values) else f"{name} of none")
        print(", ".join(told))
    print(results.verdicts()[domain]["sentence"])
    formed = scores[(scores["evaluated"] == "student") & (scores["metric"] == "well_formed")]["value"]
    return {"well formed": float(formed.mean()), "stops by itself": stops["student"]}


def _stops(answers: Iterable[ModelAnswer]) -> float:
    golden = [answer for answer in answers if answer.source == "golden"]
    return sum(answer.status == "ok" for answer in golden) / len(golden)


if __name__ == "__main__":
    main()
