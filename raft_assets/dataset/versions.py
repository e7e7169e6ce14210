"""The versions of the code that makes a dataset, by subject; a data card and a manifest name them."""

from collections.abc import Mapping
from importlib.metadata import version
from types import MappingProxyType

from raft_assets.core.prompt_contract import (
    CONTRACT_VERSION,
    FIRST_INSTRUCTION_HASHES,
    english_instruction_hashes,
    instruction_hashes,
)
from raft_assets.dataset.formats import FORMATS_VERSION
from raft_assets.dataset.golden import GOLDEN_VERSION
from raft_assets.dataset.rows import DATASET_VERSION
from raft_assets.documents.chunking import CHUNKING_VERSION
from raft_assets.documents.reading import READING_VERSION
from raft_assets.pairs.gates import GATES_VERSION
from raft_assets.pairs.judge import judge_prompts
from raft_assets.pairs.questions import QUESTIONS_VERSION, question_prompts
from raft_assets.settings.domain import DomainSettings, QuestionSettings

CODE_VERSIONS: Mapping[str, str] = MappingProxyType(
    {
        "reading": READING_VERSION,
        "chunking": CHUNKING_VERSION,
        "golden_questions": GOLDEN_VERSION,
        "questions": QUESTIONS_VERSION,
        "contract": CONTRACT_VERSION,
        "gates": GATES_VERSION,
        "dataset": DATASET_VERSION,
        "formats": FORMATS_VERSION,
    }
)
# what a manifest of a version that kept no hashes of instructions was made with
FIRST_INSTRUCTIONS: Mapping[str, str] = MappingProxyType(
    {f"prompt {name}": value for name, value in FIRST_INSTRUCTION_HASHES.items()}
)
# packages of others that decide what is read from a file and how it is split and counted
_PACKAGES = ("raft-assets", "bpe-openai", "mammoth", "numpy", "py3langid", "pypdfium2", "selectolax", "sentencex")


def package_versions() -> dict[str, str]:
    """Return the installed versions of the packages that a dataset may depend on."""
    return {name: version(name) for name in _PACKAGES}


def prompt_versions(settings: QuestionSettings, *, judged: bool) -> dict[str, str]:
    """Return the versions of the prompt files of question pairs; the judge's if there is one."""
    used = question_prompts(settings) | (judge_prompts() if judged else {})
    return {f"prompt {name}": version for name, version in used.items()}


def contract_prompts(settings: DomainSettings, *, asks_in_text: bool) -> dict[str, dict[str, str]]:
    """Return the hashes of the contract's instructions that a domain is made with, by group of settings.

    `asks_in_text`: the teacher can't be asked for answers in parts.
    """
    hashes = {f"prompt {name}": value for name, value in english_instruction_hashes().items()}
    used = {
        "prompt": ("prompt contract", settings.prompt.instructions is None),
        "questions": ("prompt contract_structured", not asks_in_text),
        "evaluation": ("prompt contract_closed_book", "closed_book" in settings.evaluation.arms),
    }
    return {group: {name: hashes[name]} for group, (name, is_used) in used.items() if is_used}


def other_language_prompts() -> dict[str, str]:
    """Return the hash of the contract's instructions in other languages than English, which are the code's alone."""
    name = "contract_other_languages"
    return {f"prompt {name}": instruction_hashes()[name]}


def changed_prompts(prompts: Mapping[str, str]) -> dict[str, str]:
    """Return the hashes of instructions without those that everything was made with before hashes were kept."""
    return {name: value for name, value in prompts.items() if FIRST_INSTRUCTIONS[name] != value}
