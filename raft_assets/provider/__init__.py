"""The OpenAI-shaped application of a provider: files, uploads, batches, fine-tuning jobs and lists of models.

It imports nothing but `core`. What answers, and what trains, is put behind it: see `embedded`.
"""
