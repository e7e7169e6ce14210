"""Streams of calls against a service on a real socket, through the real client."""

import asyncio
import contextlib
import ipaddress
import itertools
import json
import signal
import socket
import ssl
import subprocess
import sys
import threading
import time
import traceback
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from pydantic import SecretStr
from starlette.applications import Starlette
from starlette.requests import Request as HttpRequest
from starlette.responses import JSONResponse
from starlette.routing import Route

from raft_assets.core.error_codes import PAUSED_FOR_JOB
from raft_assets.core.errors import EndpointError, RaftError
from raft_assets.llm.background import background_loop, run_coroutine
from raft_assets.llm.caller import (
    MAX_CHARACTERS_PER_CALL,
    MAX_CONSECUTIVE_FAILURES,
    MAX_TEXTS_PER_CALL,
    Caller,
    group_texts,
)
from raft_assets.llm.clients import open_client
from raft_assets.llm.evidence import MAX_REFUSED_AT_FIRST, MAX_REFUSED_IN_A_ROW
from raft_assets.llm.requests import Answer, Progress, Request, Usage, UsageStats
from raft_assets.llm.store import CallStore
from raft_assets.settings.endpoints import Endpoint, Limits, Role
from raft_assets.storage.call_store import SqliteCallStore
from raft_assets_tests.llm.asking import CEILING
from raft_assets_tests.llm.conftest import CANARY, Clock, MakeCaller, ask_about, shared_in
from raft_assets_tests.llm.service import Reply, Seen, Service, chat, completion, error, vector

USAGE = Usage(input_tokens=10, cached_tokens=4, output_tokens=3)


@contextlib.contextmanager
def process_that_asks(
    service: Service, store: Path, *, first: int = 0, count: int, leave: bool = False
) -> Iterator[subprocess.Popen[str]]:
    arguments = [service.url, str(store), str(first), str(count)] + ["leave"] * leave
    command = [sys.executable, "-m", "raft_assets_tests.llm.asking", *arguments]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.kill()  # where a test fails, it must not wait for the process


def answered_keys(process: subprocess.Popen[str], count: int) -> list[str]:
    assert process.stdout
    return [line.strip() for line in itertools.islice(process.stdout, count)]


# ---------------------------------------------------------------- order, window, once


def test_answers_come_in_the_order_of_the_requests(service: Service, caller: MakeCaller) -> None:
    answers = list(caller().ask(ask_about(number) for number in range(100)))
    assert [answer.text for answer in answers] == [f"answer to question {number}" for number in range(100)]
    assert {answer.status for answer in answers} == {"ok"}
    assert answers[0].usage == USAGE
    assert len(service.seen) == 100


def test_a_slow_first_answer_does_not_change_the_order(service: Service, caller: MakeCaller) -> None:
    service.hold_from(0)
    answers = caller(ceiling=4).ask(ask_about(number) for number in range(4))
    service.rule = lambda _: service.release() if len(service.seen) == 4 else None
    assert [answer.text for answer in answers] == [f"answer to question {number}" for number in range(4)]


def test_at_most_ceiling_calls_are_in_flight_and_all_of_them_are_used(store: CallStore, tmp_path: Path) -> None:
    at_once = most_at_once = 0

    async def answer(_: HttpRequest) -> JSONResponse:
        nonlocal at_once, most_at_once
        at_once += 1
        most_at_once = max(most_at_once, at_once)
        for _turn in range(50):  # of the loop, in which whatever may start does
            await asyncio.sleep(0)
        at_once -= 1
        return JSONResponse(chat("fine").body)

    app = Starlette(routes=[Route("/v1/chat/completions", answer, methods=["POST"])])
    endpoint = Endpoint(Role.TEACHER, "embedded", "embedded-teacher", limits=Limits(max_concurrency=5))
    client = open_client(endpoint, lambda: app)
    asking = Caller(endpoint, model_version="1", client=client, store=store, **shared_in(tmp_path, endpoint))
    assert (
        len(list(zip(asking.ask(map(ask_about, range(40))), asking.ask(map(ask_about, range(40, 80))), strict=True)))
        == 40
    )
    assert most_at_once == 5
    run_coroutine(client.close())


def test_requests_are_not_taken_far_ahead_of_the_consumer(caller: MakeCaller) -> None:
    taken = itertools.count()
    answers = caller(ceiling=4).ask(ask_about(next(taken)) for _ in range(10_000))
    for _ in range(3):
        next(answers)
    assert next(taken) <= 3 + 4 * 4
    answers.close()


def test_equal_requests_of_a_stream_are_asked_once(service: Service, caller: MakeCaller) -> None:
    asking = caller()
    answers = list(asking.ask(ask_about(number) for number in [1, 1, 2, 1, *range(50), 1]))
    assert Counter(service.questions) == {f"question {number}": 1 for number in range(50)}
    assert len({answer.key for answer in answers if answer.text == "answer to question 1"}) == 1
    assert asking.usage_stats == UsageStats(calls=50, from_store=5, usage=Usage(500, 200, 150))


def test_a_second_run_costs_nothing(service: Service, caller: MakeCaller) -> None:
    first = list(caller().ask(map(ask_about, range(20))))
    again = caller()
    second = list(again.ask(map(ask_about, range(20))))
    assert len(service.seen) == 20
    assert [answer.text for answer in second] == [answer.text for answer in first]
    assert all(answer.from_store for answer in second)
    assert not any(answer.from_store for answer in first)
    assert again.usage_stats == UsageStats(from_store=20)


def test_samples_of_one_body_are_different_calls(service: Service, caller: MakeCaller) -> None:
    body = ask_about(1).body
    list(caller().ask(Request("chat", body, sample=sample) for sample in (0, 1, 2, 1)))
    assert len(service.seen) == 3


def test_one_stream_may_feed_another(service: Service, caller: MakeCaller) -> None:
    asking = caller(ceiling=3)

    def follow_ups() -> Iterator[Request]:
        for answer in asking.ask(map(ask_about, range(20))):
            yield Request("completion", {"prompt": answer.text, "max_tokens": 9})

    texts = [answer.text for answer in asking.ask(follow_ups())]
    assert texts == [f"answer to answer to question {number}" for number in range(20)]
    assert service.most_at_once <= 3


def test_progress_tells_what_was_done_and_what_waits(caller: MakeCaller) -> None:
    told: list[Progress] = []
    list(caller(on_progress=told.append).ask(map(ask_about, range(10))))
    assert [progress.answered for progress in told] == list(range(1, 11))
    assert told[-1] == Progress(answered=10, waiting=0, usage_stats=UsageStats(calls=10, usage=Usage(100, 40, 30)))


# ---------------------------------------------------------------- what is an answer


@pytest.mark.parametrize(
    ("reply", "status", "text"),
    [
        (chat("fine"), "ok", "fine"),
        (chat("cut o", finish="length"), "truncated", "cut o"),
        (chat("", finish="length"), "truncated", ""),  # a reasoning model that thought too long
        (chat("cut \ud83d", finish="length"), "truncated", "cut \ufffd"),  # inside a character
        (chat(None), "empty", ""),
        (chat(" \n"), "empty", " \n"),
        (chat("so f", finish="content_filter"), "filtered", "so f"),
        (chat(None, refusal="I'd rather not"), "filtered", ""),
        (Reply(body={"choices": []}), "empty", ""),
        (error(400, code="content_filter", message="The prompt was filtered"), "filtered", ""),
        (completion("fine"), "ok", "fine"),
        (completion("cut o", finish="length"), "truncated", "cut o"),
    ],
)
def test_what_the_service_answered_has_a_status_and_is_stored(
    service: Service, caller: MakeCaller, reply: Reply, status: str, text: str
) -> None:
    service.rule = lambda _: reply
    (first,) = caller().ask([ask_about(1)])
    (second,) = caller().ask([ask_about(1)])
    assert (first.status, first.text) == (second.status, second.text) == (status, text)
    assert bool(first.detail) == (status != "ok")
    assert len(service.seen) == (2 if status == "truncated" else 1)


def test_an_answer_that_was_cut_off_is_asked_for_once_more_with_room(service: Service, caller: MakeCaller) -> None:
    service.replies = [chat("cut o", finish="length"), chat("whole")]
    (answer,) = caller().ask([ask_about(1)])
    assert (answer.status, answer.text) == ("ok", "whole")
    assert [seen.body["max_completion_tokens"] for seen in service.seen] == [50, 200]
    assert answer.usage == USAGE + USAGE  # both were paid


def test_where_more_room_is_refused_the_answer_that_was_cut_off_is_kept(service: Service, caller: MakeCaller) -> None:
    service.replies = [chat("cut o", finish="length"), error(400, message="max_tokens is too large")]
    (answer,) = caller().ask([ask_about(1)])
    assert (answer.status, answer.text) == ("truncated", "cut o")


# ---------------------------------------------------------------- tries

RETRIED = [
    (error(408), 0.5),
    (error(409), 0.5),
    (error(429), 0.5),
    (error(500), 0.5),
    (error(503), 0.5),
    (error(429, retry_after="7"), 7.0),
    (error(429, retry_after="0"), 0.0),  # now, and not after the usual pause
    (error(429, retry_after_ms="250", retry_after="7"), 0.25),
    (error(503, retry_after="Wed, 21 Oct 2015 07:28:00 GMT"), 0.0),
    (error(429, retry_after="soon"), 0.5),
    (Reply(200, b"<html>a proxy's page</html>"), 0.5),
    (Reply(200, {"error": {"message": "overloaded"}}), 0.5),
    (
        Reply(200, {"choices": [{"message": {"content": "never seen"}}]}, cut=True),
        0.5,
    ),  # the connection breaks in the middle
]


@pytest.mark.parametrize(("reply", "pause"), RETRIED)
def test_what_may_pass_is_tried_again(
    service: Service, caller: MakeCaller, clock: Clock, reply: Reply, pause: float
) -> None:
    service.replies = [reply]
    asking = caller()
    (answer,) = asking.ask([ask_about(1)])
    assert (answer.status, answer.text) == ("ok", "answer to question 1")
    assert clock.slept == [pause]
    assert asking.usage_stats == UsageStats(calls=1, retries=1, usage=USAGE)


def test_pauses_double_and_a_call_is_given_up_after_six_tries(
    service: Service, caller: MakeCaller, clock: Clock
) -> None:
    service.rule = lambda _: error(500, message="boom")
    asking = caller()
    (answer,) = asking.ask([ask_about(1)])
    assert clock.slept == [0.5, 1.0, 2.0, 4.0, 8.0]
    assert (answer.status, answer.from_store) == ("failed", False)
    assert answer.detail == "TEACHER gave no answer: it answered 500 (boom), after 6 tries."
    assert asking.usage_stats == UsageStats(retries=5, failures=1)


def test_a_call_is_given_up_rather_than_wait_longer_than_two_minutes(
    service: Service, caller: MakeCaller, clock: Clock
) -> None:
    service.rule = lambda _: error(503, retry_after="50")
    (answer,) = caller().ask([ask_about(1)])
    assert answer.status == "failed"
    assert clock.slept == [50.0, 50.0]


def test_a_service_without_room_is_waited_for_by_the_half_hour(
    service: Service, caller: MakeCaller, clock: Clock
) -> None:
    service.replies = [error(429, retry_after="50")] * 30
    (answer,) = caller().ask([ask_about(1)])
    assert answer.status == "ok"
    assert clock.slept == [50.0] * 30
    service.rule = lambda _: error(429, retry_after="500")
    (answer,) = caller().ask([ask_about(2)])
    assert answer.status == "failed"
    assert clock.slept[30:] == [500.0] * 3


def test_a_model_that_is_still_being_loaded_is_waited_for_by_the_half_hour(
    service: Service, caller: MakeCaller, clock: Clock
) -> None:
    service.replies = [error(500, message="Failed to load LoRA adapter")] * 20  # more than a broken service is given
    (answer,) = caller().ask([ask_about(1)])
    assert answer.status == "ok"
    assert sum(clock.slept) > 5 * 60
    service.rule = lambda _: error(500, message="Failed to load LoRA adapter")
    (answer,) = caller().ask([ask_about(2)])
    assert (answer.status, "still loading the model" in answer.detail) == ("failed", True)


def test_a_service_whose_machine_has_a_job_to_do_is_waited_for_as_long_as_the_job_lives(
    service: Service, caller: MakeCaller, clock: Clock, endpoint: Endpoint, tmp_path: Path
) -> None:
    limiter = shared_in(tmp_path, endpoint, clock=clock.patience().clock)["limiter"]
    asking = caller(limiter=limiter)
    (_,) = asking.ask([ask_about(0)])
    window = limiter.window
    training = error(503, code=PAUSED_FOR_JOB, message="ftjob-1 trains on this machine", retry_after="60")
    service.replies = [*[training] * 300, error(500), training, error(500)]  # five hours, and failures in between
    (answer,) = asking.ask([ask_about(1)])
    assert (answer.status, answer.text) == ("ok", "answer to question 1")
    assert sum(clock.slept) >= 301 * 60
    assert asking.usage_stats.retries == 2  # the failures: a pause is no try
    assert limiter.window >= window


def test_a_failed_call_is_not_stored_and_others_go_on(service: Service, caller: MakeCaller) -> None:
    service.rule = lambda seen: error(500) if "question 3" in str(seen.body) else None
    statuses = [answer.status for answer in caller().ask(map(ask_about, range(8)))]
    assert statuses == ["ok"] * 3 + ["failed"] + ["ok"] * 4
    service.rule = lambda _: None
    assert [answer.from_store for answer in caller().ask(map(ask_about, range(8)))] == [True] * 3 + [False] + [True] * 4


def test_a_service_that_does_not_answer_in_time_is_left_alone_before_it_is_tried_again(
    service: Service, caller: MakeCaller, clock: Clock
) -> None:
    service.hold_from(0)
    (answer,) = caller(timeout_s=0.2).ask([ask_about(1)])
    assert answer.detail == "TEACHER gave no answer: it did not answer in time, after 3 tries."
    assert clock.slept == [10.0, 20.0]  # it may still work on what was given up


def test_a_service_that_answers_none_of_many_calls_in_time_is_said_not_to_respond(
    service: Service, caller: MakeCaller
) -> None:
    service.hold_from(0)
    with pytest.raises(EndpointError, match=r"does not respond: \d+ calls in a row were not answered in time"):
        list(caller(timeout_s=0.2).ask(map(ask_about, range(100))))
    assert len(service.seen) < 30


def test_a_call_that_is_never_answered_in_time_is_one_lost_row(service: Service, caller: MakeCaller) -> None:
    service.holds = lambda seen: seen.question == "question 3"
    statuses = [answer.status for answer in caller(timeout_s=1.0, ceiling=2).ask(map(ask_about, range(40)))]
    assert statuses == ["ok"] * 3 + ["failed"] + ["ok"] * 36


def test_a_row_that_is_too_long_is_lost_without_another_try(service: Service, caller: MakeCaller) -> None:
    service.replies = [error(400, code="context_length_exceeded", message="8192 tokens at most")]
    answers = list(caller(ceiling=1).ask(map(ask_about, range(2))))
    assert [answer.status for answer in answers] == ["failed", "ok"]
    assert "too long" in answers[0].detail
    assert len(service.seen) == 2


def test_a_text_that_cannot_be_sent_is_a_failed_row(caller: MakeCaller) -> None:
    broken = Request("completion", {"prompt": "half a \ud83d character"})
    assert [answer.status for answer in caller().ask([broken, ask_about(1)])] == ["failed", "ok"]


def test_a_service_that_is_down_stops_the_stream_instead_of_losing_every_row(
    service: Service, caller: MakeCaller
) -> None:
    service.rule = lambda _: error(503, message="down")
    with pytest.raises(
        EndpointError, match=r"TEACHER .model model-1 at http.* does not respond: 16 calls in a row were given up"
    ):
        list(caller().ask(map(ask_about, range(10_000))))
    assert len(service.seen) < (MAX_CONSECUTIVE_FAILURES + 8) * 6


@contextlib.contextmanager
def caller_of(address: str, store: CallStore, clock: Clock, folder: Path, key: str | None = CANARY) -> Iterator[Caller]:
    """A Caller of a service at an address."""
    endpoint = Endpoint(Role.JUDGE, "openai", "m", address, SecretStr(key) if key else None)
    client = open_client(endpoint, lambda: pytest.fail("not embedded"))
    shared = shared_in(folder, endpoint, clock=clock.patience().clock)
    yield Caller(endpoint, model_version="", client=client, store=store, patience=clock.patience(), **shared)
    run_coroutine(client.close())


@pytest.mark.parametrize("key", [CANARY, None])
@pytest.mark.parametrize("calls", [1, 5])
def test_a_service_that_is_not_there_is_one_sentence(
    store: CallStore, clock: Clock, tmp_path: Path, calls: int, key: str | None
) -> None:
    with socket.socket() as bound:  # nobody listens there, and nobody else can
        bound.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{bound.getsockname()[1]}/v1"
        with caller_of(address, store, clock, tmp_path, key) as asking, pytest.raises(EndpointError) as stopped:
            list(asking.ask(map(ask_about, range(calls))))
    assert str(stopped.value) == (
        f"JUDGE (model m at {address}) does not respond: the connection failed, after 6 tries. Check that the service "
        "is up and run again; received answers are kept."
    )


def test_answers_of_before_do_not_hide_that_a_service_is_gone(store: CallStore, clock: Clock, tmp_path: Path) -> None:
    service = Service()
    with caller_of(service.url, store, clock, tmp_path) as asking:
        assert [answer.status for answer in asking.ask(map(ask_about, range(3)))] == ["ok"] * 3
        service.stop()
        answers = asking.ask(map(ask_about, range(5)))
        assert [next(answers).status for _ in range(5)] == ["ok"] * 3 + ["failed"] * 2
        with pytest.raises(EndpointError, match="does not respond: the connection failed"):
            next(answers)
        assert [answer.from_store for answer in asking.ask(map(ask_about, range(3)))] == [True] * 3


# ---------------------------------------------------------------- one refused row is one lost row

ROWS = 40
REFUSALS_OF_ONE_PROMPT = [
    (error(400, code="invalid_prompt", message="Your prompt was flagged."), "filtered", "Your prompt was flagged."),
    (Reply(403, {"error": {"message": "Your input was flagged for violence"}}), "filtered", "flagged for violence"),
    (Reply(400, {"detail": "Content Exists Risk"}), "filtered", "Content Exists Risk"),
    (
        Reply(400, {"error": "prompt too long: 9 tokens"}),
        "failed",
        "too long for the model (prompt too long: 9 tokens)",
    ),
    (Reply(500, {"error": "the request exceeds the available context size"}), "failed", "the available context size"),
    (Reply(413, b"<h1>413 Request Entity Too Large</h1>"), "failed", "413 Request Entity Too Large"),
    # in words that nobody knows, one passed row shows that the endpoint is not at fault
    (Reply(400, {"detail": "Zounds"}), "failed", "it refuses this request (400: Zounds)"),
    (Reply(403, b"<h1>Forbidden</h1>"), "failed", "it refuses this request (403: Forbidden)"),
    (Reply(422, {"detail": [{"loc": ["body", "messages"], "msg": "Bad"}]}), "failed", "(422: messages: Bad)"),
]


@pytest.mark.parametrize(("reply", "status", "says"), REFUSALS_OF_ONE_PROMPT)
def test_a_refusal_that_concerns_one_prompt_loses_its_row_in_the_services_words(
    service: Service, caller: MakeCaller, reply: Reply, status: str, says: str
) -> None:
    service.rule = lambda seen: reply if seen.question == "question 0" else None
    first, *others = caller().ask(map(ask_about, range(ROWS)))
    assert (first.status, first.text) == (status, "")
    assert says in first.detail
    assert [answer.status for answer in others] == ["ok"] * (ROWS - 1)
    assert len(service.seen) == ROWS


def test_refusals_that_come_before_every_answer_are_no_verdict_on_the_endpoint(
    service: Service, caller: MakeCaller
) -> None:
    """A filter answers at once, a model after seconds: of 64 calls at once the first 32 outcomes are refusals."""
    service.holds = lambda seen: int(seen.question.split()[-1]) % 2 == 1
    service.rule = lambda seen: None if service.holds(seen) else Reply(400, {"detail": "Zounds"})
    answers = caller(ceiling=64).ask(map(ask_about, range(64)))
    first = next(answers)
    service.wait_until(lambda service: service.held == 32)
    service.holds = lambda _: False
    service.rule = lambda seen: None if int(seen.question.split()[-1]) % 2 == 1 else Reply(400, {"detail": "Zounds"})
    service.release()
    assert [answer.status for answer in (first, *answers)] == ["failed", "ok"] * 32


def test_a_long_document_that_is_refused_in_known_words_costs_its_rows_only(
    service: Service, caller: MakeCaller
) -> None:
    service.rule = lambda seen: error(400, message="input too long") if 3 <= number_of(seen) < 100 else None
    statuses = [answer.status for answer in caller().ask(map(ask_about, range(120)))]
    assert statuses == ["ok"] * 3 + ["failed"] * 97 + ["ok"] * 20


def test_a_streak_of_refusals_in_unknown_words_stops_although_rows_passed(service: Service, caller: MakeCaller) -> None:
    service.rule = lambda seen: Reply(403, {"error": "Forbidden"}) if number_of(seen) >= 20 else None
    with pytest.raises(EndpointError, match=r"forbidden for this key or from this network \(403: Forbidden\)"):
        list(caller().ask(map(ask_about, range(1000))))
    assert len(service.seen) < 20 + MAX_REFUSED_IN_A_ROW + 2 * 8


def test_an_endpoint_that_takes_nothing_is_told_of_in_the_services_words(service: Service, caller: MakeCaller) -> None:
    service.rule = lambda _: Reply(422, {"detail": "Zounds"})
    with pytest.raises(
        EndpointError, match=r"refuses the request \(422: Zounds\): set a model that takes it in TEACHER"
    ):
        list(caller().ask(map(ask_about, range(1000))))
    assert len(service.seen) < MAX_REFUSED_IN_A_ROW + 2 * 8


def test_where_no_row_of_a_few_passed_the_endpoint_is_told_of_at_the_end(service: Service, caller: MakeCaller) -> None:
    service.rule = lambda _: Reply(400, {"detail": "Zounds"})
    answers = caller().ask(map(ask_about, range(3)))
    assert [next(answers).status for _ in range(3)] == ["failed"] * 3
    with pytest.raises(EndpointError, match="refuses the request"):
        next(answers)


def test_rows_of_an_earlier_run_show_that_the_endpoint_is_not_at_fault(service: Service, caller: MakeCaller) -> None:
    service.rule = lambda seen: Reply(400, {"detail": "Zounds"}) if number_of(seen) == 4 else None
    list(caller().ask(map(ask_about, range(5))))
    assert [answer.status for answer in caller().ask(map(ask_about, range(5)))] == ["ok"] * 4 + ["failed"]
    assert len(service.seen) == 6  # the refused row only


def test_a_model_that_no_prompt_fits_into_stops_and_says_what_to_lower(service: Service, caller: MakeCaller) -> None:
    service.rule = lambda _: error(400, code="context_length_exceeded", message="512 tokens at most")
    with pytest.raises(
        EndpointError, match=r"takes none of the requests: .*512 tokens at most.*lower chunks.chunk_size"
    ):
        list(caller().ask(map(ask_about, range(1000))))
    assert len(service.seen) < MAX_REFUSED_AT_FIRST + 2 * 8


@pytest.mark.parametrize("key", ["x", "none", "ollama"])
def test_a_short_key_spoils_neither_the_words_nor_their_meaning(
    service: Service, caller: MakeCaller, endpoint: Endpoint, key: str
) -> None:
    words = "the request exceeds the available context size, none of ollama's"
    service.rule = lambda seen: Reply(400, {"error": words}) if number_of(seen) == 0 else None
    first, second = caller(endpoint=replace(endpoint, api_key=SecretStr(key))).ask(map(ask_about, range(2)))
    assert words in first.detail
    assert second.status == "ok"


def number_of(seen: Seen) -> int:
    return int(seen.question.split()[-1])


# ---------------------------------------------------------------- refusals that end the stream


@pytest.mark.parametrize("proxy_status", [403, 407])
def test_a_proxy_that_refuses_is_told_of_after_one_try(
    store: CallStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, proxy_status: int
) -> None:
    clock = Clock()
    with refusing_proxy(proxy_status) as (address, tries):
        monkeypatch.setenv("HTTPS_PROXY", address.replace("//", "//me:hunter2hunter2@"))
        with pytest.raises(EndpointError) as raised:
            ask_at("https://models.example/v1", store, clock, tmp_path)
    assert f"the proxy refuses to connect to models.example ({proxy_status} Not today)" in str(raised.value)
    assert "HTTPS_PROXY" in str(raised.value)
    assert "hunter2" not in "".join(traceback.format_exception(raised.value))
    assert len(tries) == 1


def test_a_certificate_that_is_not_trusted_is_told_of_after_one_try_and_ssl_cert_file_mends_it(
    store: CallStore, clock: Clock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    certificate = write_certificate(tmp_path)
    with tls_service(certificate) as address:
        with pytest.raises(EndpointError) as raised:
            ask_at(address, store, clock, tmp_path)
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
        assert ask_at(address, store, clock, tmp_path).status == "ok"
    assert f"JUDGE (model m at {address}) is not reached: its certificate is not trusted (self-signed" in str(
        raised.value
    )
    assert "set SSL_CERT_FILE" in str(raised.value)
    assert clock.slept == []


def test_a_service_without_tls_at_an_https_address_is_told_of_after_one_try(
    service: Service, store: CallStore, clock: Clock, tmp_path: Path
) -> None:
    with pytest.raises(EndpointError, match=r"does not speak TLS: set an address that begins with http:// in JUDGE"):
        ask_at(service.url.replace("http:", "https:"), store, clock, tmp_path)
    assert clock.slept == []


def ask_at(address: str, store: CallStore, clock: Clock, folder: Path) -> Answer:
    """The answer to one request at an address of its own."""
    endpoint = Endpoint(Role.JUDGE, "openai", "m", address, SecretStr(CANARY))
    client = open_client(endpoint, lambda: pytest.fail("not embedded"))
    shared = shared_in(folder, endpoint)
    asking = Caller(endpoint, model_version="", client=client, store=store, patience=clock.patience(), **shared)
    try:
        [answer] = asking.ask([ask_about(1)])
        return answer
    finally:
        run_coroutine(client.close())


class RefusingProxy(BaseHTTPRequestHandler):
    """A proxy that connects to nobody."""

    status = 403
    tries: ClassVar[list[str]] = []

    def do_CONNECT(self) -> None:
        self.tries.append(self.path)
        self.send_response(self.status, "Not today")
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Say nothing."""


class Answering(BaseHTTPRequestHandler):
    """A service that says yes."""

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["content-length"]))
        content = json.dumps(chat("yes").body).encode()
        self.send_response(200)
        self.send_header("content-length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@contextlib.contextmanager
def served(server: ThreadingHTTPServer) -> Iterator[str]:
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()


@contextlib.contextmanager
def refusing_proxy(status: int) -> Iterator[tuple[str, list[str]]]:
    handler = type("Handler", (RefusingProxy,), {"status": status, "tries": []})
    with served(ThreadingHTTPServer(("127.0.0.1", 0), handler)) as address:
        yield f"http://{address}", handler.tries


@contextlib.contextmanager
def tls_service(certificate: Path) -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Answering)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    with served(server) as address:
        yield f"https://{address}/v1"


def write_certificate(folder: Path) -> Path:
    """A self-signed certificate of this machine with its key, in one file."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "a test's own")])
    now = datetime.now(UTC)
    builder = x509.CertificateBuilder(
        name, name, key.public_key(), x509.random_serial_number(), now, now + timedelta(1)
    )
    address = x509.IPAddress(ipaddress.ip_address("127.0.0.1"))
    signed = builder.add_extension(x509.SubjectAlternativeName([address]), critical=False).sign(key, hashes.SHA256())
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    file = folder / "certificate.pem"
    file.write_bytes(private + signed.public_bytes(serialization.Encoding.PEM))
    return file


@pytest.mark.parametrize(
    ("reply", "says"),
    [
        (error(401, message=f"wrong key {CANARY}"), "does not accept the sign-in (401): set TEACHER_OPENAI_API_KEY"),
        (error(403, message="no permission"), "forbidden for this key or from this network (403: no permission)"),
        (
            error(404, code="DeploymentNotFound"),
            "does not exist there (404: no): set the model in TEACHER_OPENAI_DEPLOYMENT",
        ),
        (error(429, code="insufficient_quota"), "has no credit left (insufficient_quota)"),
        (error(400, param="top_p", message=f"top_p is odd, {CANARY}"), "refuses the request (400: top_p is odd, ***)"),
        (error(422, message="no such field"), "refuses the request (422: no such field)"),
        (error(402, message="Insufficient Balance"), "has no credit left (402: Insufficient Balance)"),
        (Reply(400, {"detail": "Model Not Exist"}), "does not exist there (400: Model Not Exist)"),
        (error(400, code="unsupported_parameter", param="logprobs"), "refuses the request (400"),
    ],
)
def test_what_asking_again_does_not_mend_is_raised_at_once(
    service: Service, caller: MakeCaller, clock: Clock, reply: Reply, says: str
) -> None:
    service.rule = lambda _: reply
    with pytest.raises(EndpointError) as raised:
        list(caller().ask(map(ask_about, range(1000))))
    assert says in str(raised.value)
    assert "TEACHER (model model-1 at http://127.0.0.1" in str(raised.value)
    assert clock.slept == []
    assert len(service.seen) <= 8


def test_a_refusal_is_raised_although_the_first_answer_is_still_out(service: Service, caller: MakeCaller) -> None:
    service.holds = lambda seen: seen.question == "question 0"
    service.rule = lambda seen: error(401) if seen.question == "question 7" else None
    with pytest.raises(EndpointError):
        list(caller().ask(map(ask_about, range(8))))


def test_answers_that_came_before_a_refusal_are_kept(service: Service, caller: MakeCaller) -> None:
    service.rule = lambda _: error(401) if len(service.seen) > 20 else None
    with pytest.raises(EndpointError):
        list(caller(ceiling=1).ask(map(ask_about, range(100))))
    service.rule = lambda _: None
    asking = caller()
    list(asking.ask(map(ask_about, range(20))))
    assert asking.usage_stats == UsageStats(from_store=20)


@pytest.mark.parametrize(
    ("refused", "reply", "sent_instead"),
    [
        (
            "max_completion_tokens",
            error(400, code="unsupported_parameter", param="max_completion_tokens"),
            "max_tokens",
        ),
        ("max_tokens", error(400, code="unsupported_parameter", param="max_tokens"), "max_completion_tokens"),
        ("temperature", error(400, code="unsupported_value", param="temperature"), None),
        ("seed", error(400, code="unsupported_parameter", param="seed"), None),
        ("response_format", error(400, code="unsupported_parameter", param="response_format"), None),
        ("reasoning_effort", error(400, message="Unrecognized request argument supplied: reasoning_effort"), None),
        (
            "max_completion_tokens",
            error(400, message="Unrecognized request argument supplied: max_completion_tokens"),
            "max_tokens",
        ),
    ],
)
def test_a_parameter_that_the_model_refuses_is_changed_once(
    service: Service, caller: MakeCaller, refused: str, reply: Reply, sent_instead: str | None
) -> None:
    service.rule = lambda seen: reply if refused in seen.body else None
    body = {"messages": [{"role": "user", "content": "hello"}], refused: 7}
    asking = caller(ceiling=4)
    answers = list(asking.ask(Request("chat", body, sample=sample) for sample in range(40)))
    assert {answer.status for answer in answers} == {"ok"}
    assert sum(refused in seen.body for seen in service.seen) <= 4
    assert service.seen[-1].body == {"model": "model-1", "messages": body["messages"]} | (
        {sent_instead: 7} if sent_instead else {}
    )
    before = len(service.seen)
    list(caller().ask([Request("chat", body, sample=99)]))  # as a later process does
    assert len(service.seen) == before + 1


def test_a_model_that_refuses_both_names_of_a_parameter_ends_the_stream(service: Service, caller: MakeCaller) -> None:
    service.rule = lambda seen: error(
        400, code="unsupported_parameter", param=next(n for n in seen.body if n.startswith("max"))
    )
    with pytest.raises(EndpointError, match="refuses the request"):
        list(caller().ask([ask_about(1)]))
    assert len(service.seen) == 2


def test_errors_of_later_calls_are_told_as_those_of_the_first(service: Service, caller: MakeCaller) -> None:
    asking = caller()
    list(asking.ask([ask_about(0)]))
    service.replies = [error(429, retry_after="3"), Reply(cut=True), error(503), chat("at last")]
    (answer,) = asking.ask([ask_about(1)])
    assert (answer.text, asking.usage_stats.retries) == ("at last", 3)
    service.replies = [error(400, code="context_length_exceeded", message="This is too long: 9 of 8 tokens")]
    (answer,) = asking.ask([ask_about(2)])
    assert (answer.status, "This is too long: 9 of 8 tokens" in answer.detail) == ("failed", True)
    service.replies = [error(401, message="Incorrect API key")]
    with pytest.raises(EndpointError, match="does not accept the sign-in"):
        list(asking.ask([ask_about(3)]))


# ---------------------------------------------------------------- ends before the end


def test_closing_a_stream_cancels_what_is_in_flight_and_keeps_what_came(service: Service, caller: MakeCaller) -> None:
    service.hold_from(10)
    asking = caller(ceiling=4)
    answers = asking.ask(map(ask_about, range(100)))
    for _ in range(10):
        next(answers)
    service.wait_until(lambda service: service.held == 4)
    answers.close()
    assert not asyncio.all_tasks(background_loop())
    service.wait_until(lambda service: service.hung_up == 4)
    assert len(service.seen) == 14
    service.release()
    list(asking.ask(map(ask_about, range(10))))
    assert len(service.seen) == 14


def test_a_consumer_that_fails_ends_the_stream(service: Service, caller: MakeCaller) -> None:
    service.hold_from(1)

    def consume() -> None:
        for _ in caller(ceiling=4).ask(map(ask_about, range(100))):
            service.wait_until(lambda service: service.held == 4)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        consume()
    service.wait_until(lambda service: service.hung_up == 4)


def test_a_killed_run_repeats_only_calls_in_flight(service: Service, tmp_path: Path) -> None:
    file = tmp_path / "calls.sqlite"
    service.hold_from(30)
    with process_that_asks(service, file, count=60) as process:
        handed_out = answered_keys(process, 30)
        service.wait_until(lambda service: service.held == 4)
        process.kill()
    service.release()
    with SqliteCallStore(file) as store:
        assert store.get(handed_out).keys() == set(handed_out)
    with process_that_asks(service, file, count=60) as process:
        assert len(answered_keys(process, 60)) == 60
    assert len(service.seen) == 60 + 4
    assert set(Counter(service.questions).values()) == {1, 2}


def test_an_interrupt_ends_a_run_cleanly_and_loses_no_answer(service: Service, tmp_path: Path) -> None:
    file = tmp_path / "calls.sqlite"
    service.hold_from(10)
    with process_that_asks(service, file, count=60) as process:
        answered_keys(process, 10)
        service.wait_until(lambda service: service.held == 4)
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=60)
    assert "KeyboardInterrupt" in errors
    assert "was never" not in errors  # awaited, retrieved
    service.wait_until(lambda service: service.hung_up == 4)
    with SqliteCallStore(file) as store:
        assert store.stats().calls == 10


def test_a_process_that_leaves_a_stream_open_ends_all_the_same(service: Service, tmp_path: Path) -> None:
    service.hold_from(1)
    with process_that_asks(service, tmp_path / "calls.sqlite", count=20, leave=True) as process:
        _, errors = process.communicate(timeout=60)
    assert (process.returncode, errors) == (0, "")


def test_two_processes_share_a_store(service: Service, tmp_path: Path) -> None:
    file = tmp_path / "calls.sqlite"
    with (
        process_that_asks(service, file, count=60) as one,
        process_that_asks(service, file, first=40, count=60) as other,
    ):
        keys = {*answered_keys(one, 60), *answered_keys(other, 60)}
        assert (one.wait(60), other.wait(60)) == (0, 0)
    with SqliteCallStore(file) as store:
        assert store.get(keys).keys() == keys
        assert store.stats().calls == len(keys) == 100


def test_two_processes_share_what_the_endpoint_takes_at_once(service: Service, tmp_path: Path) -> None:
    def members() -> int:
        with contextlib.suppress(ValueError):  # one of them is writing
            return sum(len(json.loads(file.read_text() or "{}").get("members", ())) for file in tmp_path.glob("*.json"))
        return 0

    service.holds = lambda _: True
    with (
        process_that_asks(service, tmp_path / "calls.sqlite", count=300) as one,
        process_that_asks(service, tmp_path / "calls.sqlite", first=1000, count=300) as other,
    ):
        service.wait_until(lambda seen: seen.held == CEILING)
        while members() < 2:
            time.sleep(0.01)
        service.release()
        answered_keys(one, 300), answered_keys(other, 300)
        assert (one.wait(60), other.wait(60)) == (0, 0)
    assert service.most_at_once == CEILING
    of_one = [int(question.split()[-1]) < 1000 for question in service.questions]
    assert 0.2 < sum(of_one[:300]) / 300 < 0.8  # neither waits for the end of the other


def test_answers_that_cannot_be_stored_end_the_stream(service: Service, caller: MakeCaller, store: CallStore) -> None:
    asking = caller()
    answers = asking.ask(map(ask_about, range(100)))
    next(answers)
    store.close()
    with pytest.raises(RaftError, match=r"The call store .*calls\.sqlite"):
        list(answers)


# ---------------------------------------------------------------- embeddings


def test_vectors_come_in_the_order_of_the_texts(service: Service, caller: MakeCaller) -> None:
    texts = [f"text {number}" for number in range(150)]
    vectors = list(caller().embed(texts))
    assert all(np.array_equal(found, vector(text)) for found, text in zip(vectors, texts, strict=True))
    assert {found.dtype for found in vectors} == {np.dtype("float32")}
    assert len(service.seen) == 3


def test_a_text_is_embedded_once_whatever_batch_it_is_in(service: Service, caller: MakeCaller) -> None:
    list(caller().embed(["a", "b", "a", "c"]))
    asking = caller()
    assert np.array_equal(list(asking.embed(["x", "c", "b"]))[1], vector("c"))
    assert [seen.body["input"] for seen in service.seen] == [["a", "b", "c"], ["x"]]
    assert asking.usage_stats.from_store == 2


def test_the_tokens_of_a_batch_are_counted_exactly(caller: MakeCaller, store: CallStore) -> None:
    asking = caller()
    list(asking.embed(["one", "two words", "three words here"]))
    assert asking.usage_stats.usage.input_tokens == store.stats().usage.input_tokens == 6


def test_numbers_are_read_where_a_service_ignores_base64(service: Service, caller: MakeCaller) -> None:
    service.replies = [Reply(body={"data": [{"index": 0, "embedding": [0.5, -1.0]}]})]
    assert list(next(caller().embed(["a"]))) == [0.5, -1.0]


@pytest.mark.parametrize(
    "data",
    [
        [],  # a vector is missing
        [{"index": 0, "embedding": []}],
        [{"index": 0, "embedding": [float("nan")]}],
        [{"index": 1, "embedding": [1.0]}],
        [{"index": 0, "embedding": "not base64"}],
        None,
    ],
)
def test_vectors_that_cannot_be_right_are_asked_again(service: Service, caller: MakeCaller, data: object) -> None:
    service.replies = [Reply(body={"data": data})]
    assert np.array_equal(next(caller().embed(["a"])), vector("a"))
    assert len(service.seen) == 2


def test_a_batch_that_is_given_up_is_an_error(service: Service, caller: MakeCaller) -> None:
    service.rule = lambda _: error(500, message="boom")
    with pytest.raises(EndpointError, match="boom"):
        list(caller().embed(["a"]))


def test_batches_stay_below_both_limits() -> None:
    texts = ["short"] * 100 + ["x" * (MAX_CHARACTERS_PER_CALL - 10), "y" * 20, "z" * MAX_CHARACTERS_PER_CALL * 2, "w"]
    batches = list(group_texts([(str(number), text) for number, text in enumerate(texts)]))
    assert [text for batch in batches for _, text in batch] == texts
    assert all(len(batch) <= MAX_TEXTS_PER_CALL for batch in batches)
    assert all(len(batch) == 1 or sum(len(text) for _, text in batch) <= MAX_CHARACTERS_PER_CALL for batch in batches)
    assert len(batches[0]) == MAX_TEXTS_PER_CALL


# ---------------------------------------------------------------- secrets


def test_the_key_reaches_the_service_and_nothing_else(
    service: Service, caller: MakeCaller, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(0)
    service.replies = [error(500, message=f"your key {CANARY} is fine, we are not"), chat("answer")]
    asking = caller()
    answers = list(asking.ask([ask_about(1)]))
    service.rule = lambda _: error(400, param="top_p", message=f"key {CANARY}")
    with pytest.raises(EndpointError) as raised:
        list(asking.ask([ask_about(2)]))
    assert service.seen[0].headers["authorization"] == f"Bearer {CANARY}"
    assert CANARY not in "".join(traceback.format_exception(raised.value))
    assert CANARY not in repr([answers, raised.value.__cause__, raised.value.__context__, asking])
    assert CANARY not in caplog.text
    assert not any(CANARY.encode() in file.read_bytes() for file in tmp_path.iterdir())
