"""All that is Dagster: assets, observation, staleness, automation, runs, resources."""
