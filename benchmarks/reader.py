"""What fine-tuning teaches the embedded reader: exact match and token F1 before and after, and a learning curve.

    python benchmarks/reader.py           learning curve over data/, with plots in docs/images
    python benchmarks/reader.py FOLDER    a folder of documents: 70 % of its chunks train, the rest evaluates

Both run the lineage to its dataset in a temporary project first. Every figure is a mean over questions, in percent.
"""

import argparse
import resource
import tempfile
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
from project import REPOSITORY, materialized

from raft_assets.core.identity import draw
from raft_assets.core.prompt_contract import ABSTENTION, ABSTENTION_ANSWER
from raft_assets.core.tables import Chunk, GoldenQuestion, QAPair, RaftRow
from raft_assets.dataset.distractors import DistractorPool, pick_distractors
from raft_assets.dataset.formats import training_lines
from raft_assets.embedded.encoder import Encoder
from raft_assets.embedded.reader.read import Reader
from raft_assets.embedded.reader.training import TrainingHyperparameters, TrainingResult, train
from raft_assets.evaluation.arms import EvaluationItem, build_items
from raft_assets.evaluation.metrics import exact_match, token_f1
from raft_assets.evaluation.plots import line
from raft_assets.evaluation.statistics import Interval, paired_bootstrap
from raft_assets.settings.domain import DatasetSettings, DomainSettings, EvaluationSettings
from raft_assets.settings.domains import domain_names
from raft_assets.settings.project import Project
from raft_assets.storage.lake import Lake

PLOTS = REPOSITORY / "docs" / "images"
ALL = 10**9
SIZES = (0, 25, 50, 100, 200, ALL)  # training rows
EVALUATED_SHARE, SPLITS, SEED = 0.3, range(4), 0  # which split of the chunks is drawn is the seed of the draw
DRAWS = 10_000
METRICS = {"exact match": exact_match, "token F1": token_f1}

Scores = dict[str, np.ndarray]  # metric to a score per question


def main() -> None:
    """Reads the command line, measures, prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", nargs="?", type=Path, help="a folder of documents")
    folder = parser.parse_args().folder
    with tempfile.TemporaryDirectory() as project:
        place = materialized(Path(project), folder, "qa_dataset")
        encoder = Encoder.load(place.encoder_folder, hf_home=place.huggingface_home)
        if folder:
            _before_and_after(place, encoder)
        else:
            _learning_curve(place, encoder)


def _before_and_after(place: Project, encoder: Encoder) -> None:
    [domain] = domain_names(place.data)
    lake = Lake(root=place.lake)
    chunks = {chunk.chunk_id: chunk for chunk in lake.rows(Chunk, domain)}
    pool = DistractorPool(chunks.values())
    pairs = [pair for pair in lake.rows(QAPair, domain) if pair.accepted]
    print(f"{domain}: {len(chunks)} chunks, {len(pairs)} accepted pairs")
    found: list[Scores] = []
    for seed in SPLITS:
        rows = [_row(pair, chunks, pool, seed) for pair in pairs]
        tuned, seconds = _trained(encoder, [row for row in rows if row.split == "train"])
        asked = [row for row in rows if row.split == "eval" and row.kind != "cloze"]
        questions = [(row.question, row.documents, [row.final_answer]) for row in asked]
        before, after = _scores(Reader.initial(encoder), questions), _scores(tuned.reader, questions)
        found.append(after)
        memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000  # MB
        print(
            f"split {seed}: {tuned.used_rows} rows learned in {seconds:.0f} CPU s, {memory:.0f} MB at the peak; "
            f"{len(asked)} questions evaluate"
        )
        for metric, gain in _gains(before, after, [row.chunk_id for row in asked]).items():
            print(
                f"  {metric}: {before[metric].mean():.1%} before, {after[metric].mean():.1%} after; gain "
                f"{gain.mean:+.1%}, 95 % interval {gain.low:+.1%} to {gain.high:+.1%}"
            )
    for metric in METRICS:
        means = [float(scores[metric].mean()) for scores in found]
        print(f"{metric} after, mean of the splits: {sum(means) / len(means):.1%}")


def _learning_curve(place: Project, encoder: Encoder) -> None:
    """Rows of every size are those of the size before and more; the domains' questions are pooled."""
    found: dict[int, list[Scores]] = {size: [] for size in SIZES}
    learned: list[int] = []
    asked: list[EvaluationItem] = []
    for domain in domain_names(place.data):
        of_domain = _items(place, domain)
        rows = [row for row in Lake(root=place.lake).rows(RaftRow, domain) if row.split == "train"]
        rows.sort(key=lambda row: draw(SEED, row.question_id, "curve"))
        questions = [(item.question, item.documents, item.golden_answers) for item in of_domain]
        for size in SIZES:
            reader = _trained(encoder, rows[:size])[0].reader if size else Reader.initial(encoder)
            found[size].append(_scores(reader, questions))
        learned.append(len(rows))
        asked += of_domain
        print(f"{domain}: {len(rows)} training rows, {len(of_domain)} questions")
    pooled = {size: {name: np.concatenate([one[name] for one in of]) for name in METRICS} for size, of in found.items()}
    slices, clusters = [item.source for item in asked], [item.cluster for item in asked]
    places = [float(min(size, sum(learned) // len(learned))) for size in SIZES]
    lines: dict[str, dict[str, list[float]]] = {metric: {} for metric in METRICS}
    for source in ("golden", "generated"):
        here = np.array([name == source for name in slices])
        chosen = [cluster for cluster, is_here in zip(clusters, here, strict=True) if is_here]
        print(f"\n{source}: {here.sum()} questions; gains over 0 rows with 95 % intervals")
        for size in SIZES:
            before, after = ({name: values[here] for name, values in pooled[n].items()} for n in (0, size))
            told = (
                f"{name} {after[name].mean():.1%} ({gain.mean:+.1%}, {gain.low:+.1%} to {gain.high:+.1%})"
                for name, gain in _gains(before, after, chosen).items()
            )
            print(f"{'all' if size == ALL else size:>5}  {'   '.join(told)}")
            for name, values in after.items():
                lines[name].setdefault(source, []).append(float(values.mean()))
    for metric, series in lines.items():
        plot = PLOTS / f"learning-curve-{metric.replace(' ', '-').lower()}.svg"
        title = f"{metric.capitalize()} by number of training rows".replace("f1", "F1")
        drawn = line(places, series, title=title, x_label="training rows of a domain", y_label=metric, standalone=True)
        plot.write_text(drawn, "utf-8")
        print(f"plot: {plot}")


def _items(place: Project, domain: str) -> list[EvaluationItem]:
    """The main arm of the evaluation rows and golden questions."""
    lake = Lake(root=place.lake)
    return build_items(
        lake.rows(RaftRow, domain),
        list(lake.rows(GoldenQuestion, domain)),
        list(lake.rows(Chunk, domain)),
        nearest=lambda *_: [],
        evaluation=EvaluationSettings(arms=("main",), robustness_rows=0),
        dataset=DatasetSettings(),
    )


def _row(pair: QAPair, chunks: Mapping[str, Chunk], pool: DistractorPool, seed: int) -> RaftRow:
    """A pair with three random distractors; of those that train, one in five loses its oracle, as by default."""
    settings = DatasetSettings()
    evaluated = draw(seed, pair.chunk_id, "benchmark") < EVALUATED_SHARE
    has_oracle = evaluated or draw(seed, pair.question_id, "p") < settings.p
    shown = pick_distractors(
        pair.chunk_id,
        pool=pool,
        count=settings.distractors + (not has_oracle),
        kind="random",
        seed=seed,
        question_id=pair.question_id,
        forbidden=frozenset(),
        answer=pair.final_answer,
    )
    shown = sorted(
        [*shown, *([pair.chunk_id] if has_oracle else [])], key=lambda name: draw(seed, pair.question_id, name)
    )
    return RaftRow(
        question_id=pair.question_id,
        question=pair.question,
        documents=[chunks[name].text for name in shown],
        document_chunk_ids=shown,
        oracle_index=shown.index(pair.chunk_id) if has_oracle else None,
        has_oracle=has_oracle,
        answer=pair.answer if has_oracle else ABSTENTION_ANSWER,
        final_answer=pair.final_answer if has_oracle else ABSTENTION,
        split="eval" if evaluated else "train",
        unit=pair.chunk_id,
        chunk_id=pair.chunk_id,
        doc_id=pair.doc_id,
        path=pair.path,
        kind=pair.kind,
    )


def _trained(encoder: Encoder, rows: Iterable[RaftRow]) -> tuple[TrainingResult, float]:
    """What the rows teach, and the CPU seconds that it took."""
    started = time.process_time()
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "train.jsonl"
        file.write_text("".join(f"{line}\n" for line in training_lines(rows, DomainSettings())), "utf-8")
        result = train(
            encoder,
            file,
            None,
            hyperparameters=TrainingHyperparameters(),
            on_step=lambda _: None,
            cancelled=lambda: False,
        )
    return result, time.process_time() - started


def _scores(reader: Reader, questions: Iterable[tuple[str, Sequence[str], Sequence[str]]]) -> Scores:
    """Scores of (question, documents, right answers)."""
    found: dict[str, list[float]] = {name: [] for name in METRICS}
    for question, documents, right in questions:
        answer = reader.read(question, documents).answer or ""
        for name, metric in METRICS.items():
            found[name].append(max(metric(answer, golden) for golden in right))
    return {name: np.array(values) for name, values in found.items()}


def _gains(before: Scores, after: Scores, clusters: Sequence[str]) -> dict[str, Interval]:
    return {
        name: paired_bootstrap(before[name], after[name], clusters=clusters, draws=DRAWS, seed=SEED) for name in METRICS
    }


if __name__ == "__main__":
    main()
