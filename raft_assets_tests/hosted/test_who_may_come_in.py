"""What compose, Helm and Bicep say of who reaches what: every webserver by a sign-in, and nothing else from outside."""

import itertools
import json
import re
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from raft_assets_tests.hosted.platform import HOSTED
from raft_assets_tests.infra.evaluate import Deployment, Sent, deploy
from raft_assets_tests.infra.rules import broken_promises
from raft_assets_tests.infra.test_infra import INFRA, PLAIN, PLATFORM, SWITCHES
from raft_assets_tests.infra.types import excerpted, official

PEOPLE = {
    "RAFT_AUTH_ISSUER": "https://login.microsoftonline.com/tenant/v2.0",
    "RAFT_AUTH_CLIENT_ID": "cccccccc-0000-0000-0000-000000000001",
    "RAFT_PUBLIC_URL": "https://raft.example.com",
    "RAFT_OPERATORS": "operators",
}
REFERENCE = re.compile(r"\$\{(\w+)(?:(:?[-?])((?:[^{}]|\$\{[^}]*\})*))?\}")


class RefusedError(Exception):
    """What `docker compose` would say instead of starting anything."""


def composed(**variables: str) -> dict[str, Any]:
    """The services of compose.yaml for an environment, by the rules of https://docs.docker.com/reference/compose-file/interpolation/."""

    def fill(found: re.Match[str]) -> str:
        name, how, text = found.groups()
        value = variables.get(name)
        is_missing = value is None or (":" in (how or "") and not value)
        if is_missing and "?" in (how or ""):
            raise RefusedError(f"{name}: {text}")
        return REFERENCE.sub(fill, text or "") if is_missing else str(value)

    def filled(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: filled(one) for key, one in value.items()}
        if isinstance(value, list):
            return [filled(one) for one in value]
        return REFERENCE.sub(fill, value) if isinstance(value, str) else value

    services = filled(yaml.safe_load((HOSTED / "compose.yaml").read_text("utf-8")))["services"]
    assert isinstance(services, dict)
    return services


def test_compose_publishes_the_sign_ins_alone_and_the_database_has_no_port_at_all() -> None:
    services = composed(**PEOPLE)
    assert {name for name, one in services.items() if "ports" in one} == {"sign-in", "sign-in-viewer"}
    assert all(port.startswith("127.0.0.1:") for one in services.values() for port in one.get("ports", ()))
    assert services["postgresql"]["network_mode"] == "none"
    assert "listen_addresses=" in services["postgresql"]["command"]
    assert all(one.get("network_mode") != "host" and not one.get("privileged") for one in services.values())
    assert not any("docker.sock" in str(one) for one in services.values())


def test_compose_starts_everything_in_order_and_knows_when_it_is_well() -> None:
    services = composed(**PEOPLE)
    assert all(one["healthcheck"]["test"] for one in services.values())
    needs = {name: set(one.get("depends_on", ())) for name, one in services.items()}
    assert needs == {
        "postgresql": set(),
        "code-server": {"postgresql"},
        "webserver": {"postgresql", "code-server"},
        "daemon": {"postgresql", "code-server"},
        "sign-in": {"webserver"},
        "viewer": {"postgresql", "code-server"},
        "sign-in-viewer": {"viewer"},
    }
    conditions = [how["condition"] for one in services.values() for how in one.get("depends_on", {}).values()]
    assert set(conditions) == {"service_healthy"}


def test_compose_holds_no_secret_and_no_image_that_may_change() -> None:
    text = (HOSTED / "compose.yaml").read_text("utf-8")
    services = composed(**PEOPLE)
    for one in services.values():
        assert re.search(r":v?\d+\.\d+[^:]*$", one["image"])
        for name, value in one["environment"].items():
            assert not re.search(r"PASSWORD$|SECRET$", name), (name, value)
    assert ":latest" not in text
    assert set(yaml.safe_load(text)["secrets"]) >= {"postgres_password", "client_secret", "cookie_secret"}


def test_keys_of_the_models_services_are_for_code_server_and_runs_alone() -> None:
    services = composed(**PEOPLE)
    assert {name for name, one in services.items() if "env_file" in one} == {"code-server"}
    assert {name for name, one in services.items() if "coordination_password" in one.get("secrets", ())} == {
        "code-server",
        "postgresql",
    }
    dagster = charted()[0]["dagster"]
    for part in ("dagsterWebserver", "dagsterDaemon"):
        assert "envSecrets" not in dagster[part]
    assert dagster["dagster-user-deployments"]["deployments"][0]["envSecrets"] == [{"name": "raft-secrets"}]


@pytest.mark.parametrize("missing", PEOPLE)
def test_compose_refuses_to_start_without_who_may_come_in(missing: str) -> None:
    with pytest.raises(RefusedError, match=missing):
        composed(**PEOPLE | {missing: ""})


def test_viewers_have_a_webserver_that_starts_nothing_and_a_group_of_their_own() -> None:
    services = composed(**PEOPLE, RAFT_VIEWERS="viewers")
    assert "--read-only" in services["viewer"]["command"]
    assert "--read-only" not in services["webserver"]["command"]
    proxies = {name: services[name]["environment"] for name in ("sign-in", "sign-in-viewer")}
    assert proxies["sign-in"]["OAUTH2_PROXY_UPSTREAMS"] == "http://webserver:3000"
    assert proxies["sign-in-viewer"]["OAUTH2_PROXY_UPSTREAMS"] == "http://viewer:3000"
    groups = [one["OAUTH2_PROXY_ALLOWED_GROUPS"] for one in proxies.values()]
    assert groups == ["operators", "viewers"]
    assert services["viewer"]["profiles"] == services["sign-in-viewer"]["profiles"] == ["viewers"]


@pytest.mark.parametrize("groups", ["", " ", ",", ' , "" ', "\n"])
def test_the_sign_in_refuses_an_empty_list(groups: str, tmp_path: Path) -> None:
    services = composed(**PEOPLE)
    assert all(services[name]["entrypoint"][-1] == "/sign-in.sh" for name in ("sign-in", "sign-in-viewer"))
    refused = _signed_in(groups)
    assert refused.returncode == 64
    assert "No group may come in: name at least one" in refused.stderr
    assert _signed_in("operators, others").stdout == "proxy --version\n"


def _signed_in(groups: str) -> subprocess.CompletedProcess[str]:
    variables = {"OAUTH2_PROXY_ALLOWED_GROUPS": groups, "PATH": "/usr/bin:/bin", "OAUTH2_PROXY": "echo"}
    command = ["/bin/sh", str(HOSTED / "sign-in.sh"), "proxy", "--version"]
    return subprocess.run(command, env=variables, capture_output=True, text=True, check=False)


def charted(**changes: Any) -> tuple[dict[str, Any], list[str]]:
    """The values of the chart with changes to those who come in, and what Helm would refuse them for."""
    values = yaml.safe_load((HOSTED / "helm" / "values.yaml").read_text("utf-8"))
    for path, value in changes.items():
        *above, last = path.split("__")
        inner = values
        for part in above:
            inner = inner[part]
        inner[last] = value
    schema = json.loads((HOSTED / "helm" / "values.schema.json").read_text("utf-8"))
    return values, [error.message for error in jsonschema.Draft7Validator(schema).iter_errors(values)]


ISSUER = "https://login.microsoftonline.com/tenant/v2.0"


def operators(group: str) -> dict[str, Any]:
    upstream = {"upstream": "http://raft-dagster-webserver:80"}
    return {"operators__extraArgs": upstream | {"oidc-issuer-url": ISSUER, "allowed-group": group}}


def test_helm_refuses_an_empty_list_and_an_ingress_past_the_sign_in() -> None:
    assert charted(**operators("operators"))[1] == []
    assert charted()[1]  # as shipped, nobody is named
    for group in ("", " ", ","):
        assert charted(**operators(group))[1]
    assert charted(**operators("operators"), viewers__enabled=True)[1]
    assert charted(**operators("operators"), dagster__ingress={"enabled": True})[1]
    assert charted(**operators("operators"), dagster__dagsterWebserver__service={"type": "LoadBalancer", "port": 80})[1]


def test_helm_lets_nobody_near_code_server_daemon_and_runs() -> None:
    values, _ = charted()
    dagster = values["dagster"]
    parts = {
        "webserver": dagster["dagsterWebserver"],
        "code-server": dagster["dagster-user-deployments"]["deployments"][0],
        "daemon": dagster["dagsterDaemon"],
        "run": dagster["runLauncher"]["config"]["k8sRunLauncher"],
    }
    assert all(one["labels"] == {"raft-assets/part": name} for name, one in parts.items())
    assert values["operators"]["podLabels"] == values["viewers"]["podLabels"] == {"raft-assets/part": "sign-in"}
    policies = list(yaml.safe_load_all((HOSTED / "helm" / "templates" / "network-policies.yaml").read_text("utf-8")))
    assert {part: _admitted(policies, part) for part in parts} == {
        "webserver": {"sign-in"},
        "code-server": {"webserver", "daemon"},
        "daemon": set(),
        "run": set(),
    }
    assert dagster["postgresql"]["enabled"] is False
    assert dagster["postgresql"]["postgresqlParams"]["sslmode"] == "verify-full"
    assert dagster["dagsterWebserver"]["enableReadOnly"] is True
    assert "read-only" in values["viewers"]["extraArgs"]["upstream"]


def _admitted(policies: list[Any], part: str) -> set[str]:
    """The parts that may connect to a part; all but one policy must not be about it."""
    (policy,) = [one["spec"] for one in policies if part in _selected(one["spec"]["podSelector"])]
    return {name for rule in policy["ingress"] for one in rule["from"] for name in _selected(one["podSelector"])}


def _selected(selector: Mapping[str, Any]) -> set[str]:
    exact = {selector["matchLabels"]["raft-assets/part"]} if "matchLabels" in selector else set()
    return exact.union(*(one["values"] for one in selector.get("matchExpressions", ())))


def test_helm_and_dagster_yaml_treat_runs_alike() -> None:
    """The chart writes a dagster.yaml of its own, from these values."""
    daemon = charted()[0]["dagster"]["dagsterDaemon"]
    ours = yaml.safe_load((HOSTED / "dagster.yaml").read_text("utf-8"))
    assert _snake(daemon["runMonitoring"]) == ours["run_monitoring"]
    assert _snake(daemon["runRetries"]) == ours["run_retries"]
    theirs = daemon["runCoordinator"]["config"]["queuedRunCoordinator"]
    assert theirs["tagConcurrencyLimits"] == ours["run_coordinator"]["config"]["tag_concurrency_limits"]
    launcher = charted()[0]["dagster"]["runLauncher"]["config"]["k8sRunLauncher"]
    assert launcher["runK8sConfig"]["jobSpecConfig"]["backoffLimit"] == 0


def _snake(values: Mapping[str, Any]) -> dict[str, Any]:
    return {re.sub(r"([A-Z])", r"_\1", name).lower(): value for name, value in values.items()}


ON_AZURE = {name: PLATFORM[name] for name in ("RAFT_HOSTED", "RAFT_IMAGE")}
REGISTERED = {"RAFT_AUTH_CLIENT_ID": PLATFORM["RAFT_AUTH_CLIENT_ID"]}
OPERATORS, VIEWERS = PLATFORM["RAFT_AUTH_GROUP"], PLATFORM["RAFT_VIEWERS_GROUP"]
CHANGES = {
    "registered": REGISTERED,
    "a group": {"RAFT_AUTH_GROUP": OPERATORS},
    "viewers": {"RAFT_VIEWERS_GROUP": VIEWERS},
    "no image yet": {"RAFT_IMAGE": ""},
    "no principal": SWITCHES["no principal"],
    "monitoring off": SWITCHES["monitoring off"],
    "existing group": SWITCHES["existing group"],
}


def on_azure(**changes: str) -> Deployment:
    found = deploy(INFRA, PLAIN | ON_AZURE | changes, official())
    assert found.findings == []
    return found


def ingress(one: Sent) -> Mapping[str, Any] | None:
    found = one.body["properties"]["configuration"].get("ingress")
    assert found is None or isinstance(found, Mapping)
    return found


def allowed(one: Sent) -> Any:
    provider = one.body["properties"]["identityProviders"]["azureActiveDirectory"]
    return provider["validation"]["defaultAuthorizationPolicy"]["allowedPrincipals"]


def test_on_azure_no_combination_opens_a_webserver_without_naming_who_may_come_in() -> None:
    for size in range(len(CHANGES) + 1):
        for chosen in itertools.combinations(CHANGES, size):
            changes = {name: value for one in chosen for name, value in CHANGES[one].items()}
            found = on_azure(**changes)
            assert broken_promises(found) == [], chosen
            guarded = {one.id.rpartition("/authConfigs/")[0]: one for one in found.of("authConfigs")}
            opened = {one.id for one in found.of("containerApps") if (ingress(one) or {}).get("external")}
            assert opened == set(guarded), chosen
            for one in guarded.values():
                assert one.body["properties"]["platform"]["enabled"] is True
                validation = one.body["properties"]["globalValidation"]
                assert validation["unauthenticatedClientAction"] == "RedirectToLoginPage"
                named = allowed(one)
                assert [name for names in named.values() for name in names if name], chosen
            if "registered" not in chosen:
                assert not opened
                assert found.outputs["RAFT_HOSTED_URL"] == found.outputs["RAFT_VIEWERS_URL"] == ""


def test_on_azure_a_group_or_the_deploying_person_may_start_runs() -> None:
    (person,) = on_azure(**REGISTERED).of("authConfigs")
    assert allowed(person) == {"identities": [PLAIN["AZURE_PRINCIPAL_ID"]]}
    (group,) = on_azure(**REGISTERED, RAFT_AUTH_GROUP=OPERATORS).of("authConfigs")
    assert allowed(group) == {"groups": [OPERATORS]}
    # a service principal deploys from a pipeline: it is nobody who looks at pages
    pipeline = on_azure(**REGISTERED, AZURE_PRINCIPAL_TYPE="ServicePrincipal")
    assert pipeline.of("authConfigs") == []


def test_on_azure_viewers_start_nothing_and_code_server_database_and_daemon_have_no_way_in() -> None:
    found = on_azure(**REGISTERED, RAFT_AUTH_GROUP=OPERATORS, RAFT_VIEWERS_GROUP=VIEWERS)
    platform, viewer = found.of("containerApps")
    containers = {one["name"]: one for one in platform.body["properties"]["template"]["containers"]}
    assert set(containers) == {"code-server", "webserver", "daemon"}
    for one in (platform, viewer):
        way_in = ingress(one)
        assert way_in
        assert (way_in["targetPort"], way_in["allowInsecure"]) == (3000, False)
        assert "additionalPortMappings" not in way_in
    assert "--read-only" not in containers["webserver"]["args"]
    (web,) = [one for one in viewer.body["properties"]["template"]["containers"] if one["name"] == "webserver"]
    assert "--read-only" in web["args"]
    assert [allowed(one) for one in found.of("authConfigs")] == [{"groups": [OPERATORS]}, {"groups": [VIEWERS]}]
    (server,) = found.of("flexibleServers")
    assert server.body["properties"]["network"]["publicNetworkAccess"] == "Disabled"
    assert server.body["properties"]["authConfig"]["passwordAuth"] == "Disabled"
    assert server.body["properties"]["authConfig"]["activeDirectoryAuth"] == "Enabled"
    assert [one.loop for one in found.of("flexibleServers/databases")] == [("databases", 1)] * 2
    assert platform.body["properties"]["template"]["scale"] == {"minReplicas": 1, "maxReplicas": 1}  # one daemon


def test_on_azure_nothing_holds_a_secret_and_an_image_is_made_before_its_containers() -> None:
    settings = json.dumps([{"name": "TEACHER_AZURE_OPENAI_DEPLOYMENT", "value": "gpt-5-mini"}])
    found = on_azure(**REGISTERED, RAFT_HOSTED_SETTINGS=settings)
    (platform,) = found.of("containerApps")
    configuration = platform.body["properties"]["configuration"]
    # the one "secret" is the name of an identity, by which sign-in takes its token in place of a secret
    assert [one["name"] for one in configuration["secrets"]] == ["override-use-mi-fic-assertion-client-id"]
    assert "passwordSecretRef" not in json.dumps(configuration)
    for container in platform.body["properties"]["template"]["containers"]:
        named = {one["name"]: one["value"] for one in container["env"]}
        assert not any(re.search("PASSWORD|SECRET|_KEY", name) for name in named)
        assert named["TEACHER_AZURE_OPENAI_DEPLOYMENT"] == "gpt-5-mini"
        assert "@" in named["RAFT_COORDINATION"]
        assert ":" not in named["RAFT_COORDINATION"].partition("//")[2].partition("@")[0]
    assert on_azure(RAFT_IMAGE="").of("containerApps") == []
    assert len(on_azure(RAFT_IMAGE="").of("registries")) == 1


def test_on_azure_containers_have_sizes_that_are_offered() -> None:
    for app in on_azure(**REGISTERED, RAFT_VIEWERS_GROUP=VIEWERS).of("containerApps"):
        resources = [one["resources"] for one in app.body["properties"]["template"]["containers"]]
        cpus = sum(one["cpu"] for one in resources)
        memory = sum(float(one["memory"].removesuffix("Gi")) for one in resources)
        assert memory == 2 * cpus  # https://learn.microsoft.com/azure/container-apps/containers#allocations
        assert cpus <= 4


def test_the_excerpt_of_types_is_enough_to_check_the_platform_by() -> None:
    found = deploy(INFRA, PLAIN | PLATFORM, excerpted())
    assert found.findings == []
    # no schema of these is at hand
    namespaces = {name.partition("/")[0] for name in found.unchecked}
    assert namespaces == {"Microsoft.DBforPostgreSQL", "Microsoft.Insights", "Microsoft.Network"}


def test_a_name_of_the_platform_can_be_set() -> None:
    found = on_azure(RAFT_REGISTRY_NAME="registry1", RAFT_DATABASE_NAME="database1")
    assert found.of("registries")[0].body["name"] == "registry1"
    assert found.of("flexibleServers")[0].body["name"] == "database1"
