"""All roles of a domain in any language as one service plays them: each from what it is sent, over the wire.

The teacher asks about the facts in a passage and answers them as they are taught; the encoder counts runs of
characters; baseline and student answer as often right as a test plans, and abstain where the fact isn't shown; the
judge supports everything, so that only the gates reject. A fine-tuning job is done as soon as it is asked for.
"""

import zlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from raft_assets.core.identity import draw
from raft_assets.core.prompt_contract import render_answer
from raft_assets_tests.defs.language_domains import Fact
from raft_assets_tests.llm.service import Reply, Seen, chat, embeddings

DIMENSIONS = 512
BASE, JUDGE, TEACHER, ENCODER = "base-model", "judge-model", "teacher-model", "encoder-model"
STUDENT = f"ft:{BASE}:student"


@dataclass(frozen=True)
class Plan:
    """How often a domain's models answer rightly where the fact is shown, as shares of the questions."""

    baseline: float
    student: float


@dataclass
class ScriptedRoles:
    """The rule of a `Service`. `plans` by code of a language; `uploads` and `jobs` are counted."""

    facts: Iterable[Fact]
    plans: Mapping[str, Plan]
    uploads: int = 0
    jobs: list[dict[str, Any]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.facts = list(self.facts)
        self._asked = {asked: fact for fact in self.facts for asked in (fact.question, fact.golden_question)}

    @property
    def variables(self) -> dict[str, str]:
        """Deployments of a project's roles; the addresses are the test's."""
        models = {"TEACHER": TEACHER, "EMBEDDING": ENCODER, "STUDENT": BASE, "JUDGE": JUDGE}
        return {f"{role}_OPENAI_DEPLOYMENT": model for role, model in models.items()}

    def __call__(self, seen: Seen) -> Reply | None:
        """Answer a request as its role does."""
        if seen.path.endswith("/embeddings"):
            return embeddings(seen.body, vector_of=count_runs)
        if seen.model == JUDGE:
            return chat('{"supported": true, "reason": "it says so", "score": 3}')
        if seen.model == TEACHER:
            return self._teach(seen.question)
        if seen.model.startswith((BASE, STUDENT)) and "messages" in seen.body:
            return self._answer(seen)
        return self._train(seen)

    def _fact_asked(self, text: str) -> Fact | None:
        return self._asked.get(text.strip().rpartition("\n")[2].strip())

    def _teach(self, text: str) -> Reply:
        if fact := self._fact_asked(text):
            return chat(fact.taught)
        return chat("\n".join(fact.question for fact in self.facts if fact.sentence in text))

    def _answer(self, seen: Seen) -> Reply:
        fact, is_student = self._fact_asked(seen.question), seen.model.startswith(STUDENT)
        if fact is None:  # of no domain: the test call, the smoke test
            return chat(render_answer("It says so.", "in 1871"))
        if fact.sentence not in seen.question:
            return chat(fact.abstaining)
        return chat(fact.answered(self.planned(fact, is_student=is_student)))

    def planned(self, fact: Fact, *, is_student: bool) -> str:
        """The final answer of a model to a fact that it is shown: right, half right, or of another fact."""
        plan = self.plans[fact.domain.code]
        share = plan.student if is_student else plan.baseline
        place = draw(int(is_student), fact.golden_question)
        if place < share:
            return fact.answer
        if place < share + (1 - share) / 3:
            return f"{fact.answer}{fact.domain.joiner}{fact.domain.beside}"
        return fact.other().answer

    def _train(self, seen: Seen) -> Reply | None:
        path = seen.path.rpartition("/v1/")[2]
        if seen.method == "POST":
            return self._create(path, seen.body)
        if path.endswith(("/events", "/checkpoints")):
            return _listed([])
        if path.startswith("models/"):
            return Reply(body={"id": path.partition("/")[2], "object": "model", "created": 1, "owned_by": "tests"})
        if path == "fine_tuning/jobs":
            return _listed(self.jobs)
        return next((Reply(body=job) for job in self.jobs if path == f"fine_tuning/jobs/{job['id']}"), None)

    def _create(self, path: str, asked: Mapping[str, Any]) -> Reply | None:
        if path == "files":
            self.uploads += 1
            return Reply(body=_file(f"file-{self.uploads}"))
        if path == "fine_tuning/jobs":
            self.jobs.append(_job(f"ftjob-{len(self.jobs)}", asked))
            return Reply(body=self.jobs[-1])
        return None


def count_runs(text: str) -> np.ndarray:
    """The vector of a text: how often it has each run of one to three characters, by hash; of length 1."""
    counted = np.zeros(DIMENSIONS, "<f4")
    letters = "".join(text.casefold().split())
    for length in (1, 2, 3):
        for start in range(len(letters) - length + 1):
            counted[zlib.crc32(letters[start : start + length].encode()) % DIMENSIONS] += length
    return counted / max(float(np.linalg.norm(counted)), 1e-9)


def _listed(found: list[dict[str, Any]]) -> Reply:
    return Reply(body={"object": "list", "data": found, "has_more": False})


def _file(name: str) -> dict[str, Any]:
    return {
        "id": name,
        "object": "file",
        "bytes": 1,
        "created_at": 1,
        "filename": f"{name}.jsonl",
        "purpose": "fine-tune",
        "status": "processed",
    }


def _job(name: str, asked: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "id": name,
        "object": "fine_tuning.job",
        "created_at": 1,
        "finished_at": 2,
        "fine_tuned_model": f"{STUDENT}-{name}",
        "hyperparameters": {"n_epochs": 3},
        "model": asked["model"],
        "organization_id": "tests",
        "result_files": [],
        "seed": 0,
        "status": "succeeded",
        "trained_tokens": 1000,
        "training_file": asked["training_file"],
        "validation_file": asked.get("validation_file"),
        "error": None,
        "metadata": asked.get("metadata"),
    }
