"""How a person asks a student: address, name, price, examples that can be copied, and how to remove it.

What belongs here: what can be said without calling anything. No key is ever part of it: examples name the variable that
holds it, or sign in.
"""

import json
import shlex
from dataclasses import dataclass
from typing import Any

from raft_assets.core.addresses import SERVE_PORT
from raft_assets.llm.azure_sign_in import AZURE_SCOPE, FOUNDRY_SCOPE
from raft_assets.llm.clients import azure_v1
from raft_assets.llm.prices import Price
from raft_assets.llm.requests import Request
from raft_assets.settings.endpoints import DEVELOPER_TIER, Endpoint
from raft_assets.settings.prices import PRICES_FILE
from raft_assets.student.deployment import StudentDeployment

KEY_VARIABLE = "STUDENT_API_KEY"  # in which the examples expect a key


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


def describe_use(
    endpoint: Endpoint, deployed: StudentDeployment, request: Request, price: Price, *, domain: str, answer: str
) -> StudentUse:
    """Return how to ask the deployed student of a domain.

    `endpoint` is that of the role STUDENT, `request` the smoke test's, to which the student replied `answer`.
    """
    address = _address(endpoint, deployed)
    path = "chat/completions" if request.kind == "chat" else "completions"
    sign_in = _sign_in(endpoint, deployed)
    return StudentUse(
        address=address,
        model=deployed.name,
        before=_first_step(endpoint, deployed),
        price=_describe_price(endpoint, deployed, price),
        curl=_curl(f"{address}/{path}", sign_in.header, {"model": deployed.name, **request.body}),
        python=_python(address, sign_in, path.replace("/", "."), deployed.name, request),
        answer=answer,
        removal=tuple(_removals(endpoint, deployed, address, sign_in, domain)),
    )


@dataclass(frozen=True)
class _SignIn:
    """A header for curl, and the lines and the value by which the Python client signs in."""

    header: str
    imports: str
    key: str


def _sign_in(endpoint: Endpoint, deployed: StudentDeployment) -> _SignIn:
    if endpoint.is_azure_openai and endpoint.api_key is None:
        scope = FOUNDRY_SCOPE if endpoint.is_foundry_project else AZURE_SCOPE
        token = f"az account get-access-token --scope {scope} --query accessToken --output tsv"
        return _SignIn(
            f"Authorization: Bearer $({token})",
            "from azure.identity import DefaultAzureCredential, get_bearer_token_provider\n",
            f"get_bearer_token_provider(DefaultAzureCredential(), {json.dumps(scope)})",
        )
    if endpoint.is_azure_openai:
        return _SignIn(f"api-key: ${KEY_VARIABLE}", "import os\n\n", f'os.environ["{KEY_VARIABLE}"]')
    if endpoint.api_key is None and not (endpoint.provider == "azureml" and deployed.is_hosted):
        return _SignIn("", "", '"none"')
    return _SignIn(f"Authorization: Bearer ${KEY_VARIABLE}", "import os\n\n", f'os.environ["{KEY_VARIABLE}"]')


def _address(endpoint: Endpoint, deployed: StudentDeployment) -> str:
    if endpoint.provider == "embedded":
        return f"http://127.0.0.1:{SERVE_PORT}/v1"
    if endpoint.is_azure_openai:
        return azure_v1(deployed.service).rstrip("/")
    return deployed.service.rstrip("/")


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


def _curl(url: str, header: str, body: dict[str, Any]) -> str:
    head = f"curl {shlex.quote(url)} -H 'Content-Type: application/json'" + (f' \\\n  -H "{header}"' if header else "")
    text = json.dumps(body, ensure_ascii=False, indent=1)
    return f"{head} --data-binary @- <<'JSON'\n{text}\nJSON"


def _python(address: str, sign_in: _SignIn, method: str, model: str, request: Request) -> str:
    arguments = {"model": model, **request.body}
    given = "".join(
        f"    {name}={json.dumps(value, ensure_ascii=False, indent=4).replace(chr(10), chr(10) + '    ')},\n"
        for name, value in arguments.items()
    )
    shown = "message.content" if request.kind == "chat" else "text"
    return (
        f"{sign_in.imports}from openai import OpenAI\n\n"
        f"client = OpenAI(base_url={json.dumps(address)}, api_key={sign_in.key})\n"
        f"reply = client.{method}.create(\n{given})\nprint(reply.choices[0].{shown})"
    )


def _removals(
    endpoint: Endpoint, deployed: StudentDeployment, address: str, sign_in: _SignIn, domain: str
) -> list[Removal]:
    name = shlex.quote(domain)
    found = []
    if deployed.is_hosted:
        found.append(Removal("the deployment, and what it costs; the model stays", f"raft teardown {name}"))
    elif endpoint.provider in ("embedded", "openai"):
        header = f' -H "{sign_in.header}"' if sign_in.header else ""
        command = f"curl -X DELETE{header} {shlex.quote(f'{address}/models/{deployed.model}')}"
        found.append(Removal("the model at its service, and nothing else", command))
    everything = "the student with everything that was made from the domain; the documents and the scores stay"
    return [*found, Removal(everything, f"raft purge {name} --students")]
