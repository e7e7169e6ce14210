"""An `azd` that also signs in, makes environments, provisions and takes down: what the documents type, with its hooks.

Between its hooks, `azd up` evaluates `infra/` with the environment's values, PUTs the deployments of models at the
management plane that the process reaches, and keeps the outputs. What asks for values goes to `azd.py`'s own.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import yaml

from raft_assets_tests.provisioning.azd import install_azd, new_environment, values_of

REPOSITORY = Path(__file__).parents[2]
_WRAPPER = '#!/bin/sh\nexec "{python}" -m {module} "$@"\n'


def install(folder: Path) -> Path:
    """Put `azd`, `az` and `raft` into a folder for PATH, and return the folder."""
    (install_azd(folder) / "azd").rename(folder / "azd-env")
    modules = {"azd": "raft_assets_tests.provisioning.azd_up", "raft": "raft_assets.cli.main"}
    for name, module in modules.items():
        (folder / name).write_text(_WRAPPER.format(python=sys.executable, module=module))
    (folder / "az").write_text('#!/bin/sh\n[ "$1" = login ]\n')
    for name in ("az", *modules):
        (folder / name).chmod(0o755)
    return folder


def run(arguments: list[str], project: Path) -> int:
    """Do what azd does; 1 for what it doesn't know."""
    match arguments:
        case ["auth", "login"] | ["pipeline", "config"]:
            code = 0
        case ["env", "new", name]:
            new_environment(project, name, **json.loads(os.environ["FAKE_AZD_VALUES"]))
            code = 0
        case ["env", "set", name, value] if "=" not in name:
            code = subprocess.call(["azd-env", "env", "set", f"{name}={value}", "--no-prompt"])
        case ["env", *_]:
            code = subprocess.call(["azd-env", *arguments])
        case ["up" | "provision"]:
            code = _hook("preprovision") or _provision(project) or _hook("postprovision")
        case ["down", "--purge"]:
            code = _hook("predown")
        case _:
            code = 1
    return code


def _hook(name: str) -> int:
    hook = yaml.safe_load((REPOSITORY / "azure.yaml").read_text())["hooks"][name]["posix"]
    return subprocess.call([hook["shell"], str(REPOSITORY / hook["run"])])


def _provision(project: Path) -> int:
    from raft_assets_tests.azure.management import ACCOUNT
    from raft_assets_tests.azure.resource_manager import put_models
    from raft_assets_tests.infra.evaluate import deploy
    from raft_assets_tests.infra.types import official

    (file,) = (project / ".azure").glob("*/values.json")
    values = values_of(project, file.parent.name)
    found = deploy(REPOSITORY / "infra", values, official())
    for finding in found.findings:
        print(finding, file=sys.stderr)
    put_models(found)
    outputs = {**found.outputs, "RAFT_ACCOUNT_ENDPOINT": f"https://{ACCOUNT}.cognitiveservices.azure.com/"}
    file.write_text(json.dumps(values | outputs))
    return len(found.findings)


if __name__ == "__main__":
    sys.exit(run(sys.argv[1:], Path.cwd()))
