"""A call's key in the store: a hash of everything that determines its answer, and of nothing else.

In the key, each because another value may bring another answer:

- `KEY_FORMAT`, so that a change of this module never matches old entries by accident;
- the service (address, or `embedded`) and the provider: two deployments of one name are two models;
- the resolved model: its name and its version (weights of the embedded provider, training hash of a fine-tuned model);
- the kind of call and the body as it was requested, whatever the order of its names;
- the sample index, which distinguishes several answers to one body.

Not in the key, because the answer doesn't depend on it: ids, paths and names of ours (renaming a document costs
nothing), the role (a teacher and a judge that are one model share answers), the API key and API version, and what
`attempts` changes in a body that a model doesn't accept as it is.
"""

import hashlib
import json
import uuid
from collections.abc import Mapping
from typing import Any

from raft_assets.core.identity import digest
from raft_assets.llm.requests import Request
from raft_assets.settings.endpoints import Endpoint

KEY_FORMAT = 1
EMBEDDING = "embedding"
TRAINING_KIND = "training"  # a fine-tuning job, which is paid as well
BATCH_SUFFIX = ", batch"  # after the kind of a call that was made in a batch


def call_key(endpoint: Endpoint, request: Request, *, model: str, model_version: str) -> str:
    """Return the key of a chat or completion call, 64 hex digits."""
    return _hash_call(endpoint, (model, model_version), request.kind, request.body, request.sample)


def embedding_key(endpoint: Endpoint, text: str, *, model: str, model_version: str) -> str:
    """Return the key of one text's vector; which texts shared its call doesn't count."""
    return _hash_call(endpoint, (model, model_version), EMBEDDING, {"input": text}, 0)


def truncated_key(key: str) -> str:
    """Return the key of an answer that a batch cut off.

    It is paid, and the call is to be made again with more tokens.
    """
    return digest("cut off", key)


def unusable_key(batch: str, key: str) -> str:
    """Return the key of what a line of a batch cost whose answer can't be used; read again, the line has the same."""
    return digest("unusable", batch, key)


def lost_key() -> str:
    """Return a key for what was paid for a call that brought no answer; no other is like it, so no request finds it."""
    return digest("lost", uuid.uuid4().hex)


def training_key(service: str, job: str) -> str:
    """Return the key of a fine-tuning job."""
    return digest(TRAINING_KIND, service, job)


def canonical(value: Any) -> str:
    """Return the value as JSON in one spelling: names sorted, no white space, whole numbers without a fraction.

    Raises ValueError for NaN and infinity.
    """
    return json.dumps(_canonicalize(value), sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def _hash_call(endpoint: Endpoint, resolved: tuple[str, str], kind: str, body: Mapping[str, Any], sample: int) -> str:
    named = {
        "format": KEY_FORMAT,
        "service": endpoint.service,
        "provider": endpoint.provider,
        "model": resolved[0],
        "model_version": resolved[1],
        "kind": kind,
        "body": body,
        "sample": sample,
    }
    return hashlib.sha256(canonical(named).encode("utf-8", "surrogatepass")).hexdigest()


def _canonicalize(value: Any) -> Any:
    """Return the value such that 0.0 equals 0, a tuple is a list, and any mapping is an object."""
    if isinstance(value, Mapping):
        return {str(name): _canonicalize(inner) for name, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [_canonicalize(inner) for inner in value]
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return value
