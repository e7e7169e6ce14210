"""The results file of a fine-tuning job: its loss curve, as the CSV that OpenAI's jobs end with."""

import csv
import io
from collections.abc import Iterable, Mapping

from raft_assets.core.identity import digest
from raft_assets.provider.files import FileStore, StoredFile

# column of the file, and the metric of the job's events that it holds
RESULT_COLUMNS = {
    "step": "step",
    "train_loss": "train_loss",
    "train_accuracy": "train_mean_token_accuracy",
    "valid_loss": "valid_loss",
    "valid_mean_token_accuracy": "valid_mean_token_accuracy",
}


def store_results(files: FileStore, job_id: str, steps: Iterable[Mapping[str, float]]) -> StoredFile:
    """Store the metrics of all steps; metrics that OpenAI doesn't know get columns of their own.

    The file's id depends on the job only, so that a repeated end replaces it.
    """
    rows = list(steps)
    others = sorted({name for row in rows for name in row} - set(RESULT_COLUMNS.values()))
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow([*RESULT_COLUMNS, *others])
    table.writerows([row.get(name) for name in (*RESULT_COLUMNS.values(), *others)] for row in rows)
    return files.create(
        io.BytesIO(text.getvalue().encode()),
        filename="step_metrics.csv",
        purpose="fine-tune-results",
        file_id=f"file-{digest('results', job_id)[:24]}",
    )
