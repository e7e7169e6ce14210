"""The domain partition: the one owner of its name. What a valid key is, `raft_assets.settings.domains` says."""

import dagster as dg

DOMAIN_PARTITIONS = "domain"

domains = dg.DynamicPartitionsDefinition(name=DOMAIN_PARTITIONS)
