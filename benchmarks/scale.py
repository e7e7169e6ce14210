"""The lineage at scale, from documents to training files: CPU, wall and memory of every stage, and how they grow.

    python benchmarks/scale.py [CHUNKS ...] [--service] [--hard] [--keep FOLDER]      20,000 and 100,000 by default

Documents are made of the words of the shipped domains: sentences that state facts, prose around them, and a page that
all documents share. Four questions about every chunk, their answers and all vectors are known in advance: they are put
into the call store before `chunk_embeddings` and `qa_pairs` run, or, with `--service`, asked of a service in a process
of its own. `--hard` picks hard distractors. Every stage is a `raft run` of its own, so that its peak of memory is its
own. What counts is CPU time per chunk: the last column is its growth from the size before.
"""

import argparse
import base64
import json
import os
import re
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from functools import cache
from hashlib import blake2b
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import numpy as np
import uvicorn
from project import REPOSITORY, copied
from starlette.applications import Starlette
from starlette.requests import Request as Received
from starlette.responses import JSONResponse
from starlette.routing import Route

from raft_assets.core.prompt_contract import render_answer
from raft_assets.core.tables import Chunk
from raft_assets.llm.keys import call_key, embedding_key
from raft_assets.llm.requests import Origin, Request, Usage
from raft_assets.llm.store import StoredCall
from raft_assets.pairs.generation import first_round_plan
from raft_assets.pairs.questions import parse_questions, question_request, teacher_answer_request
from raft_assets.settings.endpoints import Endpoint, Role
from raft_assets.settings.project import Project
from raft_assets.storage.call_store import SqliteCallStore
from raft_assets.storage.lake import Lake

SIZES = (20_000, 100_000)
STAGES = (
    *("source_documents", "chunks", "chunk_embeddings", "golden_questions", "qa_pairs", "qa_dataset"),
    "training_files",
)
DOMAIN = "scale"
MODEL = "simulated"
CHUNKS_PER_DOCUMENT = 50
WORDS_PER_CHUNK = 92  # about, of 160 tokens
DIMENSIONS = 384
STORED_AT_ONCE = 2_000
PORT = 18_465  # of the service, and part of the keys of stored calls
SETTINGS = "questions: {{structured: off}}\ndataset: {{distractor_kind: {kind}}}\n"


class Fact(NamedTuple):
    """A sentence with a question that it answers."""

    question: str
    answer: str
    sentence: str


class Cost(NamedTuple):
    """What a stage took: seconds of CPU and by the clock, and MB at the peak."""

    cpu: float
    wall: float
    memory: float


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sizes", type=int, nargs="*", metavar="CHUNKS", default=list(SIZES))
    parser.add_argument("--service", action="store_true", help="ask a service instead of storing the answers")
    parser.add_argument("--hard", action="store_true", help="hard distractors")
    parser.add_argument("--keep", type=Path, metavar="FOLDER", help="keep the projects in this folder")
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.serve:
        serve()
        return
    before: dict[str, float] = {}
    for size in chosen.sizes:
        with nullcontext(chosen.keep / str(size)) if chosen.keep else TemporaryDirectory() as folder:
            before = measure(Path(folder), size, before, is_hard=chosen.hard, has_service=chosen.service)


def measure(
    project: Path, size: int, before: dict[str, float], *, is_hard: bool, has_service: bool
) -> dict[str, float]:
    """Runs and prints every stage; returns the CPU milliseconds per chunk of each."""
    documents = project / "documents" / DOMAIN
    documents.mkdir(parents=True)
    write_documents(documents, size)
    (documents / "domain.yaml").write_text(SETTINGS.format(kind="hard" if is_hard else "random"), "utf-8")
    copied(project, documents)
    address = f"http://127.0.0.1:{PORT}/v1"
    variables = {"RAFT_PROJECT": str(project)}
    for role in ("TEACHER", "EMBEDDING"):
        names = {"API_KEY": "none", "BASE_URL": address, "DEPLOYMENT": MODEL}
        variables |= {f"{role}_OPENAI_{name}": value for name, value in names.items()}
    costs: dict[str, Cost] = {}
    with service() if has_service else nullcontext():
        for stage in STAGES:
            if stage == "chunk_embeddings" and not has_service:
                store_answers(Project.load(project, variables))
            costs[stage] = run(stage, variables)
    lake = Lake(root=Project.load(project, variables).lake)
    chunks, pairs, rows = (lake.count(table, DOMAIN) for table in ("chunks", "qa_pairs", "qa_dataset"))
    print(f"\n{chunks:,} chunks, {pairs:,} pairs, {rows:,} rows" + (", answers of a service" if has_service else ""))
    cpu, wall = sum(cost.cpu for cost in costs.values()), sum(cost.wall for cost in costs.values())
    costs["all"] = Cost(cpu, wall, max(cost.memory for cost in costs.values()))
    each = {stage: cost.cpu * 1000 / chunks for stage, cost in costs.items()}
    for stage, cost in costs.items():
        growth = f", {each[stage] / before[stage]:.2f} of before" if before else ""
        print(
            f"{stage:17} {cost.cpu:6.0f} s of CPU ({cost.wall:5.0f} s by the clock), {cost.memory:6,.0f} MB, "
            f"{each[stage]:6.2f} ms a chunk{growth}",
            flush=True,
        )
    return each


def run(stage: str, variables: dict[str, str]) -> Cost:
    """The cost of `raft run` up to the stage, of which the stages before are fresh."""
    command = [sys.executable, "-m", "raft_assets.cli.main", "run", DOMAIN, "--select", stage]
    started = time.monotonic()
    output = Path(variables["RAFT_PROJECT"], f"{stage}.log")
    with output.open("wb") as log:
        process = subprocess.Popen(command, env=os.environ | variables, stdout=log, stderr=log)
        _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        sys.exit(f"{' '.join(command)} ended with {process.returncode}:\n{output.read_text()[-3000:]}")
    return Cost(used.ru_utime + used.ru_stime, time.monotonic() - started, used.ru_maxrss / 1000)


# ------------------------------------------------------------ documents


def write_documents(folder: Path, size: int) -> None:
    """Documents of about so many chunks together."""
    draw = Random(size)
    for number in range(max(size // CHUNKS_PER_DOCUMENT, 1)):
        paragraphs = [paragraph(draw) for _ in range(CHUNKS_PER_DOCUMENT)]
        paragraphs[draw.randrange(CHUNKS_PER_DOCUMENT)] = SAFETY_PAGE
        (folder / f"{number:06}.txt").write_text("\n\n".join(paragraphs) + "\n", "utf-8")


def paragraph(draw: Random) -> str:
    """Facts about one place, with prose between them."""
    place = f"{name(draw)} {name(draw)}"
    sentences = [_SENTENCES[kind](draw, place) for kind in draw.sample(range(len(_SENTENCES)), 4)]
    words = len(" ".join(sentences).split())
    while words < WORDS_PER_CHUNK - 12:
        sentences.append(prose(draw))
        words += len(sentences[-1].split())
    draw.shuffle(sentences)
    return " ".join(sentences)


@cache
def vocabulary() -> list[str]:
    """The longer words of the shipped domains."""
    texts = [file.read_text("utf-8") for file in sorted((REPOSITORY / "data").glob("*/*.*")) if file.suffix in _TEXTS]
    return sorted({word for text in texts for word in re.findall(r"\b[a-z]{5,}\b", text)})


_TEXTS = (".txt", ".md", ".html")
SAFETY_PAGE = (
    "Read the safety instructions before you use this equipment. Disconnect the supply before you open the cover. Keep "
    "children and animals away from moving parts. Wear gloves and goggles whenever the guard is removed. Report every "
    "accident to the person in charge without delay, and keep this page where everybody who works here can find it."
)
_SYLLABLES = [a + b for a in ("br", "d", "f", "gl", "h", "k", "l", "m", "n", "r", "st", "t", "v") for b in "aeiou"]


def name(draw: Random) -> str:
    return "".join(draw.choices(_SYLLABLES, k=3)).capitalize()


def word(draw: Random) -> str:
    return draw.choice(vocabulary())


def prose(draw: Random) -> str:
    words = [word(draw) for _ in range(7)]
    return "The {} {} near the {} was {} by a {} of the {} and its {}.".format(*words)


_SENTENCES: tuple[Callable[[Random, str], str], ...] = (
    lambda draw, place: (
        f"The {word(draw)} archive of {place} holds {draw.randrange(100, 99_999)} {word(draw)} items, and the "
        f"{word(draw)} keepers count them every spring."
    ),
    lambda draw, place: (
        f"{place} was founded in {draw.randrange(1200, 1990)} by the {word(draw)} merchant {name(draw)} {name(draw)}, "
        f"who had learned the {word(draw)} trade abroad."
    ),
    lambda draw, place: (
        f"The {word(draw)} workshop of {place} was moved to {name(draw)} Hill because the {word(draw)} cellar had been "
        f"flooded."
    ),
    lambda draw, place: (
        f"Visitors of {place} pay {draw.randrange(2, 900)} crowns for the {word(draw)} tour, which passes the "
        f"{word(draw)} tower and the {word(draw)} gate."
    ),
)
_FACTS = (
    (
        re.compile(r"The (\w+) archive of (\w+ \w+) holds (\d+) (\w+) items, [^.]*\."),
        "How many {3} items does the {0} archive of {1} hold?",
        "{2}",
    ),
    (
        re.compile(r"(\w+ \w+) was founded in (\d+) by the (\w+) merchant (\w+ \w+), [^.]*\."),
        "Which {2} merchant founded {0}?",
        "{3}",
    ),
    (
        re.compile(r"The (\w+) workshop of (\w+ \w+) was moved to (\w+ Hill) [^.]*\."),
        "To which hill was the {0} workshop of {1} moved?",
        "{2}",
    ),
    (
        re.compile(r"Visitors of (\w+ \w+) pay (\d+) crowns for the (\w+) tour, [^.]*\."),
        "How many crowns do visitors of {0} pay for the {2} tour?",
        "{1}",
    ),
)


# ------------------------------------------------------------ answers


def facts_in(passage: str) -> Iterator[Fact]:
    for pattern, question, answer in _FACTS:
        for match in pattern.finditer(" ".join(passage.split())):
            yield Fact(question.format(*match.groups()), answer.format(*match.groups()), match[0])


def questions_about(passage: str) -> str:
    return "\n".join(fact.question for fact in facts_in(passage)) or "There is nothing to ask."


def answer_to(question: str, passage: str) -> str:
    for fact in facts_in(passage):
        if fact.question == question:
            said = f"The document says: ##begin_quote##{fact.sentence}##end_quote##"
            return render_answer(said, fact.answer)
    return render_answer("The document says nothing of it.", "unknown")


def vector_of(text: str) -> np.ndarray:
    """A direction that a text shares with those that have its names and rare words."""
    names, words = re.findall(r"\b[A-Z][a-z]{3,}\b", text), re.findall(r"\b[a-z]{5,}\b", text)
    total = np.sum([4 * direction(one) for one in names] + [direction(one) for one in words or ["none"]], axis=0)
    vector: np.ndarray = (total / np.linalg.norm(total)).astype(np.float32)
    return vector


@cache
def direction(token: str) -> np.ndarray:
    seed = int.from_bytes(blake2b(token.encode(), digest_size=8).digest(), "big")
    return np.random.default_rng(seed).standard_normal(DIMENSIONS, np.float32)


def chat_reply(content: str) -> dict[str, Any]:
    message = {"role": "assistant", "content": content}
    return {
        "object": "chat.completion",
        "choices": [{"index": 0, "message": message, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 300, "completion_tokens": 60, "total_tokens": 360},
    }


def store_answers(project: Project) -> None:
    """Puts the answers to everything that the stages will ask into the call store."""
    started = time.process_time()
    lake, settings = Lake.of(project), project.settings(DOMAIN).values
    teacher, encoder = project.endpoints[Role.TEACHER], project.endpoints[Role.EMBEDDING]
    chunks = list(lake.rows(Chunk, DOMAIN))
    waiting: list[StoredCall] = []
    count = 0
    with SqliteCallStore(project.calls) as store:

        def keep(call: StoredCall) -> None:
            nonlocal count
            count += 1
            waiting.append(call)
            if len(waiting) >= STORED_AT_ONCE:
                store.put(waiting)
                waiting.clear()

        def ask(request: Request, content: str) -> None:
            payload = json.dumps(chat_reply(content)).encode()
            keep(stored(teacher, call_key(teacher, request, model=MODEL, model_version=""), "chat", payload))

        def embed(text: str) -> None:
            key = embedding_key(encoder, text, model=MODEL, model_version="")
            keep(stored(encoder, key, "embedding", vector_of(text).tobytes()))

        for chunk, number in first_round_plan(chunks, settings.questions):
            embed(chunk.passage)
            reply = questions_about(chunk.passage)
            ask(question_request(chunk, number, settings.questions), reply)
            for question in parse_questions(reply, number):
                embed(question)
                ask(teacher_answer_request(question, chunk, settings.questions), answer_to(question, chunk.passage))
        store.put(waiting)
    print(f"{count:,} answers stored in {time.process_time() - started:.0f} s of CPU", flush=True)


def stored(endpoint: Endpoint, key: str, kind: str, payload: bytes) -> StoredCall:
    usage, origin = Usage(input_tokens=300, output_tokens=60), Origin("benchmark", DOMAIN, "")
    return StoredCall(key, endpoint.service, MODEL, kind, "ok", usage, 0.1, time.time(), payload, origin=origin)


# ------------------------------------------------------------ the service


@contextmanager
def service() -> Iterator[None]:
    process = subprocess.Popen([sys.executable, __file__, "--serve"])
    try:
        while socket.socket().connect_ex(("127.0.0.1", PORT)):
            time.sleep(0.1)
        yield
    finally:
        process.terminate()
        process.wait()


def serve() -> None:
    """Answers as the store would."""

    async def chat(received: Received) -> JSONResponse:
        prompt = (await received.json())["messages"][-1]["content"]
        passage, task = re.findall(r"<DOCUMENT>\n?(.*?)\n?</DOCUMENT>\s*(.*)", prompt, re.DOTALL)[-1]
        reply = questions_about(passage) if task.startswith("Write ") else answer_to(task.strip(), passage)
        return JSONResponse(chat_reply(reply))

    async def embeddings(received: Received) -> JSONResponse:
        texts: list[str] = (await received.json())["input"]
        data = [
            {"object": "embedding", "index": place, "embedding": base64.b64encode(vector_of(text).tobytes()).decode()}
            for place, text in enumerate(texts)
        ]
        return JSONResponse({"object": "list", "data": data, "usage": {"prompt_tokens": 9, "total_tokens": 9}})

    routes = [
        Route("/v1/chat/completions", chat, methods=["POST"]),
        Route("/v1/embeddings", embeddings, methods=["POST"]),
    ]
    uvicorn.run(Starlette(routes=routes), host="127.0.0.1", port=PORT, log_level="warning")


if __name__ == "__main__":
    main()
