"""Deployments of fine-tuned students on Azure, for any hosting service: find, wait for, tear down and verify.

Deployments that raft-assets makes carry tags: the domain, the hash of what the student was trained on, and when it
expires. So any machine with access finds them, whoever made them, and nothing else is ever touched. How a service
creates, names and deletes one is in `azure_openai` and `azure_ml`.
"""

import re
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from raft_assets.core.errors import EndpointError
from raft_assets.llm.answers import abbreviate

DOMAIN_TAG, HASH_TAG, EXPIRES_TAG = "raft-domain", "raft-training-hash", "raft-expires"
INITIAL_POLL_S, MAX_POLL_S = 1.0, 30.0
READY_TIMEOUT_S = 3600
DELETE_TIMEOUT_S = 600
SUCCEEDED_STATE = "Succeeded"
FAILED_STATES = ("Failed", "Canceled", "Disabled")
_INVALID_CHARACTERS = re.compile(r"[^a-zA-Z0-9-]+")

OnEvent = Callable[[str], None]


@dataclass(frozen=True)
class HostedDeployment:
    """A deployment as Azure reports it; `model` is the fine-tuned model's id, `expires` is None for never."""

    name: str
    model: str
    state: str
    sku: str
    capacity: int
    domain: str
    training_hash: str
    created: datetime | None
    expires: datetime | None
    address: str = ""  # where it answers, if not where the student's base model does

    def is_expired(self, now: datetime) -> bool:
        """Return whether it is past its expiry."""
        return self.expires is not None and self.expires <= now


class HostingService(ABC):
    """The deployments or endpoints of one service. Every method raises EndpointError with its reason and what to do.

    `kind` is what the service calls one, `portal` is where a person finds it.
    """

    kind: str
    portal: str

    @abstractmethod
    def check_permission(self) -> str:
        """Return a sentence if the current sign-in may deploy, and raise otherwise."""

    @abstractmethod
    def find(self, name: str) -> HostedDeployment | None:
        """Return the deployment of that name, or None."""

    @abstractmethod
    def all(self) -> list[HostedDeployment]:
        """Return every deployment that raft-assets made."""

    @abstractmethod
    def deploy(
        self, domain: str, model: str, training_hash: str, *, on_event: OnEvent, now: datetime
    ) -> HostedDeployment:
        """Deploy this model for the domain, reusing the deployment if it already serves the model."""

    @abstractmethod
    def close(self) -> None:
        """Close the connections."""

    @abstractmethod
    def _begin_delete(self, name: str) -> None:
        """Ask the service to delete the deployment, without waiting."""

    def delete(self, name: str) -> None:
        """Delete a deployment and verify that it is gone; a missing one is not an error."""
        if self.find(name) is None:
            return
        self._begin_delete(name)
        for _ in poll_until(DELETE_TIMEOUT_S):
            if self.find(name) is None:
                return
        raise EndpointError(f"The {self.kind} {name} is still there {DELETE_TIMEOUT_S} s after it was deleted.")

    def delete_expired(self, now: datetime) -> list[str]:
        """Delete the deployments past their expiry and return their names."""
        expired = [hosted.name for hosted in self.all() if hosted.is_expired(now)]
        for name in expired:
            self.delete(name)
        return expired

    def _wait_until_ready(self, name: str, on_event: OnEvent) -> HostedDeployment:
        """Poll the service until the deployment is ready, so that any later process can continue to wait."""
        state = ""
        for _ in poll_until(READY_TIMEOUT_S):
            deployment = self.find(name)
            if deployment is None:
                raise EndpointError(
                    f"The {self.kind} {name} disappeared while it was being created. Materialize deployment again."
                )
            if deployment.state != state:
                on_event(f"{self.kind} {name}: {deployment.state}")
            state = deployment.state
            if state == SUCCEEDED_STATE:
                return deployment
            if state in FAILED_STATES:
                raise EndpointError(
                    f"The {self.kind} {name} of {deployment.model} ended as {state}. Inspect it in {self.portal}, and "
                    "materialize deployment again."
                )
        raise EndpointError(
            f"The {self.kind} {name} is still {state} after {READY_TIMEOUT_S // 60} min. Materialize deployment again: "
            "it is found again."
        )


def build_tags(domain: str, training_hash: str, *, hours: int | None, now: datetime) -> dict[str, str]:
    """Return the tags of a deployment; `hours` is its lifetime, None for no end."""
    expires = {EXPIRES_TAG: (now + timedelta(hours=hours)).isoformat(timespec="seconds")} if hours else {}
    return {DOMAIN_TAG: domain, HASH_TAG: training_hash} | expires


def fields_from_tags(tags: Mapping[str, str] | None, system_data: Any) -> dict[str, Any]:
    """Return the fields of `HostedDeployment` that tags and Azure's record of a resource contain."""
    known = tags or {}
    return {
        "domain": known.get(DOMAIN_TAG, ""),
        "training_hash": known.get(HASH_TAG, ""),
        "expires": datetime.fromisoformat(known[EXPIRES_TAG]) if EXPIRES_TAG in known else None,
        "created": system_data.created_at if system_data else None,
    }


def error_code_and_message(error: Any) -> tuple[str, str]:
    """Return code and message of an HttpResponseError of Azure's libraries, which may have neither."""
    code = (error.error.code if error.error else None) or f"status {error.status_code}"
    message = (error.error.message if error.error else None) or error.reason or ""
    return str(code), abbreviate(str(message)).rstrip(".")


def slug(text: str) -> str:
    """Return the letters, digits and hyphens of a text in lower case."""
    return _INVALID_CHARACTERS.sub("-", text.lower()).strip("-")


def poll_until(within_s: float) -> Iterator[None]:
    """Yield at once, then after growing pauses until the time is up."""
    deadline, pause = time.monotonic() + within_s, INITIAL_POLL_S
    yield
    while time.monotonic() < deadline:
        time.sleep(pause)
        pause = min(pause * 1.5, MAX_POLL_S)
        yield
