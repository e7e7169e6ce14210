"""How a student is asked, by where it answers: nothing is called, and no key is ever shown."""

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from pydantic import SecretStr

from raft_assets.llm.prices import FREE, Price
from raft_assets.settings.domain import StudentSettings
from raft_assets.settings.endpoints import Endpoint, Role
from raft_assets.student.deployment import StudentDeployment, smoke_request
from raft_assets.student.use import StudentUse, describe_use

KEY = "sk-of-nobody-but-secret"
PRICE = Price(0.2, 0.05, 0.8, 1.5, "a list", hosting=1.7)
UNKNOWN = Price(None, None, None, None, "unknown")
OPENAI = Endpoint(Role.STUDENT, "openai", "gpt-4.1-nano", "https://api.openai.com/v1", SecretStr(KEY))
AZURE = Endpoint(Role.STUDENT, "azure", "gpt-4.1-nano", "https://mine.openai.azure.com")
ML = Endpoint(Role.STUDENT, "azureml", "Llama-3.1-8B", "https://ml.azure.com/workspace")


def use(
    endpoint: Endpoint, *, name: str = "ft:gpt:1", model: str = "ft:gpt:1", price: Price = PRICE, **changes: Any
) -> StudentUse:
    deployed = StudentDeployment(endpoint.service, name, model, "hash", "Standard")
    return describe_use(
        endpoint,
        replace(deployed, **changes),
        smoke_request(StudentSettings(), 300),
        price,
        domain="harbor handbook",
        answer="<ANSWER>: 1871",
    )


def test_a_student_at_openai_is_asked_with_the_key_from_a_variable_and_is_deleted_there() -> None:
    told = use(OPENAI)
    assert told.address == "https://api.openai.com/v1"
    assert "curl -sS https://api.openai.com/v1/chat/completions " in told.curl
    assert '-H "Authorization: Bearer $RAFT_MODEL_KEY"' in told.curl
    assert 'api_key=os.environ["RAFT_MODEL_KEY"]' in told.python
    assert told.price == "US$ 0.2 per million tokens of prompts, 0.8 of answers (a list)"
    assert [one.command for one in told.removal] == [
        'curl -sS -X DELETE -H "Authorization: Bearer $RAFT_MODEL_KEY" https://api.openai.com/v1/models/ft:gpt:1',
        "raft purge 'harbor handbook' --students",
    ]
    assert KEY not in repr(told)


def test_a_deployment_on_azure_is_asked_by_signing_in_and_costs_while_it_exists() -> None:
    told = use(AZURE, name="raft-harbor", expires=datetime(2026, 12, 1, 9, tzinfo=UTC))
    assert told.address == "https://mine.openai.azure.com/openai/v1"
    assert told.before == "Sign in with `az login`. The deployment ends on 2026-12-01 09:00 UTC."
    for shown in (told.curl, told.python):
        assert "az account get-access-token --scope https://cognitiveservices.azure.com/.default" in shown
    assert '"model": "raft-harbor"' in told.curl
    assert told.price.endswith("; and US$ 1.7 an hour while it is deployed, asked or not")
    assert told.removal[0].command == "raft teardown 'harbor handbook'"
    with_key = use(replace(AZURE, api_key=SecretStr(KEY)), name="raft-harbor")
    assert '-H "Authorization: Bearer $RAFT_MODEL_KEY"' in with_key.curl
    assert "az account" not in with_key.curl
    assert KEY not in repr(with_key)


def test_an_endpoint_of_azure_ml_is_asked_at_its_own_address() -> None:
    told = use(ML, name="raft-harbor", model="azureml://m", service="https://raft-harbor.models.ai.azure.com/v1")
    assert told.address == "https://raft-harbor.models.ai.azure.com/v1"
    assert "az ml serverless-endpoint get-credentials --name raft-harbor" in told.before
    assert "$RAFT_MODEL_KEY" in told.curl


@pytest.mark.parametrize(
    ("price", "said"), [(FREE, "costs nothing"), (UNKNOWN, "unknown: add it to prices.yaml of the project")]
)
def test_a_price_is_free_or_unknown_in_words(price: Price, said: str) -> None:
    assert use(OPENAI, price=price).price == said


def test_the_python_example_is_python_whatever_the_form() -> None:
    completion = smoke_request(StudentSettings(format="completion"), 300, "Say \"yes\" or 'no'.")
    deployed = StudentDeployment(OPENAI.service, "ft:1", "ft:1", "hash", "none")
    told = describe_use(OPENAI, deployed, completion, PRICE, domain="d", answer="")
    compile(told.python, "example", "exec")
    assert "client.completions.create(**request)" in told.python
    assert "choices[0].text" in told.python
    compile(use(AZURE).python, "example", "exec")
