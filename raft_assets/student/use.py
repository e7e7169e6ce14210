"""How a person asks a student: address, name, price, examples that can be copied, and how to remove it.

What belongs here: what can be said without calling anything. No key is ever part of it: examples name the variable that
holds it, or sign in.
"""

import shlex
from dataclasses import dataclass, replace

from pydantic import SecretStr

from raft_assets.llm.prices import Price
from raft_assets.llm.requests import Request
from raft_assets.llm.snippets import KEY_VARIABLE, shown_address, to_curl, to_deletion, to_python
from raft_assets.settings.endpoints import DEVELOPER_TIER, Endpoint
from raft_assets.settings.prices import PRICES_FILE
from raft_assets.student.deployment import StudentDeployment


@dataclass(frozen=True)
class Removal:
    """What a command removes."""

    what: str
    command: str


@dataclass(frozen=True)
class StudentUse:
    """How a student is asked.

    `before`: what has to be done first, empty where nothing has. `curl` and `python` ask the question of the smoke
    test, to which it answered `answer`.
    """

    address: str
    model: str
    before: str
    price: str
    curl: str
    python: str
    answer: str
    removal: tuple[Removal, ...]


def asked_endpoint(endpoint: Endpoint, deployed: StudentDeployment) -> Endpoint:
    """Return the endpoint that answers as a deployed student, for examples of how to ask it.

    `endpoint` is that of the role STUDENT. A deployment of Azure ML has an address and a key of its own.
    """
    if endpoint.provider == "azureml" and deployed.is_hosted:
        own = SecretStr("the key that Azure ML made for it")  # no example shows a key, only that it takes one
        endpoint = replace(endpoint, provider="openai", base_url=deployed.service, api_key=own)
    return replace(endpoint, model=deployed.name)


def describe_use(
    endpoint: Endpoint, deployed: StudentDeployment, request: Request, price: Price, *, domain: str, answer: str
) -> StudentUse:
    """Return how to ask the deployed student of a domain.

    `endpoint` is that of the role STUDENT, `request` the smoke test's, to which the student replied `answer`.
    """
    asked = asked_endpoint(endpoint, deployed)
    return StudentUse(
        address=shown_address(asked),
        model=deployed.name,
        before=_first_step(endpoint, deployed),
        price=_describe_price(endpoint, deployed, price),
        curl=to_curl(asked, request.kind, request.body),
        python=to_python(asked, request.kind, request.body),
        answer=answer,
        removal=tuple(_removals(asked, deployed, domain)),
    )


def _first_step(endpoint: Endpoint, deployed: StudentDeployment) -> str:
    if endpoint.provider == "embedded":
        return (
            "Start `raft serve` in the project's folder: it serves every student of the project, to this machine only."
        )
    expires = f" The deployment ends on {deployed.expires:%Y-%m-%d %H:%M} UTC." if deployed.expires else ""
    if endpoint.provider == "azureml":
        return (
            f"Put a key into the variable {KEY_VARIABLE}: `az ml serverless-endpoint get-credentials --name "
            f"{deployed.name}`.{expires}"
        )
    if endpoint.api_key is not None:
        return f"Put the key of the role STUDENT (.env) into the variable {KEY_VARIABLE}.{expires}"
    if endpoint.is_azure_openai:
        return f"Sign in with `az login`.{expires}"
    return ""


def _describe_price(endpoint: Endpoint, deployed: StudentDeployment, price: Price) -> str:
    if price.input is None or price.output is None:
        return f"unknown: add it to {PRICES_FILE} of the project"
    if price.input == price.output == 0:
        told = "costs nothing"
    else:
        told = f"US$ {price.input:g} per million tokens of prompts, {price.output:g} of answers ({price.source})"
    if not endpoint.is_deployed_on_azure or deployed.sku.lower() == DEVELOPER_TIER.lower():
        return told
    hosting = "unknown price" if price.hosting is None else f"US$ {price.hosting:g}"
    return f"{told}; and {hosting} an hour while it is deployed, asked or not"


def _removals(asked: Endpoint, deployed: StudentDeployment, domain: str) -> list[Removal]:
    name = shlex.quote(domain)
    found = []
    if deployed.is_hosted:
        found.append(Removal("the deployment, and what it costs; the model stays", f"raft teardown {name}"))
    elif asked.provider in ("embedded", "openai"):
        found.append(Removal("the model at its service, and nothing else", to_deletion(asked)))
    everything = "the student with everything that was made from the domain; the documents and the scores stay"
    return [*found, Removal(everything, f"raft purge {name} --students")]
