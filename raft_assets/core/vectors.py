"""What becomes of a text to embed: its vector, or the reason why it has none."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Vector = NDArray[np.float32]


@dataclass(frozen=True)
class NoVector:
    """A text that the service refuses to embed; `reason` is a sentence with the service's own words."""

    reason: str


Embedding = Vector | NoVector
