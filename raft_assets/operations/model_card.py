"""Writing the model card of a domain's student into the lake, with what is known of it at the moment."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from raft_assets.core.errors import DataError
from raft_assets.core.languages import ENGLISH
from raft_assets.core.tables import RaftRow
from raft_assets.dataset.card_head import README
from raft_assets.evaluation.model_card import StudentCard, StudentEvaluation, TrainingRows, render_model_card
from raft_assets.operations.data_links import data_links
from raft_assets.operations.deploying import deployed_student
from raft_assets.operations.model_clients import ModelClients
from raft_assets.settings.endpoints import Role
from raft_assets.storage.lake import Lake
from raft_assets.storage.results import ResultsStore
from raft_assets.student.deployment import StudentDeployment
from raft_assets.student.licences import base_licence, output_terms, what_travels

FOLDER = "model_card"  # of the lake: in it a folder per domain, in that one per student
_NAME_CHARACTERS = 12  # of the training hash, by which a student's card is found


@dataclass(frozen=True)
class WrittenCard:
    """A model card in the lake: the record that it shows, its text, and where it lies."""

    card: StudentCard
    text: str
    address: str


def write_model_card(models: ModelClients, lake: Lake, domain: str) -> WrittenCard:
    """Write the card of the domain's last student; cards of former ones stay.

    Raises DataError if the domain has no student.
    """
    tuned = lake.read_record("finetuned_model", domain)
    card = _collect(models, lake, domain, tuned)
    lines = render_model_card(card)
    name = f"{tuned['training_hash'][:_NAME_CHARACTERS]}/{README}"
    return WrittenCard(card, "\n".join(lines) + "\n", lake.write_lines(FOLDER, domain, name, lines).address)


def _collect(models: ModelClients, lake: Lake, domain: str, tuned: Mapping[str, Any]) -> StudentCard:
    student, teacher = models.endpoints[Role.STUDENT], models.endpoints[Role.TEACHER]
    deployed = _deployment_of(lake, domain, tuned)
    links = {name: tuned.get(name, "") for name in ("qa_dataset_digest", "train_file_hash", "valid_file_hash")}
    return StudentCard(
        domain=domain,
        model=tuned["model"],
        base_model=student.base_model if tuned["base_model"] == student.model else tuned["base_model"],
        service=student.service,
        address=deployed.service if deployed else "",
        served_as=deployed.name if deployed else "",
        is_embedded=student.knows_english_only,
        is_hosted=deployed is not None and deployed.is_hosted,
        job=tuned["job"],
        hyperparameters=tuned["hyperparameters"],
        trained_tokens=tuned["trained_tokens"],
        digests={"training": tuned["training_hash"], **links},
        licence=base_licence(student),
        teacher=f"{teacher.service}: {teacher.model}",
        teacher_terms=output_terms(teacher),
        travels=[] if student.provider == "embedded" else what_travels(teacher.base_model, student.base_model),
        training=_count_rows(models, lake, domain, tuned),
        evaluation=_evaluation_of(models, domain, tuned),
    )


def _deployment_of(lake: Lake, domain: str, tuned: Mapping[str, Any]) -> StudentDeployment | None:
    deployed = deployed_student(lake, domain)
    is_of_student = deployed and (deployed.training_hash, deployed.model) == (tuned["training_hash"], tuned["model"])
    return deployed if is_of_student else None


def _count_rows(models: ModelClients, lake: Lake, domain: str, tuned: Mapping[str, Any]) -> TrainingRows | None:
    """Count the rows, if the training files that were made of them are those that the student was trained on."""
    if not (tuned.get("train_file_hash") and lake.exists(RaftRow.table, domain)):
        return None
    if data_links(models.project, lake, domain).train_file_hash != tuned["train_file_hash"]:
        return None
    splits, kinds, languages, without = Counter[str](), Counter[str](), Counter[str](), 0
    for row in lake.rows(RaftRow, domain):
        splits[row.split] += 1
        if row.split == "train":
            kinds[row.kind] += 1
            languages[row.language or ENGLISH] += 1
            without += not row.has_oracle
    return TrainingRows(splits, without, dict(kinds.most_common()), dict(languages.most_common()))


def _evaluation_of(models: ModelClients, domain: str, tuned: Mapping[str, Any]) -> StudentEvaluation | None:
    """Return the domain's latest evaluation, if it is of this student."""
    results = ResultsStore.of(models.project)
    try:
        latest = results.verdicts().get(domain)
    except DataError:  # another program holds the store: that costs the card its figures, and not the student
        return None
    if latest is None or not latest["student_model"].endswith(f": {tuned['model']}"):
        return None
    return StudentEvaluation(
        run=latest["run"],
        recorded_at=latest["recorded_at"],
        baseline_model=latest["baseline_model"],
        protocol=models.project.settings(domain).values.dataset.protocol,
        verdict=results.verdict(domain),
        summary=results.summary(domain),
    )
