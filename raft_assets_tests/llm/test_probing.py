"""Test calls: short whatever the model is, and what they find out about a service."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from raft_assets.core.errors import EndpointError
from raft_assets.llm.background import run_coroutine
from raft_assets.llm.clients import open_client
from raft_assets.llm.probing import MAX_ANSWER_TOKENS, Probe, ProbeResult, PromptTest
from raft_assets.settings.endpoints import Endpoint, Role
from raft_assets_tests.llm.conftest import CANARY, _no_embedded_app, shared_in
from raft_assets_tests.llm.service import NOT_FOUND, Reply, Seen, Service, chat, completion, error

ProbeOf = Callable[..., ProbeResult]


@pytest.fixture
def probe(endpoint: Endpoint, tmp_path: Path) -> ProbeOf:
    """Makes the test calls of a task to the service's model."""

    def run(task: str = "chat", *, role: Role = Role.TEACHER, model: str = "model-1", **options: Any) -> ProbeResult:
        asked = replace(endpoint, role=role)
        client = open_client(asked, _no_embedded_app)
        shared = shared_in(tmp_path, asked)
        try:
            return run_coroutine(Probe(asked, model=model, client=client, **shared).run(task, **options))  # type: ignore[arg-type]
        finally:
            shared["limiter"].close()
            run_coroutine(client.close())

    return run


def reads(tokens: int | None, told: dict[str, Any] | None = None) -> Callable[[Seen], Reply]:
    """A service that reads at most so many words of a prompt (None: it doesn't say), and reports `told` by path."""

    def rule(seen: Seen) -> Reply:
        for path, body in (told or {}).items():
            if seen.path.endswith(path):
                return Reply(body=body)
        if not seen.body:
            return NOT_FOUND
        usage = {} if tokens is None else {"prompt_tokens": min(tokens, len(seen.question.split()) + 8)}
        answer = chat("yes").body | {"usage": usage}
        return Reply(body=answer)

    return rule


def test_a_question_asks_for_few_tokens_and_is_asked_once(service: Service, probe: ProbeOf) -> None:
    assert probe() == ProbeResult("answers")
    (asked,) = [seen for seen in service.seen if seen.body]
    assert asked.body["max_completion_tokens"] == MAX_ANSWER_TOKENS
    assert asked.headers["authorization"] == f"Bearer {CANARY}"


@pytest.mark.parametrize(
    "thoughts",
    [
        chat(None, finish="length", reasoning_content="The user wants"),
        chat("", finish="length"),
        error(400, message="Could not finish the message because max_tokens or model output limit was reached."),
    ],
)
def test_a_model_whose_thoughts_take_all_tokens_answers(service: Service, probe: ProbeOf, thoughts: Reply) -> None:
    service.replies = [thoughts]
    assert probe().message.startswith("answers; it thinks first")


def test_a_parameter_that_the_model_refuses_is_learned_and_the_question_asked_again(
    service: Service, probe: ProbeOf
) -> None:
    service.replies = [error(400, code="unsupported_parameter", param="max_completion_tokens")]
    assert probe().message == "answers"
    first, second = [seen.body for seen in service.seen if seen.body]
    assert "max_completion_tokens" in first
    assert second["max_tokens"] == MAX_ANSWER_TOKENS
    probe()
    assert "max_tokens" in next(seen.body for seen in reversed(service.seen) if seen.body)


def test_a_service_that_takes_the_question_and_does_not_answer_is_a_warning(service: Service, probe: ProbeOf) -> None:
    service.holds = lambda _: True
    result = probe(timeout_s=0.2)
    assert result.is_warning
    assert "is slow, busy or still loading the model" in result.message
    service.wait_until(lambda seen: seen.hung_up == 1)


@pytest.mark.parametrize(
    ("reply", "said"),
    [
        (
            error(401, message=f"Incorrect API key: {CANARY}"),
            r"does not accept the sign-in \(401\): set TEACHER_OPENAI",
        ),
        (error(404), r"model-1 at http.* does not exist there \(404: no\)"),
        (error(500, message="out of memory"), r"does not respond: it answered 500 \(out of memory\)"),
        (Reply(body=b"<html>welcome</html>"), r"does not respond: it sent a response without choices"),
    ],
)
def test_what_is_wrong_is_one_sentence_after_one_try(service: Service, probe: ProbeOf, reply: Reply, said: str) -> None:
    service.rule = lambda _: reply
    with pytest.raises(EndpointError, match=said) as caught:
        probe()
    assert CANARY not in str(caught.value)
    assert len(service.seen) == 1


LOADING, BUSY = "is there and still loading the model: ", "is there and busy: "


@pytest.mark.parametrize(
    ("reply", "said"),
    [
        (error(429, message="slow down", retry_after="0"), BUSY),
        (error(429, message="Model is overloaded"), BUSY),  # TGI
        (error(529, message="Overloaded"), BUSY),
        (Reply(503, {"error": {"code": 503, "message": "Loading model", "type": "unavailable_error"}}), LOADING),
        (Reply(503, {"error": "Model org/m is currently loading", "estimated_time": 20.0}), LOADING),
        (Reply(503, {"error": "llm server loading model"}), LOADING),
        (Reply(500, {"error": {"message": "The model is still loading, retry later"}}), LOADING),
        (Reply(503, {"detail": "Model is not ready yet"}), LOADING),
        (Reply(503, b"Engine is starting up"), LOADING),
        (Reply(503, {"message": "模型正在加载"}), LOADING),
        (Reply(503, {"error": "server busy, please try again.  maximum pending requests exceeded"}), BUSY),
        (Reply(503, {"error": {"message": "The engine is currently overloaded, please try again later"}}), BUSY),
        (Reply(500, {"detail": "no slot available"}), BUSY),
        (Reply(503, {"message": "系统繁忙"}), BUSY),
        (error(503, message="no", retry_after="20"), BUSY),
        (error(503, message="ftjob-1 trains", code="paused_for_job", retry_after="20"), BUSY),
    ],
)
@pytest.mark.parametrize("task", ["chat", "completion", "embedding", "fine-tuning"])
def test_a_service_that_is_there_and_asks_to_come_back_is_a_warning_that_says_what_to_do(
    service: Service, probe: ProbeOf, task: str, reply: Reply, said: str
) -> None:
    service.rule = lambda _: reply
    result = probe(task, prompt_words=2000)
    assert result.is_warning
    assert result.message.startswith(said)
    assert "Run `raft doctor` again when it answers; a run waits" in result.message


def test_a_service_that_says_in_a_200_that_it_loads_the_model_is_there(service: Service, probe: ProbeOf) -> None:
    service.rule = lambda _: Reply(200, {"error": {"message": "model is being loaded into memory"}})
    assert probe().message.startswith(LOADING)


@pytest.mark.parametrize(
    "reply",
    [
        error(500, message="error loading model: unable to allocate 20 GB"),
        error(500, message="llama runner process has terminated: failed loading model weights"),
        error(502, message="Bad Gateway"),
        error(503, message="upstream connect error"),
        error(500, message="out of memory"),
        error(400, message="no models loaded"),
    ],
)
def test_a_model_that_failed_to_load_and_a_service_behind_a_gateway_that_is_down_are_problems(
    service: Service, probe: ProbeOf, reply: Reply
) -> None:
    service.rule = lambda _: reply
    with pytest.raises(EndpointError):
        probe()


def test_the_older_api_and_embeddings_are_asked_as_a_run_asks_them(service: Service, probe: ProbeOf) -> None:
    service.rule = lambda seen: completion(" yes") if "prompt" in seen.body else None
    assert probe("completion", role=Role.BASELINE).message == "completes"
    assert probe("embedding", role=Role.EMBEDDING).message == "embeds with 8 dimensions"
    assert [seen.path for seen in service.seen if seen.body] == ["/v1/completions", "/v1/embeddings"]


# what services report of a model that was started with 8,192 tokens; other figures beside it are not what it takes
CONTEXTS = [
    ("/v1/models", {"data": [{"id": "model-1", "max_model_len": 8192}]}),  # vLLM, SGLang
    ("/v1/models", {"data": [{"id": "other", "max_model_len": 9}, {"id": "model-1", "max_model_len": 8192}]}),
    (  # vLLM, of an adapter
        "/v1/models",
        {
            "data": [
                {"id": "base", "max_model_len": 8192},
                {"id": "model-1", "parent": "base", "max_model_len": None},
            ]
        },
    ),
    (  # llama.cpp, which calls its one model by the file
        "/v1/models",
        {"models": [{"name": "x.gguf"}], "data": [{"id": "x.gguf", "meta": {"n_ctx": 8192, "n_ctx_train": 131072}}]},
    ),
    ("/v1/models", {"data": [{"id": "a.gguf", "aliases": ["model-1"], "meta": {"n_ctx": 8192}}, {"id": "b.gguf"}]}),
    ("/v1/models", {"data": [{"id": "model-1", "context_length": 8192}, {"id": "b"}]}),  # OpenRouter
    ("/v1/models", [{"id": "model-1", "context_length": 8192}, {"id": "b", "context_length": 4}]),  # Together
    ("/props", {"default_generation_settings": {"n_ctx": 8192}, "total_slots": 4}),  # llama.cpp, older
    ("/api/ps", {"models": [{"name": "model-1:latest", "model": "model-1:latest", "context_length": 8192}]}),  # Ollama
    (  # LM Studio
        "/api/v0/models",
        {"data": [{"id": "b"}, {"id": "model-1", "max_context_length": 131072, "loaded_context_length": 8192}]},
    ),
    ("/info", {"max_total_tokens": 8192, "max_input_tokens": 4095}),  # TGI
]


@pytest.mark.parametrize(("path", "told"), CONTEXTS)
def test_the_context_that_a_service_reports_is_read(service: Service, probe: ProbeOf, path: str, told: Any) -> None:
    service.rule = reads(10_000, {path: told})
    assert probe().context_tokens == 8192


@pytest.mark.parametrize(
    ("path", "told"),
    [
        ("/v1/models", {"data": [{"id": "a", "max_model_len": 8192}, {"id": "b", "max_model_len": 8192}]}),
        ("/v1/models", {"data": [{"id": "model-1", "max_model_len": None, "context_length": True}]}),
        ("/v1/models", {"data": "none"}),
        ("/props", {"error": "Unexpected endpoint or method. (GET /props)"}),
        ("/api/v0/models", {"data": [{"id": "model-1", "max_context_length": 131072, "state": "not-loaded"}]}),
        ("/api/ps", {"models": [{"name": ["model-1"], "aliases": 3}]}),
    ],
)
def test_what_says_nothing_about_the_model_is_no_context(
    service: Service, probe: ProbeOf, path: str, told: Any
) -> None:
    service.rule = reads(10_000, {path: told})
    assert probe().context_tokens is None


@pytest.mark.parametrize(
    ("takes", "cut"),
    [(2048, True), (5000, False), (None, False)],
)
def test_a_prompt_that_is_cut_without_an_error_is_found_by_the_tokens_that_were_counted(
    service: Service, probe: ProbeOf, takes: int | None, cut: bool
) -> None:
    service.rule = reads(takes)
    result = probe(prompt_words=3000)
    assert result.prompt is not None
    assert result.prompt.words == 3000
    assert result.prompt.is_cut is cut
    assert result.prompt.tokens_read == (takes and min(takes, 3009))
    _, long = [seen for seen in service.seen if seen.body]
    assert long.body["max_completion_tokens"] == MAX_ANSWER_TOKENS
    assert len(long.question.split()) == 3001


def test_every_counted_prompt_begins_anew_so_that_no_cache_hides_tokens(service: Service, probe: ProbeOf) -> None:
    service.rule = reads(10_000)
    probe(prompt_words=100)
    probe(prompt_words=100)
    first, second = [seen.question for seen in service.seen if seen.body][1::2]
    assert first.split()[0] != second.split()[0]


def test_a_counted_prompt_fits_into_a_context_that_is_reported(service: Service, probe: ProbeOf) -> None:
    service.rule = reads(4096, {"/v1/models": {"data": [{"id": "model-1", "max_model_len": 4096}]}})
    result = probe(prompt_words=9000)
    assert result.context_tokens == 4096
    assert result.prompt == PromptTest(words=3072, tokens_read=3081)


def test_a_long_prompt_that_is_refused_or_slow_says_so_and_the_model_answers_all_the_same(
    service: Service, probe: ProbeOf
) -> None:
    def too_long(seen: Seen) -> Reply | None:
        if len(seen.question) > 100:
            return error(400, code="context_length_exceeded", message="it has 1034 tokens, at most 512 fit")
        return None

    service.rule = too_long
    result = probe(prompt_words=1000)
    assert result.message == "answers"
    assert result.prompt is not None
    assert "too long for the model (it has 1034 tokens, at most 512 fit)" in result.prompt.failure
    service.rule = lambda _: None
    service.holds = lambda seen: len(seen.question) > 100
    slow = probe(prompt_words=1000, timeout_s=3).prompt
    assert slow is not None
    assert slow.failure == "no answer came within 3 s"
    service.rule = reads(4096, {"/v1/models": {"data": [{"id": "model-1", "max_model_len": 4096}]}})
    assert probe(prompt_words=1000, timeout_s=3) == ProbeResult("answers", context_tokens=4096)


def test_a_service_that_lists_jobs_permits_fine_tuning(service: Service, probe: ProbeOf) -> None:
    service.rule = lambda _: Reply(body={"object": "list", "data": [], "has_more": False})
    assert probe("fine-tuning", role=Role.STUDENT) == ProbeResult("fine-tuning is permitted")
    assert [(seen.path, seen.query) for seen in service.seen] == [("/v1/fine_tuning/jobs", "limit=1")]


@pytest.mark.parametrize(
    "answer",
    [
        NOT_FOUND,  # vLLM
        Reply(404, b"404 page not found"),  # Ollama
        error(405),
        error(501, message="not implemented"),
        Reply(body={"error": "Unexpected endpoint or method. (GET /v1/fine_tuning/jobs)"}),  # LM Studio
        Reply(body=b"<!doctype html>"),  # a page in front of a hosted service
    ],
)
def test_a_service_without_a_fine_tuning_api_is_a_warning_that_says_what_can_be_done(
    service: Service, probe: ProbeOf, answer: Reply
) -> None:
    service.rule = lambda _: answer
    result = probe("fine-tuning", role=Role.STUDENT)
    assert result.is_warning
    assert "has no fine-tuning API" in result.message
    assert "student.finetuned_model" in result.message


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (error(401), r"STUDENT .* does not accept the sign-in \(401\)"),
        (error(403), r"STUDENT .* refuses \(403\): ask for a role that may fine-tune"),
        (error(500, message="down"), r"STUDENT .* does not respond: .*down"),
    ],
)
def test_a_service_that_refuses_the_list_of_jobs_is_a_problem(
    service: Service, probe: ProbeOf, answer: Reply, said: str
) -> None:
    service.rule = lambda _: answer
    with pytest.raises(EndpointError, match=said):
        probe("fine-tuning", role=Role.STUDENT)
