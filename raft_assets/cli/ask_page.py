"""The page of `raft ask --serve`: a question, the answers of the models side by side, and the passages beside them.

It is for people who don't use a shell, on this machine alone. Requests that don't name this machine are rejected (a web
page that resolves its own name to it), and so are questions that another page sends: each may cost money. The page has
no script and loads nothing; every text of documents and models is escaped.
"""

import base64
import hashlib
import logging
from collections.abc import Callable, Sequence
from functools import partial
from urllib.parse import parse_qs, urlsplit

import jinja2
import uvicorn
from markupsafe import Markup
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import Request
from starlette.responses import HTMLResponse, PlainTextResponse, Response
from starlette.routing import Route

from raft_assets.core.addresses import LOCAL_NAMES, listen
from raft_assets.core.bidi import close_direction, close_directions
from raft_assets.core.errors import RaftError, describe_error
from raft_assets.core.tables import EvaluatedModel
from raft_assets.evaluation.examples import Excerpt, make_excerpt, mark_spans, split_answer
from raft_assets.operations.asking import MAX_QUESTION_CHARACTERS, AskedQuestion, DomainAsker, Passage, Reply
from raft_assets.settings.endpoints import EMBEDDED_LABEL

MAX_BODY_BYTES = 12 * MAX_QUESTION_CHARACTERS + 1024  # a character of a form is up to 12 bytes: %F0%9F%A6%87
MAX_PASSAGE_CHARACTERS = 4000
HOST = "127.0.0.1"

log = logging.getLogger(__name__)


def serve(asker: DomainAsker, asked: Sequence[EvaluatedModel], *, port: int, on_ready: Callable[[str], None]) -> None:
    """Serve the page until the process is interrupted. Raises SettingsError for a port that is taken."""
    with listen(HOST, port, who="The page") as listener:
        on_ready(f"http://{HOST}:{listener.getsockname()[1]}/")
        config = uvicorn.Config(create_page(asker, asked), log_level="warning", access_log=False, lifespan="off")
        uvicorn.Server(config).run(sockets=[listener])


def create_page(asker: DomainAsker, asked: Sequence[EvaluatedModel]) -> Starlette:
    """Return the application with its one page, which asks these models."""
    return Starlette(
        routes=[
            Route("/", partial(_show, asker, asked)),
            Route("/", partial(_answer, asker, asked), methods=["POST"]),
        ],
        middleware=[Middleware(TrustedHostMiddleware, allowed_hosts=LOCAL_NAMES, www_redirect=False)],
    )


async def _show(asker: DomainAsker, asked: Sequence[EvaluatedModel], _: Request) -> Response:
    return _render(asker, asked)


async def _answer(asker: DomainAsker, asked: Sequence[EvaluatedModel], request: Request) -> Response:
    if not _is_own(request):
        return PlainTextResponse("Questions are taken from this page alone: open it and ask there.", 403)
    question = await _read_question(request)
    if question is None:
        return PlainTextResponse("That is no question of this page: open it and ask there.", 400)
    try:
        told = await run_in_threadpool(asker.ask, question, asked)
    except (RaftError, OSError) as error:
        log.warning("a question was not answered: %s", describe_error(error))
        return _render(asker, asked, question=question, error=describe_error(error), status=422)
    return _render(asker, asked, question=told.question, told=told)


def _is_own(request: Request) -> bool:
    """Return whether a form of this very page sent the request: browsers say where a POST comes from."""
    origin = urlsplit(request.headers.get("origin", ""))
    site = request.headers.get("sec-fetch-site", "same-origin")
    return origin.scheme == "http" and origin.netloc == request.headers.get("host") and site == "same-origin"


async def _read_question(request: Request) -> str | None:
    """Return the question of the form; None where the body is another or too long."""
    body = b""
    async for part in request.stream():
        body += part
        if len(body) > MAX_BODY_BYTES:
            return None
    try:
        return parse_qs(body.decode("ascii"), keep_blank_values=True, max_num_fields=2)["question"][0]
    except (ValueError, KeyError):
        return None


def _render(
    asker: DomainAsker,
    asked: Sequence[EvaluatedModel],
    *,
    question: str = "",
    told: AskedQuestion | None = None,
    error: str = "",
    status: int = 200,
) -> Response:
    template, style, style_hash = _template()
    page = template.render(
        style=style,
        domain=asker.domain,
        models=[(evaluated, asker.name_of(evaluated)) for evaluated in asked],
        label=EMBEDDED_LABEL if asker.asks_embedded(asked) else "",
        paid=asker.describe_paid_calls(asked),
        longest=MAX_QUESTION_CHARACTERS,
        question=question,
        told=told,
        error=error,
    )
    policy = ("default-src 'none'", f"style-src 'sha256-{style_hash}'", "form-action 'self'", "base-uri 'none'")
    headers = {
        "Content-Security-Policy": "; ".join((*policy, "frame-ancestors 'none'")),
        "Cache-Control": "no-store",
        "Referrer-Policy": "same-origin",  # with none at all, browsers hide where a question comes from
        "X-Content-Type-Options": "nosniff",
        "Cross-Origin-Resource-Policy": "same-origin",
        "Cross-Origin-Opener-Policy": "same-origin",
    }
    return HTMLResponse(page, status, headers)


def _template() -> tuple[jinja2.Template, Markup, str]:
    """Return the template, the reports' style sheet with its own, and their hash for the content security policy."""
    loader, of_reports = jinja2.PackageLoader("raft_assets.cli"), jinja2.PackageLoader("raft_assets.evaluation")
    environment = jinja2.Environment(
        loader=loader, autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters |= {"closed": close_direction, "parts": _parts}
    environment.globals |= {"reasoning": _reasoning, "marked": _marked}
    text = of_reports.get_source(environment, "style.css")[0] + loader.get_source(environment, "ask.css")[0]
    style = Markup(text)  # noqa: S704 - a file of the package
    return (
        environment.get_template("ask.html"),
        style,
        base64.b64encode(hashlib.sha256(text.encode()).digest()).decode(),
    )


def _reasoning(reply: Reply) -> Excerpt:
    return split_answer(reply.answer.answer).reasoning


def _marked(passage: Passage, told: AskedQuestion) -> Excerpt:
    finals = [reply.answer.final_answer for reply in told.replies if not reply.answer.abstained]
    return make_excerpt(mark_spans(passage.text, quotes=told.quotes, answers=finals), MAX_PASSAGE_CHARACTERS)


def _parts(excerpt: Excerpt) -> list[tuple[str, str]]:
    """Return the texts of an excerpt with their marks; together they turn no direction beyond their end."""
    texts = close_directions(segment.text for segment in excerpt.segments)
    return [(text, segment.mark) for text, segment in zip(texts, excerpt.segments, strict=True)]
