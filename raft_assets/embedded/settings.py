"""Where the embedded provider keeps what it makes, and where it looks for what it needs."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class EmbeddedSettings:
    """`folder` holds files, jobs and trained models; the encoder's weights are looked for in the other two."""

    folder: Path
    encoder_folder: Path | None
    huggingface_home: Path
