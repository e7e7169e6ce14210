"""What commands and assets both do, such as reading sources, drafting pairs, estimating, training and purging.

Clients of models, the lake and the locks of the project are put together here. Nothing prints, and Dagster is not
imported.
"""
