"""An `azd` on PATH that keeps environments as the real one does, as far as `raft` asks it: list, get-values, set, new.

A command or option that it doesn't know ends it with 1, so that nothing is asked of azd that the real one would refuse.
"""

import json
import sys
from pathlib import Path

_SCRIPT = """#!{python} -SE
import json, pathlib, sys
folder = pathlib.Path(".azure")
words = [word for word in sys.argv[1:] if word != "--no-prompt"]
options = {{}}
for option in ("--environment", "--output"):
    if option in words:
        at = words.index(option)
        options[option] = words[at + 1]
        del words[at:at + 2]
names = sorted(one.parent.name for one in folder.glob("*/values.json"))
settings = folder / "config.json"
default = json.loads(settings.read_text()).get("defaultEnvironment") if settings.is_file() else None
name = options.get("--environment", default)
file = folder / str(name) / "values.json"
if "--no-prompt" not in sys.argv or [word for word in words if word.startswith("-")]:
    sys.exit("ERROR: unknown flag")
if words == ["env", "list"] and options["--output"] == "json":
    print(json.dumps([{{"Name": one, "IsDefault": one == default, "HasLocal": True}} for one in names]))
elif words[:2] == ["env", "get-values"] and name in names:
    print(file.read_text())
elif words[:2] == ["env", "set"] and name in names and all("=" in word for word in words[2:]):
    values = json.loads(file.read_text()) | dict(word.split("=", 1) for word in words[2:])
    file.write_text(json.dumps(values))
else:
    sys.exit("ERROR: " + " ".join(words) + ": environment " + repr(name) + " is not known")
"""


def install_azd(folder: Path) -> Path:
    """Put `azd` into a folder for PATH, and return the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    script = folder / "azd"
    script.write_text(_SCRIPT.format(python=sys.executable), "utf-8")
    script.chmod(0o755)
    return folder


def new_environment(project: Path, name: str, *, is_default: bool = True, **values: str) -> None:
    """What `azd env new NAME` leaves in a project."""
    folder = project / ".azure" / name
    folder.mkdir(parents=True)
    (folder / "values.json").write_text(json.dumps({"AZURE_ENV_NAME": name, **values}), "utf-8")
    if is_default:
        (project / ".azure" / "config.json").write_text(json.dumps({"version": 1, "defaultEnvironment": name}), "utf-8")


def values_of(project: Path, name: str) -> dict[str, str]:
    """What an environment holds."""
    found: dict[str, str] = json.loads((project / ".azure" / name / "values.json").read_text("utf-8"))
    return found
