"""Whether a student with completion prompts is shown worked examples, decided once per domain.

A base model goes on with a text; without examples it goes on with the instructions. Domains whose rows were written or
answered without them (by versions before 0.3.0) go on without: their training files and answers stay as they are.
"""

import json
from itertools import islice

from raft_assets.core.tables import ANSWERS
from raft_assets.llm.completion_form import COMPLETION
from raft_assets.settings.domain import DomainSettings
from raft_assets.settings.project import Project
from raft_assets.storage.call_store import open_call_store
from raft_assets.storage.lake import Lake

RECORD = "student_form"  # of the lake
CHECKED_ANSWERS = 50  # the first ones may have failed, and then no call is stored


def resolve_student_form(project: Project, lake: Lake, domain: str, *, keep: bool = True) -> DomainSettings:
    """Return the domain's settings with `student.examples` resolved; `keep`: write down what auto has come to."""
    settings = project.settings(domain).values
    if settings.student.format != "completion" or settings.student.examples != "auto":
        return settings
    if lake.exists(RECORD, domain, ".json"):
        has_examples = bool(lake.read_record(RECORD, domain)["examples"])
    else:
        has_examples = not (_trained_without(lake, domain) or _answered_without(project, lake, domain))
        if keep:
            lake.write_record(RECORD, domain, {"examples": has_examples})
    student = settings.student.model_copy(update={"examples": "always" if has_examples else "never"})
    return settings.model_copy(update={"student": student})


def _trained_without(lake: Lake, domain: str) -> bool:
    """Return whether the domain has training files with completion prompts."""
    first, _, _ = lake.read_lines("training_files", domain, "train.jsonl").partition(b"\n")
    return bool(first) and "prompt" in json.loads(first.decode("utf-8-sig"))


def _answered_without(project: Project, lake: Lake, domain: str) -> bool:
    """Return whether a model answered the domain's questions by completion prompts of this form."""
    for model in ANSWERS.values():
        if lake.exists(model.table, domain):
            keys = [row.call for row in islice(lake.rows(model, domain), CHECKED_ANSWERS)]
            with open_call_store(project) as store:
                if any(call.kind == COMPLETION for call in store.get(keys).values()):
                    return True
    return False
