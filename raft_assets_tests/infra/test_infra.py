"""What `infra/` and `azure.yaml` make of every combination of switches, checked against Azure's official types."""

import itertools
import json
import re
import subprocess
from collections import Counter
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from raft_assets_tests.infra.evaluate import SUBSCRIPTION, Deployment, deploy
from raft_assets_tests.infra.rules import ROLES, broken_promises
from raft_assets_tests.infra.types import EXCERPT, OFFICIAL, Types, excerpt, excerpted, official
from raft_assets_tests.openai_contract import FOLDER

ROOT = Path(__file__).parents[2]
INFRA = ROOT / "infra"
SCHEMA = FOLDER / "azure_yaml_schema.json"
GROUP = f"/subscriptions/{SUBSCRIPTION}/resourceGroups/rg-mine"
THEIRS = f"/subscriptions/{SUBSCRIPTION.replace('1', '8')}/resourceGroups/rg-theirs/providers/"
THEIRS += "Microsoft.CognitiveServices/accounts/theirs"
MODELS = [
    {
        "name": "gpt-5-mini",
        "format": "OpenAI",
        "model": "gpt-5-mini",
        "version": "2025-08-07",
        "sku": "GlobalStandard",
        "capacity": 100,
        "roles": ["TEACHER", "JUDGE", "BASELINE"],
    },
    {
        "name": "text-embedding-3-small",
        "format": "OpenAI",
        "model": "text-embedding-3-small",
        "version": "1",
        "sku": "Standard",
        "capacity": 50,
        "roles": ["EMBEDDING"],
    },
]
PLAIN = {
    "AZURE_ENV_NAME": "mine",
    "AZURE_LOCATION": "swedencentral",
    "AZURE_PRINCIPAL_ID": "aaaaaaaa-0000-0000-0000-000000000001",
    "RAFT_DEPLOYMENTS": json.dumps(MODELS),
}
SWITCHES: dict[str, dict[str, str]] = {
    "monitoring off": {"RAFT_MONITORING": "false"},
    "classic": {"RAFT_CLASSIC": "true"},
    "existing account": {"RAFT_EXISTING_ACCOUNT": THEIRS},
    "IP list": {"RAFT_IP_RANGES": '["203.0.113.0/24", "198.51.100.7"]'},
    "budget": {"RAFT_BUDGET": "50", "RAFT_BUDGET_EMAIL": "me@example.org"},
    "no principal": {"AZURE_PRINCIPAL_ID": ""},
    "existing group": {"RAFT_EXISTING_GROUP": "true", "AZURE_RESOURCE_GROUP": "rg-own"},
}
# the platform, whose combinations are in raft_assets_tests/hosted/test_who_may_come_in.py
PLATFORM = {
    "RAFT_HOSTED": "true",
    "RAFT_IMAGE": "raft-assets:0.2.0",
    "RAFT_AUTH_CLIENT_ID": "cccccccc-0000-0000-0000-000000000001",
    "RAFT_AUTH_GROUP": "bbbbbbbb-0000-0000-0000-000000000001",
    "RAFT_VIEWERS_GROUP": "bbbbbbbb-0000-0000-0000-000000000002",
}
ALWAYS = {
    "resourceGroups": 1,
    "userAssignedIdentities": 1,
    "OperationalInsights/workspaces": 1,
    "components": 1,
    "CognitiveServices/accounts": 1,
    "projects": 1,
    "diagnosticSettings": 1,
    "deployments": 2,
    "storageAccounts": 1,
    "blobServices": 1,
    "containers": 2,
    "roleAssignments": 4,
}
MONITORING = {"OperationalInsights/workspaces": 0, "components": 0, "diagnosticSettings": 0}


def made(**changes: str) -> Deployment:
    return deploy(INFRA, PLAIN | changes, official())


def switched(*names: str) -> Deployment:
    return made(**{name: value for switch in names for name, value in SWITCHES[switch].items()})


def test_every_combination_of_switches_is_what_azure_takes_and_keeps_the_promises() -> None:
    combinations = [
        {name: value for switch in chosen for name, value in SWITCHES[switch].items()}
        for size in range(len(SWITCHES) + 1)
        for chosen in itertools.combinations(SWITCHES, size)
    ]
    unchecked = set()
    for module, combination in itertools.product(("main", "resources"), combinations):
        found = deploy(INFRA, PLAIN | combination, official(), module)
        assert found.findings == [], combination
        assert broken_promises(found) == [], combination
        unchecked |= found.unchecked
    assert unchecked == {"Microsoft.Insights/diagnosticSettings@2021-05-01-preview"}  # no schema of it is at hand


@pytest.mark.parametrize(
    ("switches", "difference"),
    [
        ((), {}),
        (("monitoring off",), MONITORING),
        (("classic",), {"vaults": 1, "MachineLearningServices/workspaces": 2, "roleAssignments": 6}),
        (("existing account",), {"CognitiveServices/accounts": 0, "projects": 0, "diagnosticSettings": 0}),
        (("IP list",), {}),
        (("budget",), {"budgets": 1}),
        (("no principal",), {"roleAssignments": 2}),
        (("existing group",), {"resourceGroups": 0}),
    ],
)
def test_a_switch_makes_what_it_names_and_nothing_else(switches: tuple[str, ...], difference: dict[str, int]) -> None:
    wanted = {kind: count for kind, count in (ALWAYS | difference).items() if count}
    found = switched(*switches)
    counts = {kind: len(found.of(kind)) for kind in wanted}
    assert counts == wanted
    assert sum(counts.values()) == len(found.resources)


def test_a_model_of_several_roles_is_one_deployment_that_tells_them() -> None:
    one, other = made().of("accounts/deployments")
    assert one.body["tags"] == {"raft-roles": "TEACHER JUDGE BASELINE"}
    assert one.body["sku"] == {"name": "GlobalStandard", "capacity": 100}
    assert one.body["properties"]["model"] == {"format": "OpenAI", "name": "gpt-5-mini", "version": "2025-08-07"}
    assert other.body["name"] == "text-embedding-3-small"


def test_roles_are_those_that_the_work_needs_and_nobody_gets_one_on_a_group() -> None:
    assigned = Counter(
        (one.body["properties"]["principalType"], ROLES[one.body["properties"]["roleDefinitionId"].rpartition("/")[2]])
        for one in switched("classic").of("roleAssignments")
    )
    assert assigned == Counter({(kind, role): 1 for kind in ("User", "ServicePrincipal") for role in ROLES.values()})


def test_a_list_of_addresses_shuts_out_all_others_everywhere() -> None:
    found = switched("IP list", "classic")
    rules = {one.type: one.body["properties"]["networkAcls"] for one in found.resources if _has_rules(one.body)}
    assert len(rules) == 3
    for one in rules.values():
        assert one["defaultAction"] == "Deny"
        assert [rule["value"] for rule in one["ipRules"]] == ["203.0.113.0/24", "198.51.100.7"]
    assert all(one.body["properties"]["networkAcls"]["defaultAction"] == "Allow" for one in made().of("Accounts"))


def _has_rules(body: Any) -> bool:
    return "networkAcls" in (body.get("properties") or {})


def test_what_is_theirs_is_used_where_it_lies_and_not_touched() -> None:
    found = switched("existing account", "existing group")
    assert {one.id.rpartition("/deployments/")[0] for one in found.of("accounts/deployments")} == {THEIRS}
    assert found.outputs["RAFT_ACCOUNT_ID"] == THEIRS
    assert found.outputs["AZURE_RESOURCE_GROUP"] == "rg-own"


def test_names_can_be_set() -> None:
    names = {
        "AZURE_RESOURCE_GROUP": "rg-1",
        "RAFT_ACCOUNT_NAME": "account1",
        "RAFT_PROJECT_NAME": "project1",
        "RAFT_IDENTITY_NAME": "identity1",
        "RAFT_STORAGE_NAME": "storage1",
        "RAFT_LOGS_NAME": "logs1",
        "RAFT_INSIGHTS_NAME": "insights1",
        "RAFT_VAULT_NAME": "vault1",
        "RAFT_HUB_NAME": "hub1",
        "RAFT_HUB_PROJECT_NAME": "hubproject1",
    }
    found = made(**names, **SWITCHES["classic"])
    assert found.findings == []
    assert set(names.values()) <= {one.body["name"] for one in found.resources}


def test_two_environments_of_one_subscription_share_nothing() -> None:
    one, other = (made(AZURE_ENV_NAME=name, **SWITCHES["classic"], **SWITCHES["budget"]) for name in ("one", "other"))
    assert not {resource.id for resource in one.resources} & {resource.id for resource in other.resources}
    for kind in ("CognitiveServices/accounts", "storageAccounts", "vaults"):  # whose names are the world's
        assert one.of(kind)[0].body["name"] != other.of(kind)[0].body["name"]


def test_a_budget_keeps_its_first_day() -> None:
    assert switched("budget").outputs["RAFT_BUDGET_START"] == "2026-11-01T00:00:00Z"
    kept = made(**SWITCHES["budget"], RAFT_BUDGET_START="2026-09-01T00:00:00Z")
    (budget,) = kept.of("budgets")
    assert budget.body["properties"]["timePeriod"] == {"startDate": "2026-09-01T00:00:00Z"}


def test_both_entries_take_the_same_variables_and_a_pipeline_gets_all_of_them() -> None:
    main, resources = (json.loads((INFRA / f"{name}.parameters.json").read_text()) for name in ("main", "resources"))
    assert resources["parameters"].items() <= main["parameters"].items()
    assert main["parameters"].keys() - resources["parameters"].keys() == {"resourceGroupName", "useExistingGroup"}
    variables = set(re.findall(r"\$\{(\w+)", json.dumps(main)))
    azds = {"AZURE_ENV_NAME", "AZURE_LOCATION", "AZURE_PRINCIPAL_ID", "AZURE_PRINCIPAL_TYPE"}
    listed = set(yaml.safe_load((ROOT / "azure.yaml").read_text())["pipeline"]["variables"])
    assert variables - azds <= listed
    workflow = yaml.safe_load((ROOT / ".github" / "workflows" / "azure.yml").read_text())
    assert {name: f"${{{{ vars.{name} }}}}" for name in listed}.items() <= workflow["env"].items()
    assert workflow["permissions"]["id-token"] == "write"
    assert "secrets." not in json.dumps(workflow)


def test_hooks_of_both_shells_stop_at_an_error_and_call_the_same_command() -> None:
    hooks = yaml.safe_load((ROOT / "azure.yaml").read_text())["hooks"]
    assert set(hooks) == {"preprovision", "postprovision", "predown"}
    for name, hook in hooks.items():
        posix, windows = (ROOT / hook[system]["run"] for system in ("posix", "windows"))
        assert (posix.name, windows.name) == (f"{name}.sh", f"{name}.ps1")
        assert "set -eu" in posix.read_text()
        assert "$ErrorActionPreference = 'Stop'" in windows.read_text()
        assert "exit $LASTEXITCODE" in windows.read_text()
        commands = [re.findall(r"raft azure [a-z -]+[a-z]", file.read_text()) for file in (posix, windows)]
        assert commands[0] == commands[1]
        assert len(commands[0]) == 1
        subprocess.run(["sh", "-n", str(posix)], check=True)


@pytest.mark.skipif(not SCHEMA.is_file(), reason="the official schema isn't at hand")
def test_azure_yaml_is_valid() -> None:
    described = yaml.safe_load((ROOT / "azure.yaml").read_text())
    schema = json.loads(SCHEMA.read_text("utf-8"))
    validator = jsonschema.validators.validator_for(schema)(schema)
    assert [error.message for error in validator.iter_errors(described)] == []
    described["hooks"]["export_env"] = described["hooks"]["predown"]
    assert list(validator.iter_errors(described))


@pytest.mark.parametrize("switch", SWITCHES)
def test_the_excerpt_of_types_is_enough_to_check_by(switch: str) -> None:
    assert deploy(INFRA, PLAIN | SWITCHES[switch], excerpted()).findings == []


@pytest.mark.skipif(not OFFICIAL.is_file(), reason="the official types aren't at hand")
def test_the_excerpt_of_types_is_up_to_date() -> None:
    types = Types(json.loads(OFFICIAL.read_text("utf-8")))
    deploy(INFRA, {**PLAIN, **SWITCHES["classic"], **SWITCHES["IP list"], **SWITCHES["budget"], **PLATFORM}, types)
    deploy(INFRA, {**PLAIN, **PLATFORM, "RAFT_AUTH_GROUP": ""}, types)
    assert EXCERPT.read_text("utf-8") == excerpt(types)  # else: write what `excerpt` returns
