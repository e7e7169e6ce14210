"""azure-ai-evaluation's own evaluators beside our judge, where the package is installed or lies beside."""

import importlib.util
import os
import pickle
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from raft_assets.core.errors import SettingsError
from raft_assets.core.tables import JudgedAnswer, ModelAnswer
from raft_assets.evaluation.azure_evaluators import EVALUATORS, compare_judges, rate_answers
from raft_assets.evaluation.judged import Agreement
from raft_assets_tests.evaluation.builders import RIGHT, WRONG, both
from raft_assets_tests.llm.service import Reply, Seen, Service, chat

# where `make test` puts the package with the older pandas that it needs
BESIDE = Path(sys.prefix) / "azure-evaluation"
RATING = """
import pickle, sys
from pathlib import Path
from raft_assets.evaluation.azure_evaluators import rate_answers

folder = Path(sys.argv[1])
judged, answers, url = pickle.loads((folder / "given").read_bytes())
(folder / "rated").write_bytes(pickle.dumps(list(rate_answers(judged, answers, base_url=url, model="m"))))
"""


def is_installed() -> bool:
    try:
        return importlib.util.find_spec("azure.ai.evaluation") is not None
    except ImportError:  # nothing of Azure is
        return False


def judged(answer: ModelAnswer, metric: str, score: int | None, sample: int = 0) -> JudgedAnswer:
    return JudgedAnswer(
        question_id=answer.question_id,
        source=answer.source,
        evaluated=answer.evaluated,
        cluster=answer.cluster,
        metric=metric,
        sample=sample,
        score=score,
        reason="ours",
        status="ok" if score else "unreadable",
        detail="",
        call="key",
    )


@pytest.fixture
def service() -> Iterator[Service]:
    found = Service()
    yield found
    found.stop()


def test_both_judges_are_compared_on_what_both_scored() -> None:
    one, two = both("q", WRONG, RIGHT)
    ours = [judged(one, "fluency", 4), judged(one, "fluency", 1, sample=1), judged(two, "fluency", 3)]
    theirs = [judged(one, "fluency", 4), judged(two, "fluency", 5), judged(two, "relevance", 2)]
    (found,) = compare_judges([*ours, judged(two, "relevance", None)], theirs)
    assert (found.ours, found.theirs) == (3.5, 4.5)
    assert found.agreement == Agreement("fluency", 2, same=0.5, difference=1.0)


@pytest.mark.skipif(is_installed(), reason="the package is installed")
def test_without_the_package_it_is_said_what_to_install() -> None:
    (one, _) = both("q", WRONG, RIGHT)
    with pytest.raises(SettingsError, match=r"isn't installed .* infra/constraints/azure-evaluation\.txt"):
        list(rate_answers([judged(one, "fluency", 4)], [one], base_url="http://127.0.0.1:9/v1", model="m"))


@pytest.mark.skipif(not is_installed() and not BESIDE.exists(), reason="the extra raft-assets[azure-evaluation]")
def test_the_packages_evaluators_rate_the_same_rows(service: Service, tmp_path: Path) -> None:
    def answer(seen: Seen) -> Reply:
        return chat("nothing" if "**Fluency**" in str(seen.body) else '{"reason": "theirs", "score": 2}')

    service.rule = answer
    answers = both("q", WRONG, RIGHT)
    ours = [judged(one, metric, 4) for one in answers for metric in EVALUATORS]
    given = ([*ours, judged(answers[0], "fluency", 4, sample=1)], answers, service.url)
    (tmp_path / "given").write_bytes(pickle.dumps(given))
    python_path = os.pathsep.join([str(BESIDE), os.environ.get("PYTHONPATH", "")])
    environment = os.environ | {"PYTHONPATH": python_path}
    subprocess.run([sys.executable, "-c", RATING, str(tmp_path)], env=environment, check=True)
    found: list[JudgedAnswer] = pickle.loads((tmp_path / "rated").read_bytes())
    assert [(row.metric, row.evaluated) for row in found] == [(row.metric, row.evaluated) for row in ours]
    assert {(row.score, row.reason) for row in found if row.metric != "fluency"} == {(2, "theirs")}
    assert {row.score for row in found if row.metric == "fluency"} == {None}
    assert {row.status for row in found if row.metric == "fluency"} <= {"failed", "unreadable"}
