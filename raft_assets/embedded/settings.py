"""Where the embedded provider keeps what it makes, and where it finds what it needs."""

import re
from dataclasses import dataclass
from pathlib import Path

from raft_assets.core.ports import SharedFiles
from raft_assets.provider.unshared import UNSHARED

# of the folder: what other machines have as well, when they share it
SHARED_NAMES = re.compile(
    r"blobs/[0-9a-f]{64}|files/file-[0-9a-f]{24}\.json|models/[0-9a-f]+/(?:[^/.]+/)?[^/]+"
    r"|jobs/ftjob-[0-9a-f]{24}/(?:job\.json|events\.jsonl)|batches/batch_[0-9a-f]{24}\.json"
)


@dataclass(frozen=True)
class EmbeddedSettings:
    """`folder` contains files, jobs and trained models; the encoder's weights are looked up in the other two.

    `shared`: what other machines have of such a folder.
    """

    folder: Path
    encoder_folder: Path | None
    huggingface_home: Path
    shared: SharedFiles = UNSHARED
