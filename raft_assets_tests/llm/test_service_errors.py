"""What a service's refusal means: errors of the client library, as it makes them of what came over the wire.

Which words mean what is in `test_service_messages`.
"""

import ssl
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import aiohttp
import httpx2
import openai
import pytest
from pydantic import SecretStr

from raft_assets.llm.service_errors import (
    SUBSTITUTES,
    ContentFiltered,
    FailCall,
    Retry,
    ServiceError,
    StopEndpoint,
    Unexplained,
    UnsupportedParameter,
    classify_error,
    redact_message,
    unavailable_message,
)
from raft_assets.settings.endpoints import Endpoint, Role

URL = "https://models.example/v1"
KEY = "sk-canary-1f7c2e"
ENDPOINT = Endpoint(Role.JUDGE, "openai", "gpt-x", URL, SecretStr(KEY))
AZURE = Endpoint(Role.STUDENT, "azure", "gpt-x", "https://ours.openai.azure.com", SecretStr(KEY))
REQUEST = httpx2.Request("POST", f"{URL}/chat/completions")


def status_error(
    status: int,
    *,
    code: str | None = None,
    param: str | None = None,
    message: str | None = "no",
    headers: dict[str, str] | None = None,
) -> openai.APIStatusError:
    body = {"message": message, "code": code, "param": param, "type": "error"}
    response = httpx2.Response(status, request=REQUEST, headers=headers)
    return openai.APIStatusError(f"Error code: {status}", response=response, body=body)


def wire_error(status: int, body: object, headers: dict[str, str] | None = None) -> openai.APIStatusError:
    """The error that the client makes of a body of any shape."""
    content = {"text": body} if isinstance(body, str) else {"json": body}
    response = httpx2.Response(status, request=REQUEST, headers=headers, **content)
    return openai.OpenAI(api_key=KEY)._make_status_error_from_response(response)


def understood(error: openai.APIError, endpoint: Endpoint = ENDPOINT) -> ServiceError:
    return classify_error(error, endpoint, endpoint.model)


@pytest.mark.parametrize("status", [408, 409, 429, 500, 502, 503, 529])
def test_what_may_pass_is_tried_again_and_only_429_says_that_there_is_no_room(status: int) -> None:
    assert understood(status_error(status, message="busy\nnow")) == Retry(
        f"it answered {status} (busy now)", after_s=None, is_rate_limit=status == 429
    )


@pytest.mark.parametrize("status", [500, 503])
def test_a_service_that_says_that_a_retry_does_not_help_is_asked_once(status: int) -> None:
    refusal = understood(status_error(status, message="no weights", headers={"x-should-retry": "false"}))
    assert isinstance(refusal, Unexplained)
    assert refusal.reason == f"it answered {status} (no weights)"
    assert "asking again doesn't help" in refusal.sentence
    assert isinstance(understood(status_error(status, headers={"x-should-retry": "true"})), Retry)


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, None),
        ({"retry-after": "7"}, 7.0),
        ({"retry-after": "0.5"}, 0.5),
        ({"retry-after-ms": "250"}, 0.25),
        ({"retry-after-ms": "250", "retry-after": "7"}, 0.25),  # the finer one counts
        ({"retry-after-ms": "soon", "retry-after": "7"}, 7.0),
        ({"retry-after": "-3"}, 0.0),
        ({"retry-after": "nan"}, 0.0),
        ({"retry-after": "Wed, 21 Oct 2015 07:28:00 GMT"}, 0.0),  # a date that is over
        ({"retry-after": "soon"}, None),
        ({"retry-after": ""}, None),
    ],
)
def test_the_service_says_how_long_to_wait(headers: dict[str, str], seconds: float | None) -> None:
    refusal = understood(status_error(503, headers=headers))
    assert isinstance(refusal, Retry)
    assert refusal.after_s == seconds


def test_a_date_to_come_is_waited_for() -> None:
    in_an_hour = format_datetime(datetime.now(UTC) + timedelta(hours=1), usegmt=True)
    refusal = understood(status_error(429, headers={"retry-after": in_an_hour}))
    assert isinstance(refusal, Retry)
    assert refusal.after_s == pytest.approx(3600, abs=300)


def test_a_timeout_and_a_lost_connection_are_told_apart_though_the_client_calls_both_a_timeout() -> None:
    def raised(behind: Exception) -> openai.APITimeoutError:
        error = openai.APITimeoutError(REQUEST)
        error.__cause__ = httpx2.ReadTimeout("read", request=REQUEST)
        error.__cause__.__cause__ = behind
        return error

    late, lost = Retry("it did not answer in time"), Retry("the connection failed", is_unreachable=True)
    assert understood(openai.APITimeoutError(REQUEST)) == late
    assert understood(raised(TimeoutError())) == late
    assert understood(raised(aiohttp.ServerTimeoutError())) == late  # is both, and says more
    assert understood(raised(aiohttp.ServerDisconnectedError())) == lost
    assert understood(openai.APIConnectionError(request=REQUEST)) == lost


@pytest.mark.parametrize("code", ["insufficient_quota", "billing_hard_limit_reached", "billing_not_active"])
def test_without_credit_no_request_passes_although_the_status_says_to_try_again(code: str) -> None:
    assert understood(status_error(429, code=code)) == StopEndpoint(
        f"JUDGE (model gpt-x at {URL}) has no credit left ({code}): raise the limit of the account, or set another "
        "key in JUDGE_OPENAI_API_KEY."
    )


@pytest.mark.parametrize("status", [400, 404, 409, 424, 429, 500, 503])
@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("DeploymentNotReady", "try later"),
        (None, "DeploymentNotReady: try later"),
        ("409", "The deployment is not ready"),
    ],
)
def test_a_deployment_that_is_not_ready_is_told_from_every_other_refusal(status: int, code: str, message: str) -> None:
    refusal = understood(status_error(status, code=code, message=message), AZURE)
    assert isinstance(refusal, StopEndpoint)
    assert refusal.not_deployed
    assert f"is deployed and not ready ({status}: {message})" in refusal.sentence


@pytest.mark.parametrize("status", [400, 404, 424, 429, 500, 503])
def test_an_adapter_that_is_not_loaded_yet_is_waited_for_without_counting_a_failure(status: int) -> None:
    message = "Failed to load LoRA adapter ft-1"
    assert understood(status_error(status, message=message, headers={"retry-after": "9"}), AZURE) == Retry(
        f"it is still loading the model ({message})", after_s=9.0, is_loading=True
    )


@pytest.mark.parametrize("code", ["content_filter", "content_policy_violation"])
def test_a_content_filter_is_an_answer_with_its_message(code: str) -> None:
    assert understood(status_error(400, code=code, message="violence")) == ContentFiltered("violence")


@pytest.mark.parametrize(
    "error",
    [
        status_error(400, code="context_length_exceeded"),
        status_error(400, code="string_above_max_length"),
        status_error(413),
        status_error(400, message="This model's Maximum context length is 8192 tokens."),
    ],
    ids=["a code", "another code", "a status", "a message without a code"],
)
def test_a_request_that_is_too_long_loses_its_row_and_no_other(error: openai.APIStatusError) -> None:
    refusal = understood(error)
    assert isinstance(refusal, FailCall)
    assert refusal.reason.startswith("the request is too long for the model (")


@pytest.mark.parametrize("parameter", SUBSTITUTES)
@pytest.mark.parametrize("code", ["unsupported_parameter", "unsupported_value", "unknown_parameter"])
def test_a_parameter_that_can_be_changed_is_named(parameter: str, code: str) -> None:
    refusal = understood(status_error(400, code=code, param=parameter, message="not this one"))
    assert refusal == UnsupportedParameter(
        parameter,
        f"JUDGE (model gpt-x at {URL}) refuses the request (400: not this one): set a model that takes it in "
        "JUDGE_OPENAI_DEPLOYMENT.",
    )


@pytest.mark.parametrize("noun", ["Unrecognized request argument", "unrecognized request arguments"])
def test_a_parameter_that_is_named_in_the_message_only_is_understood_too(noun: str) -> None:
    refusal = understood(status_error(400, message=f"{noun} supplied: max_completion_tokens"))
    assert isinstance(refusal, UnsupportedParameter)
    assert refusal.parameter == "max_completion_tokens"


@pytest.mark.parametrize(
    "error",
    [
        status_error(400, code="unsupported_parameter", param="logprobs"),  # nothing is known to send instead
        status_error(400, code="unsupported_parameter"),
        status_error(400, code="invalid_value", param="temperature"),  # the value is wrong, the parameter is known
        status_error(400, message="Unrecognized request argument supplied: logprobs"),
        status_error(422, message="Extra inputs are not permitted"),
    ],
    ids=["an unknown parameter", "no parameter", "another code", "an unknown argument", "another status"],
)
def test_a_parameter_that_nobody_can_drop_stops_and_says_what_to_set(error: openai.APIStatusError) -> None:
    refusal = understood(error)
    assert isinstance(refusal, StopEndpoint)
    assert f"refuses the request ({error.status_code}: " in refusal.sentence
    assert refusal.sentence.endswith(": set a model that takes it in JUDGE_OPENAI_DEPLOYMENT.")
    assert not refusal.not_deployed


@pytest.mark.parametrize(
    ("status", "endpoint", "sentence"),
    [
        (401, ENDPOINT, f"JUDGE (model gpt-x at {URL}) does not accept the sign-in (401): set JUDGE_OPENAI_API_KEY."),
        (
            403,
            ENDPOINT,
            f"JUDGE (model gpt-x at {URL}) is forbidden for this key or from this network (403: wrong API key ***): "
            "give it access, or set another key in JUDGE_OPENAI_API_KEY.",
        ),
        (
            404,
            ENDPOINT,
            f"JUDGE (model gpt-x at {URL}) does not exist there (404: wrong API key ***): set the model in "
            "JUDGE_OPENAI_DEPLOYMENT, or the address in JUDGE_OPENAI_BASE_URL.",
        ),
        (
            404,
            AZURE,
            "STUDENT (model gpt-x at https://ours.openai.azure.com) does not exist there (404: wrong API key ***): set "
            "the model in STUDENT_AZURE_OPENAI_DEPLOYMENT, or the address in STUDENT_AZURE_OPENAI_ENDPOINT.",
        ),
        (
            404,
            Endpoint(Role.BASELINE, "embedded", "embedded-writer"),
            "BASELINE (model embedded-writer at embedded) refuses (404): this installation has no such model.",
        ),
    ],
    ids=["401", "403", "404", "404 on Azure", "404 of the embedded provider"],
)
def test_a_refusal_of_the_service_says_what_to_set(status: int, endpoint: Endpoint, sentence: str) -> None:
    refusal = understood(status_error(status, message=f"wrong API key {KEY}"), endpoint)
    assert refusal == StopEndpoint(sentence, not_deployed=status == 404)


@pytest.mark.parametrize(
    ("role", "variables"),
    [
        (Role.TEACHER, "TEACHER_OPENAI_API_KEY (or COMPLETION_OPENAI_API_KEY)"),
        (Role.BASELINE, "BASELINE_OPENAI_API_KEY (or STUDENT_OPENAI_API_KEY)"),
        (Role.JUDGE, "JUDGE_OPENAI_API_KEY"),
    ],
)
def test_where_a_role_may_take_the_setting_of_another_both_are_named(role: Role, variables: str) -> None:
    refusal = understood(status_error(401), Endpoint(role, "openai", "m", URL))
    assert isinstance(refusal, StopEndpoint)
    assert refusal.sentence.endswith(f" (401): set {variables}.")


@pytest.mark.parametrize("status", [400, 403, 422, 429, 451, 500, 503])
def test_a_prompt_is_filtered_with_whatever_status_a_service_chooses(status: int) -> None:
    refusal = understood(
        wire_error(status, {"error": {"message": "Your input was flagged for violence.", "code": status}})
    )
    assert refusal == ContentFiltered("Your input was flagged for violence.")


@pytest.mark.parametrize("status", [400, 413, 422, 429, 500])
def test_a_prompt_is_too_long_with_whatever_status_a_service_chooses(status: int) -> None:
    refusal = understood(
        wire_error(status, {"error": "the request exceeds the available context size, try increasing it"})
    )
    assert refusal == FailCall(
        "the request is too long for the model (the request exceeds the available context size, try increasing it)"
    )


def test_a_moderator_that_is_down_is_no_verdict() -> None:
    refusal = understood(wire_error(503, {"error": {"message": "The content moderation service is unavailable"}}))
    assert isinstance(refusal, Retry)


@pytest.mark.parametrize(
    ("status", "body", "told"),
    [
        (402, {"error": {"message": "Insufficient Balance", "code": "x"}}, "402: Insufficient Balance"),
        (402, {}, "402: Error code: 402"),
        (400, {"code": "Arrearage", "message": "Access denied"}, "400: Access denied"),
        (403, {"code": 30001, "message": "Sorry, your account balance is insufficient"}, "403: Sorry, your account"),
        (429, {"error": {"code": "1113", "message": "余额不足"}}, "429: 余额不足"),
        (403, "You exceeded your current quota", "403: You exceeded your current quota"),
    ],
)
def test_an_account_without_credit_is_told_in_the_services_words(status: int, body: object, told: str) -> None:
    refusal = understood(wire_error(status, body))
    assert isinstance(refusal, StopEndpoint)
    assert f"has no credit left ({told}" in refusal.sentence
    assert refusal.sentence.endswith("set another key in JUDGE_OPENAI_API_KEY.")


@pytest.mark.parametrize(
    ("status", "body", "says"),
    [
        (400, {"error": {"message": "Model Not Exist"}}, "does not exist there (400: Model Not Exist)"),
        (404, "<html><h1>404 page not found</h1></html>", "does not exist there (404: 404 page not found)"),
        (400, [{"error": {"message": "API key not valid."}}], "for this key or from this network (400: API key"),
        (403, {"error": {"message": "Country, region, or territory not supported"}}, "from this network (403: Country"),
        (412, {"error": "Account example is suspended"}, "from this network (412: Account example is suspended)"),
        (401, {"error": {"message": "Your account has been flagged"}}, "does not accept the sign-in (401)"),
    ],
)
def test_what_concerns_all_calls_stops_at_once_in_the_services_words(status: int, body: object, says: str) -> None:
    refusal = understood(wire_error(status, body))
    assert isinstance(refusal, StopEndpoint)
    assert says in refusal.sentence


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (400, {"error": {"message": "Provider returned error", "param": "messages"}}),
        (403, "<html><h1>403 Forbidden</h1></html>"),
        (422, {"detail": [{"loc": ["body", "messages", 0], "msg": "Value error"}]}),
        (451, {}),
    ],
)
def test_where_the_words_do_not_say_both_sentences_are_ready(status: int, body: object) -> None:
    refusal = understood(wire_error(status, body))
    assert isinstance(refusal, Unexplained)
    assert refusal.reason.startswith(f"it refuses this request ({status}: ")
    assert refusal.sentence.startswith(f"JUDGE (model gpt-x at {URL}) ")


def test_the_key_is_taken_out_of_what_the_service_says() -> None:
    assert redact_message(status_error(400, message=f"bad key {KEY},\n  not {KEY}"), ENDPOINT) == "bad key ***, not ***"


def test_a_message_is_one_line_of_bearable_length_even_where_the_body_has_none() -> None:
    assert redact_message(status_error(500, message=None), ENDPOINT) == "Error code: 500"
    page = wire_error(502, "<html><p>a page</p></html>")
    assert redact_message(page, Endpoint(Role.JUDGE, "openai", "m", URL)) == "a page"
    long = redact_message(status_error(400, message="word " * 500), ENDPOINT)
    assert len(long) == 300
    assert long.endswith("...")


@pytest.mark.parametrize("key", ["x", "none", "ollama", "EMPTY", "sk-1234", "lm-studio", "no-key-required", "context"])
def test_a_key_that_is_short_or_a_placeholder_leaves_words_alone(key: str) -> None:
    endpoint = Endpoint(Role.JUDGE, "openai", "m", URL, SecretStr(key))
    words = f"prompt exceeds the context, none of {key} ollama"
    assert redact_message(wire_error(400, {"error": words}), endpoint) == words


@pytest.mark.parametrize("key", ["x", "maximum context length"])
def test_what_a_refusal_means_is_decided_before_the_key_is_taken_out(key: str) -> None:
    endpoint = Endpoint(Role.JUDGE, "openai", "m", URL, SecretStr(key))
    assert isinstance(understood(wire_error(400, {"error": "maximum context length is 10"}), endpoint), FailCall)


def test_a_masked_key_is_taken_out_as_well() -> None:
    assert redact_message(wire_error(400, {"error": "wrong key sk-p********9yzA."}), ENDPOINT) == "wrong key ***."


@pytest.mark.parametrize(
    ("code", "says", "remedy"),
    [
        (18, "self-signed certificate", "set SSL_CERT_FILE to a PEM file"),
        (20, "unable to get local issuer certificate", "set SSL_CERT_FILE to a PEM file"),
        (10, "certificate has expired", "have it renewed"),
        (62, "Hostname mismatch", "set the name that the certificate is for in JUDGE_OPENAI_BASE_URL"),
    ],
)
def test_a_certificate_that_is_not_trusted_stops_and_says_what_mends_it(code: int, says: str, remedy: str) -> None:
    cause = ssl.SSLCertVerificationError(1, "certificate verify failed")
    cause.verify_code, cause.verify_message = code, says
    error = openai.APITimeoutError(REQUEST)
    error.__cause__ = cause
    refusal = understood(error)
    assert isinstance(refusal, StopEndpoint)
    assert f"its certificate is not trusted ({says}): {remedy}" in refusal.sentence


def test_an_endpoint_that_was_given_up_is_one_sentence_that_says_what_is_kept() -> None:
    assert unavailable_message(ENDPOINT, "gpt-x", "16 calls in a row were given up").startswith(
        f"JUDGE (model gpt-x at {URL}) does not respond: 16 calls in a row were given up."
    )
