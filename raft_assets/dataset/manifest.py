"""What a dataset was made of, exactly: the manifest from which the same rows are built again.

What belongs here: the record, and the differences between two of them in sentences. Running belongs in
`operations/rebuild`.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    SerializerFunctionWrapHandler,
    ValidationError,
    field_validator,
    model_serializer,
)

from raft_assets.core.errors import DataError
from raft_assets.dataset.versions import FIRST_INSTRUCTIONS

MAX_LISTED = 20  # differences of a kind that are named one by one


class DatasetInputs(BaseModel):
    """Everything that determines the rows of a domain's dataset, except for its register of splits."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    files: dict[str, str]  # path relative to the domain, documents and reserved files, to SHA-256
    settings: dict[str, Any]  # by group
    versions: dict[str, str]  # of this product's code
    models: dict[str, str]  # role to service, model and version
    packages: dict[str, str]  # of other packages; another version may give the same rows
    pair_form: dict[str, Any] = {}  # what differs from the form of pairs of versions before 0.3.0
    chunk_form: dict[str, Any] = {}  # what differs from versions before 0.3.0, which divided all sections evenly
    renamed: list[dict[str, Any]] = []  # documents whose id doesn't follow from their path alone

    @model_serializer(mode="wrap")
    def _leave_out_what_is_usual(self, dump: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Leave out what earlier versions didn't have where it says nothing: such a manifest stays as it was."""
        content: dict[str, Any] = dump(self)
        for name in ("pair_form", "chunk_form", "renamed"):
            if not getattr(self, name):
                content.pop(name, None)
        return content


class Manifest(DatasetInputs):
    """Inputs and result. `splits` is the lake's record of that name, `digests` table to the digest of its rows."""

    version: Literal[1] = 1
    domain: str
    splits: dict[str, Any]
    digests: dict[str, str]

    @field_validator("digests")
    @classmethod
    def _names_the_rows(cls, digests: dict[str, str]) -> dict[str, str]:
        if "qa_dataset" not in digests:
            raise ValueError("the digest of qa_dataset is missing")
        return digests


def read_manifest(file: Path) -> Manifest:
    """Read a manifest. Raises DataError with file and field."""
    try:
        return Manifest.model_validate_json(file.read_bytes())
    except ValidationError as error:
        problem = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(part) for part in problem["loc"])
        raise DataError(
            f"{file}{f', field {where}' if where else ''}: {problem['msg']}. Name the manifest.json of an export or "
            "of the lake's data_card."
        ) from error


def file_differences(manifest: DatasetInputs, here: DatasetInputs) -> list[str]:
    """Return the differences between the files, in sentences."""
    return _truncate(
        f"{path} is missing here."
        if path not in here.files
        else f"{path} is not in the manifest."
        if path not in manifest.files
        else f"{path} has different content."
        for path in sorted(manifest.files.keys() | here.files.keys())
        if manifest.files.get(path) != here.files.get(path)
    )


def setting_differences(manifest: DatasetInputs, here: DatasetInputs) -> list[str]:
    """Return the differences between the settings, in sentences."""
    return _truncate(_differences(dict(_flatten(manifest.settings)), dict(_flatten(here.settings)), "The setting "))


def version_differences(manifest: DatasetInputs, here: DatasetInputs) -> list[str]:
    """Return the differences between the versions of the code, the instructions and the models, in sentences.

    A manifest that names no hash of instructions was made with the first ones.
    """
    first = {name: value for name, value in FIRST_INSTRUCTIONS.items() if name in here.versions}
    return _truncate(
        sentence
        for mine, theirs, kind in (
            (first | manifest.versions, here.versions, "The version of "),
            (manifest.models, here.models, "The model of "),
        )
        for sentence in _differences(mine, theirs, kind)
    )


def package_differences(manifest: DatasetInputs, here: DatasetInputs) -> list[str]:
    """Return the differences between the installed packages, in sentences."""
    return _truncate(_differences(manifest.packages, here.packages, "The package "))


def _differences(mine: Mapping[str, Any], here: Mapping[str, Any], kind: str) -> Iterator[str]:
    for name in sorted(mine.keys() | here.keys()):
        if mine.get(name) != here.get(name):
            yield f"{kind}{name} is {_format_value(here, name)} here and {_format_value(mine, name)} in the manifest."


def _format_value(values: Mapping[str, Any], name: str) -> str:
    return repr(values[name]) if name in values else "absent"


def _truncate(sentences: Iterator[str]) -> list[str]:
    listed = list(sentences)
    if len(listed) <= MAX_LISTED:
        return listed
    return [*listed[:MAX_LISTED], f"{len(listed) - MAX_LISTED} more differences."]


def _flatten(settings: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in settings.items():
        if isinstance(value, Mapping):
            yield from _flatten(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value
