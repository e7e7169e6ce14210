"""Where data is stored: lake, results store, call store, and the files behind the ports of `core/ports`.

These are plain classes that import no Dagster; Dagster's resources around them are in `defs/resources`.
"""
