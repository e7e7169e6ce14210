"""The presets that `raft run --preset` chose, where several machines share a lake: one choice for all of them.

The project reads them from a file of this machine (`Project.selected_presets`), which is brought in step here.
"""

import json
from collections.abc import Callable

from raft_assets.core.ports import VersionedRecord
from raft_assets.operations.process import records_of
from raft_assets.settings.project import Project
from raft_assets.storage.lake import Lake

RECORD = "presets"  # of the records: the chosen preset by domain

Presets = dict[str, str]


def take_presets(project: Project) -> None:
    """Take what was chosen on any machine; where nothing was yet, what was chosen here is from now on for all."""
    if Lake.of(project).is_local:
        return
    here, record = project.selected_presets(), VersionedRecord(records_of(project), RECORD)
    content = record.read()
    if content is None and here:
        record.change(lambda found: found or _dump(here))
        content = record.read()
    if content is not None and (chosen := _parse(content)) != here:
        project.replace_presets(chosen)


def choose_preset(project: Project, domain: str, preset: str) -> None:
    """Choose a domain's preset on all machines. Raises as `Project.select_preset` does."""
    take_presets(project)
    project.select_preset(domain, preset)
    _tell(project, lambda chosen: chosen | {domain: preset})


def clear_preset(project: Project, domain: str) -> None:
    """Delete the choice that was made for a domain, on all machines."""
    take_presets(project)
    project.clear_preset(domain)
    _tell(project, lambda chosen: {name: preset for name, preset in chosen.items() if name != domain})


def _tell(project: Project, change: Callable[[Presets], Presets]) -> None:
    if not Lake.of(project).is_local:
        record = VersionedRecord(records_of(project), RECORD)
        record.change(lambda found: _dump(change(_parse(found) if found else {})))


def _dump(presets: Presets) -> bytes:
    return json.dumps(presets, ensure_ascii=False, sort_keys=True).encode()


def _parse(content: bytes) -> Presets:
    return dict(json.loads(content))
