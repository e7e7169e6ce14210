"""Mistakes that people make in Bicep, each in a copy of `infra/`: every one is found."""

import shutil
from pathlib import Path

import pytest

from raft_assets_tests.infra.evaluate import deploy
from raft_assets_tests.infra.rules import broken_promises
from raft_assets_tests.infra.test_infra import INFRA, PLAIN, SWITCHES
from raft_assets_tests.infra.types import official

EVERYTHING = PLAIN | SWITCHES["classic"] | SWITCHES["IP list"] | SWITCHES["budget"]
MISTAKES: dict[str, tuple[str, str, str, str]] = {
    "a property that the type hasn't": (
        "foundry",
        "disableLocalAuth: true",
        "disableLocalAuthn: true",
        "no property of",
    ),
    "a property in the wrong place": (
        "foundry",
        "  kind: 'AIServices'\n",
        "  kind: 'AIServices'\n  restore: true\n",
        "no prop",
    ),
    "a required property left out": ("storage", "  kind: 'StorageV2'\n", "", ".kind is required"),
    "a text for a number": ("monitoring", "retentionInDays: 30", "retentionInDays: '30'", "not int"),
    "a value that isn't allowed": ("storage", "'TLS1_2'", "'TLS1.2'", "'TLS1_2' is promised"),
    "a value by another case": ("foundry", ": 'Deny'", ": 'deny'", "differs from"),
    "a read-only property": (
        "budget",
        "    category: 'Cost'\n",
        "    category: 'Cost'\n    currentSpend: {}\n",
        "only be read",
    ),
    "a version that isn't there": ("classic", "vaults@2024-11-01", "vaults@2024-12-01", "not a version"),
    "a name that the type refuses": (
        "storage",
        "  name: name\n  location",
        "  name: '${name}-x'\n  location",
        "against pattern",
    ),
    "local authentication on": ("foundry", "disableLocalAuth: true", "disableLocalAuth: false", "True is promised"),
    "shared keys on": ("storage", "allowSharedKeyAccess: false", "allowSharedKeyAccess: true", "False is promised"),
    "a public container": ("storage", "publicAccess: 'None'", "publicAccess: 'Blob'", "'None' is promised"),
    "purge protection": ("classic", "enableSoftDelete: true", "enablePurgeProtection: true", "None is promised"),
    "a hub by keys": ("classic", "'Identity'\n    public", "'AccessKey'\n    public", "needs systemDatastoresAuthMode"),
    "a role by a wrong id": ("models", "'c883944f-8b7b", "'c883944f-0000", "is not one of Foundry Owner"),
    "a role without the kind of principal": (
        "storage",
        "      principalType: principal.type\n",
        "",
        "needs a principal",
    ),
    "a role on the group": ("storage", "    scope: storage\n", "", "is on a resource"),
    "the same name for every principal": ("models", "guid(account.id, principal.id,", "guid(account.id,", "sent twice"),
    "deployments at the same time": ("models", "@batchSize(1)\n", "", "one at a time"),
    "a name that isn't defined": ("identity", "location: location", "location: region", "region is not defined"),
    "a function that isn't there": (
        "models",
        "join(deployment.roles",
        "joined(deployment.roles",
        "joined is no function",
    ),
    "a parameter that nothing uses": (
        "identity",
        "param tags object",
        "param tags object\nparam more string = ''",
        "more is never",
    ),
    "a parameter that isn't given": (
        "identity",
        "param tags object",
        "param tags object\nparam more string",
        "not given more",
    ),
    "a parameter that the module hasn't": ("resources", "amount: budget", "amounts: budget", "amounts is no parameter"),
    "a parameter of another type": ("resources", "amount: budget", "amount: 'budget'", "not int"),
    "an output that the module hasn't": (
        "resources",
        "logs!.outputs.insightsId",
        "logs!.outputs.insightId",
        "no output insightId",
    ),
    "a property that can't be read": ("identity", "properties.clientId", "properties.clientid", "no property clientid"),
    "what may not be made, read without care": (
        "resources",
        "serverless!.outputs",
        "serverless.outputs",
        "without ! or .?",
    ),
    "a scope that is known too late": (
        "resources",
        "split(existingAccountId",
        "split(storage.outputs.id",
        "not known at the start",
    ),
    "a name from what is being made": (
        "models",
        "name: deployment.name",
        "name: account.properties.endpoint",
        "not known at the start",
    ),
    "a condition that is known too late": (
        "resources",
        "= if (classic)",
        "= if (!empty(storage.outputs.id))",
        "not known at the start",
    ),
    "a key in an output": (
        "storage",
        "output id string",
        "output key1 string = storage.listKeys().keys[0].value\noutput id string",
        "reads keys by",
    ),
    "a connection string in an output": (
        "monitoring",
        "output logsId",
        "output x string = insights.properties.ConnectionString\noutput logsId",
        "shows a secret",
    ),
    "a module that isn't there": (
        "resources",
        "modules/budget.bicep",
        "modules/budgets.bicep",
        "there is no modules/budgets",
    ),
    "a module for another scope": ("main", "  scope: resourceGroup(groupName)\n", "", "is for a resourceGroup"),
    "a group that isn't waited for": ("main", "  dependsOn: [\n    group\n  ]\n", "", "doesn't wait for group"),
    "an account that isn't waited for": (
        "resources",
        "foundry!.outputs.accountName",
        "'aif-${token}'",
        "doesn't wait for foundry",
    ),
    "the time outside a default": (
        "budget",
        "startDate: startDate",
        "startDate: utcNow()",
        "only allowed as the default",
    ),
    "a symbol twice": ("resources", "module logs ", "module identity ", "declared twice"),
    "brackets that don't close": ("storage", "      ]\n", "", "can't be read"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_found(mistake: str, tmp_path: Path) -> None:
    name, right, wrong, said = MISTAKES[mistake]
    infra = shutil.copytree(INFRA, tmp_path / "infra")
    file = next(infra.rglob(f"{name}.bicep"))
    text = file.read_text()
    assert right in text
    file.write_text(text.replace(right, wrong, 1))
    findings = []
    for environment in (EVERYTHING, EVERYTHING | SWITCHES["existing account"]):
        found = deploy(infra, environment, official())
        findings += found.findings + broken_promises(found)
    assert any(said in finding for finding in findings), findings
