"""Rows that a service refuses, all the way: they are lost with the service's words, and the assets are made."""

import contextlib
from collections.abc import Iterator
from pathlib import Path

from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from raft_assets.core.tables import BaselineAnswer, QAPair
from raft_assets.embedded.app import create_app
from raft_assets.llm.serve_app import serve_in_background
from raft_assets_tests.embedded.provider import settings_of
from raft_assets_tests.harness import ProjectHarness

DOMAIN = "harbor"
REFUSED = "Gull Point"
TEXTS = {
    "harbour": "The harbour of Marrow Bay was dredged in 1931. The dredger was called Constance. Its captain was "
    "Edith Farrow, who had learned her trade in Leith. The work took eleven months, and it cost forty thousand pounds.",
    "lighthouse": "The lighthouse on Gull Point was built in 1871. Its lamp is lit by the keeper at dusk, because "
    "ships pass Gull Point by night. In 1902 the tower of Gull Point was painted red.",
    "mill": "The mill at Alba was built by Ann Bell in 1893. It ground barley for the villages of the valley. Its "
    "wheel was made of oak from the forest of Tarn, and it broke in the flood of 1921.",
}


class Refusing:
    """The embedded provider behind a gateway that refuses a word, in words that nobody knows."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self.refused = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        messages: list[Message] = []
        body, more = b"", scope["type"] == "http"
        while more:
            messages.append(await receive())
            body += messages[-1].get("body", b"")
            more = messages[-1].get("more_body", False)
        if REFUSED.encode() in body:
            self.refused += 1
            await JSONResponse({"detail": [{"loc": ["body", "messages"], "msg": "Zounds"}]}, 403)(scope, receive, send)
            return

        async def again() -> Message:
            return messages.pop(0) if messages else await receive()

        await self._app(scope, again, send)


@contextlib.contextmanager
def refusing_service(folder: Path) -> Iterator[tuple[str, Refusing]]:
    app = Refusing(create_app(settings_of(folder)))
    with serve_in_background(app) as address:
        yield f"{address}/v1", app


def test_questions_answers_and_evaluation_go_on_without_the_rows_that_a_service_refuses(tmp_path: Path) -> None:
    project = ProjectHarness(tmp_path / "project")
    for name, text in TEXTS.items():
        project.write(f"data/{DOMAIN}/{name}.md", f"# About the {name}\n\n{text}\n")
    with refusing_service(tmp_path / "provider") as (url, service):
        project.own_variables = {
            **{f"{role}_OPENAI_BASE_URL": url for role in ("TEACHER", "BASELINE")},
            **{f"{role}_OPENAI_API_KEY": "x" for role in ("TEACHER", "BASELINE")},
            "TEACHER_OPENAI_DEPLOYMENT": "embedded-teacher",
            "BASELINE_OPENAI_DEPLOYMENT": "embedded-reader",
        }
        assert project.materialize(DOMAIN, "baseline_answers"), project.last_failure()
        assert service.refused
    pairs = list(project.lake.rows(QAPair, DOMAIN))
    lost = [pair for pair in pairs if pair.reason == "call_failed"]
    assert lost
    assert all("it refuses this request (403: messages: Zounds)" in pair.call_detail for pair in lost)
    assert any(pair.accepted for pair in pairs)
    answers = list(project.lake.rows(BaselineAnswer, DOMAIN))
    assert "ok" in {answer.status for answer in answers}
    assert all("messages: Zounds" in answer.detail for answer in answers if answer.status == "failed")
