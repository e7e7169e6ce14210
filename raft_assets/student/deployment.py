"""Where a fine-tuned student answers, and the proof that it does.

With OpenAI and the embedded provider the model's id is its deployment; Azure's deploy step stands behind the same
record.
"""

from dataclasses import dataclass

from raft_assets.calls.engine import Caller
from raft_assets.calls.requests import Answer, Request
from raft_assets.errors import EndpointError
from raft_assets.raft.contract import parse_answer
from raft_assets.raft.prompting import answer_request
from raft_assets.settings import StudentSettings

SMOKE_QUESTION = "In which year was the lighthouse on Gull Point built?"
SMOKE_DOCUMENT = "The lighthouse on Gull Point was built in 1871. Its keeper lived in the tower with two assistants."


@dataclass(frozen=True)
class SmokeTest:
    """What the deployed student said to a question that any reader of the contract can answer."""

    question: str
    answer: str
    well_formed: bool


def smoke_test(
    caller: Caller, settings: StudentSettings, max_tokens: int, instructions: str | None = None
) -> SmokeTest:
    """Asks the student one question; raises EndpointError where nothing comes back."""
    request: Request = answer_request(SMOKE_QUESTION, [SMOKE_DOCUMENT], settings.format, max_tokens, instructions)
    answer: Answer = next(iter(caller.ask([request])))
    if answer.status != "ok":
        raise EndpointError(
            f"The deployed student doesn't answer: {answer.status} ({answer.detail}). "
            f"Materialize deployment again, or look at `raft doctor`."
        )
    return SmokeTest(SMOKE_QUESTION, answer.text, parse_answer(answer.text).well_formed)
