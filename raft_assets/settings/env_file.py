"""`.env` and `.env.state`, read strictly: a line that counts for nothing may be the one with the budget."""

import io
import os
from collections.abc import Iterable
from difflib import get_close_matches
from pathlib import Path

import dotenv
from dotenv.parser import parse_stream

from raft_assets.core.errors import SettingsError

PREFIX = "RAFT_"
ALIKE = 0.85  # of 1: a slip of the keyboard; names of others that begin like ours are less alike
_NAMES = """
    ACCEPT_LICENCE ACCEPT_MODEL ACCOUNT_ENDPOINT ACCOUNT_ID ACCOUNT_NAME APPROVE AUTH_CLIENT_ID BUDGET BUDGET_MONTH
    BUDGET_RUN CALLS CLASSIC COORDINATION COORDINATION_PASSWORD COORDINATION_PASSWORD_FILE DATA DEPLOYMENTS
    ENCODER_DIR ENDS_UNUSED ENGINE_KEY EXISTING_ACCOUNT EXISTING_GROUP HOME HOSTED HOSTED_TOKEN HOSTED_TOKEN_FILE
    HOSTED_URL IP_RANGES JOB_WAIT_MINUTES LAKE LAKE_ON_AZURE LLAMA_CPP LOCAL_GPU_PERCENT LOCAL_PYTHON LOCAL_WORKER
    LORA_ALPHA LORA_LAYERS LORA_QUANTISATION LORA_RANK MAX_CONCURRENT_RUNS MLFLOW_ARTIFACTS MLFLOW_TRACKING_URI
    MODEL_KEY MONITORING POOL_BASELINE POOL_EMBEDDING POOL_JUDGE POOL_STUDENT POOL_TEACHER PRESET PRESETS PROJECT
    PROVIDER REDEPLOY RESTORE_ACCOUNT SERVE_KEY SQL_MEMORY_GB SQL_TIMEOUT_S STORAGE_ACCOUNT STUDENT
"""
VARIABLES = frozenset(f"{PREFIX}{name}" for name in _NAMES.split())


def read_env_file(file: Path) -> dict[str, str]:
    """Return the variables of a file that are not empty; nothing where there is no file.

    Raises SettingsError for what can't be read, with file and line.
    """
    if not os.path.lexists(file):
        return {}
    try:
        text = file.read_text("utf-8-sig")
    except UnicodeDecodeError as error:
        raise SettingsError(f"{file} is not UTF-8 at byte {error.start}: save it as UTF-8.") from error
    except OSError as error:
        raise SettingsError(f"{file} can't be read ({error.strerror}).") from error
    for binding in parse_stream(io.StringIO(text)):
        if binding.error:
            written = binding.original.string
            blank_lines = written[: len(written) - len(written.lstrip())].count("\n")
            raise SettingsError(
                f"{file}, line {binding.original.line + blank_lines} can't be read: a variable is written NAME=value, "
                "and a comment begins with #."
            )
    return {name: value for name, value in dotenv.dotenv_values(stream=io.StringIO(text)).items() if value}


def check_names(names: Iterable[str]) -> None:
    """Raise SettingsError for a name that nothing reads and that is nearly one of this product's.

    What it was to set, such as a budget, would otherwise not be set, and nobody would hear of it.
    """
    for name in names:
        if name.startswith(PREFIX) and name not in VARIABLES:
            for meant in get_close_matches(name, VARIABLES, n=1, cutoff=ALIKE):
                raise SettingsError(f"{name} is set, and nothing reads it. Did you mean {meant}?")
