"""What the shell completes: names of domains, presets, assets and roles. Commands and options click completes itself.

Every Tab starts a new interpreter, so nothing of Dagster is imported here, and whatever is wrong completes nothing.
"""

import os
import re
from collections.abc import Iterable

import click
from click.shell_completion import CompletionItem

# the lineage in its order; a test compares it with the graph, which takes two seconds to build
ASSETS = (
    "source_documents",
    "chunks",
    "chunk_embeddings",
    "golden_questions",
    "qa_pairs",
    "qa_dataset",
    "baseline_answers",
    "training_files",
    "data_card",
    "finetuned_model",
    "deployment",
    "student_answers",
    "judged_answers",
    "eval_scores",
    "eval_report",
)
ROLES = ("TEACHER", "EMBEDDING", "BASELINE", "STUDENT", "JUDGE")
_TO_ESCAPE = re.compile(r"([^\w@%+=:,./-])")


def complete_domains(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Complete the name of a domain that isn't on the command line already."""
    from raft_assets.core.errors import RaftError
    from raft_assets.settings.domains import domain_names
    from raft_assets.settings.project import Project

    try:
        names = domain_names(Project.load().data)
    except (RaftError, OSError):
        return []
    given = context.params.get(parameter.name or "") or ()
    return _matches((name for name in names if isinstance(given, str) or name not in given), incomplete)


def complete_presets(_: click.Context, __: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Complete the name of a preset."""
    from raft_assets.core.errors import RaftError
    from raft_assets.settings.project import Project

    try:
        return _matches(Project.load().preset_names(), incomplete)
    except (RaftError, OSError):
        return []


def complete_assets(_: click.Context, __: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Complete the name of an asset."""
    return _matches(ASSETS, incomplete)


def complete_roles(_: click.Context, __: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Complete the name of a role."""
    return _matches(ROLES, incomplete)


def _matches(names: Iterable[str], incomplete: str) -> list[CompletionItem]:
    """Return the names that begin so; with backslashes before blanks in bash, which inserts words as they are.

    Two of them: click's script reads what it gets by `read` without `-r`, which takes one away.
    """
    is_bash = os.environ.get("_RAFT_COMPLETE", "").startswith("bash")
    return [
        CompletionItem(_TO_ESCAPE.sub(r"\\\\\1", name) if is_bash else name)
        for name in names
        if name.casefold().startswith(incomplete.casefold())
    ]
