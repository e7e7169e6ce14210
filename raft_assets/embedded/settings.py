"""Where the embedded provider keeps what it makes, and where it finds what it needs."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class EmbeddedSettings:
    """`folder` contains files, jobs and trained models; the encoder's weights are looked up in the other two."""

    folder: Path
    encoder_folder: Path | None
    huggingface_home: Path
