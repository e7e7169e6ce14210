"""The domain partition. What a valid key is, `settings/domains` says."""

import dagster as dg

from raft_assets.operations.process import DOMAIN_PARTITIONS

domains = dg.DynamicPartitionsDefinition(name=DOMAIN_PARTITIONS)
