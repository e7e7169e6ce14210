"""How often a service will pass over a training file, for estimates and for the cost that a person approves."""

from raft_assets.operations.model_clients import ModelClients
from raft_assets.settings.domain import TrainingSettings
from raft_assets.settings.domains import domain_names
from raft_assets.settings.endpoints import Role
from raft_assets.storage.lake import Lake

LEARNED_EPOCHS = 1.1  # what the same service may choose for another file, as a factor
EMBEDDED_EPOCHS = 8  # of the embedded reader


def known_epochs(models: ModelClients, settings: TrainingSettings) -> tuple[float, float] | None:
    """Return how often the training file is passed over, at least and at most; None where that depends on its rows.

    Where the service chooses, it is what it chose for the project's students of the same base model; the embedded
    reader always chooses the same.
    """
    student = models.endpoints[Role.STUDENT]
    epochs = settings.n_epochs
    if epochs == "auto" and student.is_embedded_model:
        epochs = EMBEDDED_EPOCHS
    if epochs != "auto":
        return epochs, epochs
    lake, seen = Lake.of(models.project), list[float]()
    for domain in domain_names(models.project.data):
        if not all(lake.exists(name, domain, ".json") for name in ("finetuned_model", "training_files")):
            continue
        job, files = lake.read_record("finetuned_model", domain), lake.read_record("training_files", domain)
        if job["base_model"] == student.model and job["trained_tokens"] and files["train"]["tokens"]:
            seen.append(job["trained_tokens"] / files["train"]["tokens"])
    return (min(seen) / LEARNED_EPOCHS, max(seen) * LEARNED_EPOCHS) if seen else None


def are_epochs_chosen(models: ModelClients, settings: TrainingSettings) -> bool:
    """Return whether the service chooses the epochs, so that what is known of them is an expectation."""
    return settings.n_epochs == "auto" and not models.endpoints[Role.STUDENT].is_embedded_model
