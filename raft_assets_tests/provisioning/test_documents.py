"""What docs/azure/provisioning.md says of costs, variables and roles is what the product and `infra/` have."""

import json
import re

from raft_assets.llm.prices import PriceList
from raft_assets.provisioning.inventory import idle_costs
from raft_assets_tests.harness import REPOSITORY

TEXT = (REPOSITORY / "docs" / "azure" / "provisioning.md").read_text("utf-8")


def test_costs_asleep_are_those_of_the_shipped_tables() -> None:
    costs = idle_costs()
    assert f"read on {costs.read}" in TEXT
    for name, cost in costs.resources.items():
        month = "by use" if cost.month is None else f"{cost.month:,.2f}"
        assert f"| {name.removeprefix('Microsoft.')} | {month} | {cost.why} | [prices]({cost.source}) |" in TEXT
    hourly = PriceList(REPOSITORY).at("https://mine.openai.azure.com", "gpt-4.1-mini").hosting
    assert hourly is not None
    assert f"| {hourly * 24 * 30:,.2f} | {hourly:.2f} an hour" in TEXT


def test_every_variable_of_the_template_is_described_and_every_resource_has_a_cost() -> None:
    parameters = (REPOSITORY / "infra" / "main.parameters.json").read_text("utf-8")
    told = {"AZURE_ENV_NAME", "AZURE_LOCATION", "AZURE_PRINCIPAL_TYPE", "RAFT_DEPLOYMENTS", "RAFT_BUDGET_START"}
    for name in set(re.findall(r"\$\{(\w+)", json.dumps(json.loads(parameters)))) - told:
        assert f"`{name}`" in TEXT
    made = {kind for file in (REPOSITORY / "infra").rglob("*.bicep") for kind in _resources(file.read_text("utf-8"))}
    unpaid = {"resourceGroups", "roleAssignments", "diagnosticSettings", "budgets", "blobServices", "containers"}
    unpaid |= {"authConfigs", "databases", "administrators", "virtualNetworkLinks"}
    for kind in made:
        last = kind.rpartition("/")[2]
        assert last in unpaid | {"deployments"} or idle_costs().of(kind) is not None, kind


def _resources(text: str) -> list[str]:
    return re.findall(r"^resource \w+ '([^@]+)@", text, re.MULTILINE)
