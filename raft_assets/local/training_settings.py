"""How adapters are trained by a server: what its environment sets, and what that says in a job's order."""

from dataclasses import dataclass
from typing import Any, Literal

LoraLayers = Literal["all", "upper_half"]
Quantisation = Literal["auto", "none", "nf4"]
MAX_LORA_RANK = 64  # of adapters that vLLM reserves room for


@dataclass(frozen=True)
class TrainingSettings:
    """How adapters are trained. Units: `max_length` in tokens of a row, None for what the model takes.

    `rank`, `alpha`: of LoRA (arXiv 2106.09685, section 4.1); `layers`: the linear layers of which blocks get an
    adapter; `quantisation`: of the base while it is trained on, where `auto` is nf4 if nothing else is expected to fit.
    """

    rank: int = 16
    alpha: int = 32
    layers: LoraLayers = "all"
    quantisation: Quantisation = "auto"
    dtype: Literal["auto", "float32", "bfloat16"] = "auto"
    max_length: int | None = None

    def as_order(self) -> dict[str, Any]:
        """Return the part of a job's `worker/job.json` that these settings determine."""
        return {
            "lora": {"rank": self.rank, "alpha": self.alpha, "layers": self.layers},
            "quantisation": self.quantisation,
            "dtype": self.dtype,
            "max_length": self.max_length,
        }
