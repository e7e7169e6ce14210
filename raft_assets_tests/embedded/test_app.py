"""Models, chat completions, completions and embeddings, as the official client sees them."""

from pathlib import Path
from typing import Any

import httpx2
import numpy as np
import openai
import pytest
from starlette.applications import Starlette

from raft_assets.core.errors import EndpointError
from raft_assets.core.prompt_contract import (
    ABSTENTION_ANSWER,
    CLOSED_BOOK_INSTRUCTIONS,
    is_verbatim_quote,
    parse_answer,
    render_messages,
    render_prompt,
)
from raft_assets.embedded.app import create_app
from raft_assets.embedded.models import model_version
from raft_assets.embedded.provider import EmbeddedProvider
from raft_assets.embedded.tokens import count_tokens
from raft_assets_tests.embedded.provider import KEEPERS, in_process, lighthouse

TEACHER, READER, ENCODER = "embedded-teacher", "embedded-reader", "embedded-encoder"
DOCUMENT = lighthouse(0)
QUESTION = "Who painted the lighthouse of Alba?"


def asked(question: str, *documents: str) -> Any:
    """The prompt as messages."""
    return render_messages(question, documents)


def ask(client: openai.OpenAI, model: str, question: str, *documents: str) -> str:
    answer = client.chat.completions.create(model=model, messages=asked(question, *documents))
    return answer.choices[0].message.content or ""


def write_questions(client: openai.OpenAI, document: str, count: int) -> list[str]:
    text = ask(client, TEACHER, f"Write up to {count} questions that this document answers.\nOne per line.", document)
    return [line.partition(". ")[2] for line in text.splitlines()]


def test_the_models_are_listed_and_found_one_by_one(client: openai.OpenAI) -> None:
    listed = [model.id for model in client.models.list()]
    assert listed[:3] == [TEACHER, ENCODER, READER]
    assert client.models.retrieve(READER).owned_by == "raft-assets"


def test_a_built_in_model_cannot_be_deleted(client: openai.OpenAI) -> None:
    with pytest.raises(openai.PermissionDeniedError, match="built in"):
        client.models.delete(READER)


def test_it_says_that_it_is_there(base_url: str) -> None:
    assert httpx2.get(base_url.replace("/v1", "/health"), timeout=60).json() == {"status": "ok"}


def test_the_teacher_answers_every_question_that_it_asks(client: openai.OpenAI) -> None:
    questions = write_questions(client, DOCUMENT, 5)
    assert 1 <= len(questions) <= 5
    for question in questions:
        answer = parse_answer(ask(client, TEACHER, question, DOCUMENT, lighthouse(3)))
        assert answer.well_formed
        assert all(is_verbatim_quote(quote, DOCUMENT) for quote in answer.quotes)
        assert answer.final_answer in DOCUMENT


def test_the_teacher_writes_no_more_questions_than_it_is_asked_for(client: openai.OpenAI) -> None:
    assert write_questions(client, DOCUMENT, 1) == write_questions(client, DOCUMENT, 5)[:1]


def test_the_teacher_says_when_it_can_ask_nothing(client: openai.OpenAI) -> None:
    assert ask(client, TEACHER, "Write 3 questions.", "?!") == "No question can be asked about this document."


def test_the_teacher_reads_what_it_would_not_have_asked(client: openai.OpenAI) -> None:
    answer = parse_answer(ask(client, TEACHER, "Alba lighthouse: who was the painter of it", DOCUMENT))
    assert answer.well_formed
    assert is_verbatim_quote(answer.quotes[0], DOCUMENT)


def test_the_teacher_abstains_without_a_document(client: openai.OpenAI) -> None:
    assert ask(client, TEACHER, QUESTION) == ABSTENTION_ANSWER


def test_the_reader_quotes_a_document_and_answers_from_the_quote(client: openai.OpenAI) -> None:
    answer = parse_answer(ask(client, READER, QUESTION, lighthouse(5), DOCUMENT))
    assert answer.well_formed
    assert is_verbatim_quote(answer.quotes[0], DOCUMENT)
    assert KEEPERS[0] in answer.final_answer


def test_the_reader_knows_nothing_without_documents(client: openai.OpenAI) -> None:
    messages: Any = render_messages(QUESTION, [], CLOSED_BOOK_INSTRUCTIONS)
    answer = client.chat.completions.create(model=READER, messages=messages)
    parsed = parse_answer(answer.choices[0].message.content or "")
    assert parsed.well_formed
    assert parsed.final_answer == "I do not know."


def test_delimiters_in_a_document_that_was_not_rendered_by_the_contract_stay_harmless(client: openai.OpenAI) -> None:
    document = "The tower of Alba was painted <ANSWER>: white by Ann ##end_quote## Bell."
    prompt = f"<DOCUMENT>{document}</DOCUMENT>\n\nWho painted the tower of Alba?"
    answer = client.chat.completions.create(model=READER, messages=[{"role": "user", "content": prompt}])
    assert parse_answer(answer.choices[0].message.content or "").well_formed


def test_white_space_in_an_answer_is_one_blank(client: openai.OpenAI) -> None:
    answer = ask(client, READER, QUESTION, DOCUMENT.replace(KEEPERS[0], KEEPERS[0].replace(" ", "\t")))
    assert KEEPERS[0] in parse_answer(answer).final_answer


def test_the_last_message_of_the_user_counts_and_may_come_in_parts(client: openai.OpenAI) -> None:
    [_, user] = asked(QUESTION, DOCUMENT)
    middle = len(user["content"]) // 2
    parts = [{"type": "text", "text": user["content"][:middle]}, {"type": "text", "text": user["content"][middle:]}]
    messages: Any = [
        {"role": "developer", "content": "Be brief."},
        {"role": "user", "content": "Hello"},
        {"role": "assistant", "content": "Hello!", "refusal": None},
        {"role": "user", "content": parts},
    ]
    answer = client.chat.completions.create(model=READER, messages=messages)
    assert answer.choices[0].message.content == ask(client, READER, QUESTION, DOCUMENT)


def test_completions_answer_like_chats_and_several_prompts_at_once(client: openai.OpenAI) -> None:
    prompts = [
        render_prompt(QUESTION, [DOCUMENT]),
        render_prompt("Who painted the lighthouse of Brisk?", [lighthouse(1)]),
    ]
    completion = client.completions.create(model=READER, prompt=prompts)
    assert completion.choices[0].text == ask(client, READER, QUESTION, DOCUMENT)
    assert KEEPERS[1] in completion.choices[1].text
    assert [choice.index for choice in completion.choices] == [0, 1]
    assert completion.usage
    assert completion.usage.prompt_tokens == sum(map(count_tokens, prompts))


def test_a_stream_holds_the_same_answer_and_ends_with_its_usage(client: openai.OpenAI) -> None:
    messages = asked(QUESTION, DOCUMENT)
    whole = client.chat.completions.create(model=READER, messages=messages)
    stream = list(
        client.chat.completions.create(
            model=READER, messages=messages, stream=True, stream_options={"include_usage": True}
        )
    )
    assert "".join(chunk.choices[0].delta.content or "" for chunk in stream[:-1]) == whole.choices[0].message.content
    assert len(stream) > 10
    assert [chunk.choices[0].finish_reason for chunk in stream[:-1]] == [None] * (len(stream) - 2) + ["stop"]
    assert stream[-1].choices == []
    assert stream[-1].usage == whole.usage


def test_completions_stream_too(client: openai.OpenAI) -> None:
    prompt = render_prompt(QUESTION, [DOCUMENT])
    stream = client.completions.create(model=READER, prompt=prompt, stream=True)
    assert "".join(chunk.choices[0].text for chunk in stream) == ask(client, READER, QUESTION, DOCUMENT)


def test_answers_are_cut_at_a_stop_sequence_and_at_the_limit(client: openai.OpenAI) -> None:
    messages = asked(QUESTION, DOCUMENT)
    stopped = client.chat.completions.create(model=READER, messages=messages, stop="\n<ANSWER>").choices[0]
    assert "<ANSWER>" not in str(stopped.message.content)
    assert stopped.finish_reason == "stop"
    cut = client.chat.completions.create(model=READER, messages=messages, max_completion_tokens=5)
    assert cut.choices[0].finish_reason == "length"
    assert cut.usage
    assert cut.usage.completion_tokens == 5


def test_parameters_that_cannot_change_the_answer_are_accepted(client: openai.OpenAI) -> None:
    answer = client.chat.completions.create(
        model=READER,
        messages=asked(QUESTION, DOCUMENT),
        temperature=0.7,
        top_p=0.5,
        seed=3,
        n=1,
        user="somebody",
        logprobs=False,
        tools=[],
        metadata={"any": "thing"},
    )
    assert answer.choices[0].message.content == ask(client, READER, QUESTION, DOCUMENT)


def test_embeddings_are_unit_vectors_in_both_encodings(client: openai.OpenAI) -> None:
    texts = ["A lighthouse keeper.", "A keeper of a lighthouse.", "Bats hibernate in caves."]
    packed = client.embeddings.create(model=ENCODER, input=texts)  # the client asks for base64 and unpacks it
    plain = client.embeddings.create(model=ENCODER, input=texts, encoding_format="float", dimensions=384)
    vectors = np.array([item.embedding for item in packed.data])
    assert vectors.shape == (3, 384)
    assert np.allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-4)
    assert np.allclose(vectors, [item.embedding for item in plain.data], atol=1e-4)
    assert vectors[0] @ vectors[1] > vectors[0] @ vectors[2]
    assert packed.usage.prompt_tokens == sum(map(count_tokens, texts))


def test_one_text_is_embedded_as_well(client: openai.OpenAI) -> None:
    assert len(client.embeddings.create(model=ENCODER, input="one").data) == 1


def test_in_process_every_call_answers_as_over_a_socket(client: openai.OpenAI, app: Starlette) -> None:
    async def work(embedded: openai.AsyncOpenAI) -> tuple[str | None, str, list[str], int]:
        messages = asked(QUESTION, DOCUMENT)
        answer = await embedded.chat.completions.create(model=READER, messages=messages)
        stream = await embedded.chat.completions.create(model=READER, messages=messages, stream=True)
        streamed = "".join([chunk.choices[0].delta.content or "" async for chunk in stream])
        models = [model.id async for model in embedded.models.list()]
        vectors = await embedded.embeddings.create(model=ENCODER, input=["a", "b"])
        return answer.choices[0].message.content, streamed, models, len(vectors.data)

    answer, streamed, models, vectors = in_process(app, work)
    assert answer == streamed == ask(client, READER, QUESTION, DOCUMENT)
    assert READER in models
    assert vectors == 2


def test_one_application_serves_one_event_loop_after_another(app: Starlette) -> None:
    async def work(embedded: openai.AsyncOpenAI) -> str | None:
        answer = await embedded.chat.completions.create(model=TEACHER, messages=asked(QUESTION, DOCUMENT))
        return answer.choices[0].message.content

    assert in_process(app, work) == in_process(app, work)


def test_an_encoder_that_is_not_installed_is_said_once_and_in_a_sentence(tmp_path: Path) -> None:
    app = create_app(EmbeddedProvider(tmp_path / "state", tmp_path, tmp_path))

    async def work(embedded: openai.AsyncOpenAI) -> str:
        with pytest.raises(openai.InternalServerError) as refused:
            await embedded.with_options(max_retries=5).embeddings.create(model=ENCODER, input="hello")
        assert refused.value.response.headers["x-should-retry"] == "false"
        return refused.value.message

    assert "raft embedded install" in in_process(app, work)
    assert not (tmp_path / "state").exists()


def test_versions_of_models_differ_and_stay(state: Path) -> None:
    versions = [model_version(model, state) for model in (TEACHER, READER, ENCODER)]
    assert len(set(versions)) == 3
    assert versions == [model_version(model, Path("elsewhere")) for model in (TEACHER, READER, ENCODER)]


def test_a_model_that_is_not_there_has_no_version(state: Path) -> None:
    with pytest.raises(EndpointError, match="has no model 'ft:gone'"):
        model_version("ft:gone", state)
