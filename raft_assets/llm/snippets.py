"""A request as a curl command and as a Python script, for whoever asks a model without this product.

They hold no key: an environment variable stands in its place. Texts are in them as JSON and as Python literals, in
which no character ends a string, a line or the direction of the text.
"""

import json
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pprint import pformat
from typing import Any

from raft_assets.core.addresses import SERVE_PORT
from raft_assets.core.terminal import escape_control_characters
from raft_assets.llm.azure_sign_in import AZURE_SCOPE, FOUNDRY_SCOPE
from raft_assets.llm.clients import azure_address
from raft_assets.settings.endpoints import Endpoint

KEY_VARIABLE = "RAFT_MODEL_KEY"
SERVED_URL = f"http://127.0.0.1:{SERVE_PORT}/v1"  # of the embedded provider, by `raft serve`
PYTHON_WIDTH = 110  # characters
_PATHS = {"chat": "chat/completions", "completion": "completions"}
_END_OF_BODY = "END_OF_REQUEST"  # no line of JSON is this


@dataclass(frozen=True)
class _Target:
    """Where a model answers: address of the API, its version on Azure's dated one, and how the sender shows who it is.

    `scope`: of the tokens that Azure is signed in for where there is no key; empty elsewhere.
    """

    base_url: str
    api_version: str
    needs_key: bool
    scope: str

    @classmethod
    def of(cls, endpoint: Endpoint) -> "_Target":
        if endpoint.provider == "embedded":
            return cls(SERVED_URL, "", needs_key=False, scope="")
        if not endpoint.is_azure_openai:
            return cls(endpoint.service, "", needs_key=endpoint.api_key is not None, scope="")
        is_dated = bool(endpoint.api_version)
        scope = FOUNDRY_SCOPE if endpoint.is_foundry_project and not is_dated else AZURE_SCOPE
        address = endpoint.azure_resource if is_dated else azure_address(endpoint).rstrip("/")
        return cls(address, endpoint.api_version or "", needs_key=True, scope="" if endpoint.api_key else scope)


def shown_address(endpoint: Endpoint) -> str:
    """Return the address under which a program of one's own asks an endpoint."""
    return _Target.of(endpoint).base_url


def to_deletion(endpoint: Endpoint) -> str:
    """Return a command for a POSIX shell that deletes the endpoint's model at its service."""
    target = _Target.of(endpoint)
    header = f' -H "Authorization: Bearer ${KEY_VARIABLE}"' if target.needs_key else ""
    return f"curl -sS -X DELETE{header} {shlex.quote(f'{target.base_url}/models/{endpoint.model}')}"


def to_curl(endpoint: Endpoint, kind: str, body: Mapping[str, Any]) -> str:
    """Return the request of a body, as the model takes it, as a command for a POSIX shell."""
    target = _Target.of(endpoint)
    url = f"{target.base_url}/{_PATHS[kind]}"
    if target.api_version:
        url = f"{target.base_url}/openai/deployments/{endpoint.model}/{_PATHS[kind]}?api-version={target.api_version}"
    header = "api-key: " if target.api_version and not target.scope else "Authorization: Bearer "
    lines = [
        *_preparations(endpoint, target),
        f"curl -sS {shlex.quote(url)} \\",
        "  -H 'Content-Type: application/json' \\",
    ]
    if target.needs_key:
        lines.append(f'  -H "{header}${KEY_VARIABLE}" \\')
    shown = json.dumps({"model": endpoint.model, **body}, ensure_ascii=False, indent=1)
    return "\n".join([*lines, f"  --data-binary @- <<'{_END_OF_BODY}'", escape_control_characters(shown), _END_OF_BODY])


def to_python(endpoint: Endpoint, kind: str, body: Mapping[str, Any]) -> str:
    """Return the same request as a script for the package `openai`."""
    target = _Target.of(endpoint)
    key = f'os.environ["{KEY_VARIABLE}"]' if target.needs_key else '"none"'
    azure = {"azure_endpoint": repr(target.base_url), "api_version": repr(target.api_version)}
    signed_in = {"azure_ad_token": key} if target.scope else {"api_key": key}
    given = {**azure, **signed_in} if target.api_version else {"base_url": repr(target.base_url), "api_key": key}
    client = "AzureOpenAI" if target.api_version else "OpenAI"
    call, text = ("chat.completions", "message.content") if kind == "chat" else ("completions", "text")
    shown = pformat({"model": endpoint.model, **body}, width=PYTHON_WIDTH, sort_dicts=False)
    return "\n".join(
        [
            *_preparations(endpoint, target),
            *(["import os", ""] if target.needs_key else []),
            "import openai",
            "",
            f"client = openai.{client}({', '.join(f'{name}={value}' for name, value in given.items())})",
            f"request = {shown}",
            f"answer = client.{call}.create(**request)",
            f"print(answer.choices[0].{text})",
        ]
    )


def _preparations(endpoint: Endpoint, target: _Target) -> list[str]:
    """Return comments, alike in shell and Python, that say what has to be there first."""
    if endpoint.provider == "embedded":
        return ["# first, in another shell: raft serve"]
    if target.scope:
        signed_in = f"az account get-access-token --scope {target.scope} --query accessToken -o tsv"
        return [f'# first, in a shell: export {KEY_VARIABLE}="$({signed_in})"']
    return (
        [f"# first, in a shell: export {KEY_VARIABLE}=... (the key of {endpoint.service})"] if target.needs_key else []
    )
