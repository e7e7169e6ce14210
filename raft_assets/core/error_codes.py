"""Codes of errors that say more than their status, for any service that uses them and for callers of any service."""

# of a 503: a job has the service's machine, and requests are answered when it has ended; the message names the job
PAUSED_FOR_JOB = "paused_for_job"
