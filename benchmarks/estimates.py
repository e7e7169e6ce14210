"""Ranges of `raft estimate` beside the bill: cold, and after previews of drawn chunks.

    python benchmarks/estimates.py [--preview CHUNKS] [--draws DRAWS] [--seed SEED] [--unknown-teacher]
        [--finished PROJECT] [FOLDER ...]

Every domain (the shipped ones, or the folders) is run once, offline, at invented prices; `--finished` takes the domains
of a project that was run already instead. It is estimated before anything is stored, and after previews of chunks that
are drawn at random, each in a project of its own: that has the calls of the finished one, but for what was asked about
the other chunks and after them. `--unknown-teacher`: as if the teacher were no rules of this package, but a model.
"""

import argparse
import random
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path

from project import REPOSITORY, copied, materialized

from raft_assets.core.tables import QAPair
from raft_assets.llm.keys import EMBEDDING
from raft_assets.llm.prices import Price, PriceList
from raft_assets.llm.requests import Usage
from raft_assets.operations import teacher_sample
from raft_assets.operations.corpus import Corpus, read_corpus
from raft_assets.operations.estimate import estimate_calls
from raft_assets.operations.model_clients import ModelClients
from raft_assets.settings.domains import domain_names
from raft_assets.settings.endpoints import Endpoint, Role
from raft_assets.settings.project import Project
from raft_assets.storage.call_store import open_call_store
from raft_assets.storage.lake import Lake

PRICE = Price(2.0, None, 8.0, 25.0, "invented")  # US dollars a million tokens
ASSETS = ("qa_pairs", "baseline_answers", "student_answers", "finetuned_model")


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--preview", type=int, default=20, help="chunks that are previewed")
    parser.add_argument("--draws", type=int, default=5, help="previews of other chunks")
    parser.add_argument("--seed", type=int, default=0, help="of the first draw; the next ones follow")
    parser.add_argument("--finished", type=Path, help="a project that was run: its domains, nothing is run again")
    parser.add_argument("--unknown-teacher", action="store_true", help="as if no rules were known")
    parser.add_argument("folders", nargs="*", type=Path)
    options = parser.parse_args()
    if options.unknown_teacher:
        teacher_sample.PREDICTED_CHUNKS = 0
    source = (options.finished or REPOSITORY) / "data"
    print(f"{'domain':18} {'asset':18} {'cold':>17} {'width':>6} {'bill':>9}  previewed: inside, widest, bill/middle")
    for folder in options.folders or [source / name for name in domain_names(source)]:
        with tempfile.TemporaryDirectory() as place:
            finished = (
                Project.load(options.finished, {"RAFT_PROJECT": str(options.finished), "RAFT_PROVIDER": "embedded"})
                if options.finished
                else materialized(Path(place) / "finished", folder, "judged_answers")
            )
            bill = billed(finished, folder.name)
            with fresh_project(folder) as project:
                corpus = read_corpus(ModelClients(project), folder.name)
                cold = estimated(project, folder.name, corpus)
            seeds = range(options.seed, options.seed + options.draws)
            previewed = [drawn(finished, folder.name, corpus, options.preview, seed) for seed in seeds]
            for asset in ASSETS:
                print(line(folder.name, asset, bill[asset], cold[asset], [one[asset] for one in previewed]), flush=True)


def line(domain: str, asset: str, bill: float, cold: tuple[float, float], previewed: list[tuple[float, float]]) -> str:
    """A row of the table."""
    inside = sum(is_inside(bill, one) for one in previewed)
    widest = max((high / low for low, high in previewed), default=0.0)
    places = [bill / ((low * high) ** 0.5) for low, high in previewed]
    told = f"{inside} of {len(previewed)}, {widest:.2f}, {min(places, default=0):.2f}-{max(places, default=0):.2f}"
    verdict = "" if is_inside(bill, cold) else "  OUTSIDE cold"
    return f"{domain:18} {asset:18} {cold[0]:8.3f}-{cold[1]:8.3f} {cold[1] / cold[0]:6.2f} {bill:9.3f}  {told}{verdict}"


def is_inside(bill: float, ends: tuple[float, float]) -> bool:
    """Whether the range holds the bill, but for rounding."""
    return ends[0] * (1 - 1e-9) <= bill <= ends[1] * (1 + 1e-9)


def billed(project: Project, domain: str) -> dict[str, float]:
    """What the domain's calls and its training would have cost."""
    found = dict.fromkeys(ASSETS, 0.0)
    with open_call_store(project) as store:
        for call in store.calls():
            if call.origin.domain == domain and call.origin.asset in ASSETS[:-1]:
                found[call.origin.asset] += dollars(call.usage)
    trained = Lake.of(project).read_record("finetuned_model", domain)["trained_tokens"]
    return found | {"finetuned_model": PRICE.training_cost(trained) or 0.0}


def estimated(project: Project, domain: str, corpus: Corpus) -> dict[str, tuple[float, float]]:
    """The least and the most of each asset."""
    found = dict.fromkeys(ASSETS, (0.0, 0.0))
    for one in estimate_calls(PricedClients(project), domain, corpus):
        if one.asset in found:
            low, high = found[one.asset]
            found[one.asset] = (low + (one.low.dollars or 0.0), high + (one.high.dollars or 0.0))
    return found


def drawn(finished: Project, domain: str, corpus: Corpus, count: int, seed: int) -> dict[str, tuple[float, float]]:
    """The ranges after a preview of so many chunks, with what the preview's own questions cost."""
    pairs = list(Lake.of(finished).rows(QAPair, domain))
    sample = set(random.Random(seed).sample(sorted(chunk.chunk_id for chunk in corpus.chunks), count))
    previewed = {
        call for pair in pairs if pair.chunk_id in sample for call in (pair.question_call, pair.answer_call) if call
    }
    with fresh_project(finished.data / domain) as project:
        shutil.copytree(finished.home / "calls", project.home / "calls")
        with open_call_store(project) as store:
            store.forget(lambda call: call.kind != EMBEDDING and call.key not in previewed)
            paid = sum(dollars(call.usage) for call in store.calls() if call.kind != EMBEDDING)
        found = estimated(project, domain, corpus)
        low, high = found["qa_pairs"]
        return found | {"qa_pairs": (low + paid, high + paid)}


def dollars(usage: Usage) -> float:
    """The price of tokens."""
    return PRICE.of(usage) or 0.0


class InventedPrices(PriceList):
    """The same price for every model, also for those that cost nothing."""

    def of(self, endpoint: Endpoint, model: str | None = None) -> Price:
        """The price; of nothing for vectors, whose bill isn't compared."""
        return Price(0.0, None, 0.0, None, "invented") if endpoint.role is Role.EMBEDDING else PRICE


class PricedClients(ModelClients):
    """Clients of a project whose models cost something: a range is one of money then, not of tokens."""

    @cached_property
    def prices(self) -> PriceList:
        """The invented prices."""
        return InventedPrices(self.project.folder)


@contextmanager
def fresh_project(folder: Path) -> Iterator[Project]:
    """A project with the domain in which nothing is stored."""
    with tempfile.TemporaryDirectory() as place:
        copied(Path(place), folder)
        yield Project.load(Path(place), {"RAFT_PROJECT": place, "RAFT_PROVIDER": "embedded"})


if __name__ == "__main__":
    main()
