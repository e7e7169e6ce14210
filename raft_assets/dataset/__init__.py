"""Datasets: golden questions, near-duplicates, distractors, splits, rows, formats, data card, manifest, and import."""
