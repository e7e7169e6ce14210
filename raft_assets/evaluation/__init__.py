"""Evaluating the student against the baseline: arms, metrics, judges, statistics, verdict, slices and report.

Asking the models is `operations.evaluation`'s; nothing here imports Dagster.
"""
