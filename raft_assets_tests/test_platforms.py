"""Systems other than POSIX: the package is imported there, whatever then isn't supported."""

import subprocess
import sys

# what Windows lacks, taken away once the packages that we use, which have versions for Windows, are loaded
IMPORT_WITHOUT_POSIX = """
import importlib, os, pkgutil, signal, sys
import raft_assets

def import_all():
    for module in pkgutil.walk_packages(raft_assets.__path__, "raft_assets."):
        if not module.name.startswith("raft_assets.local.worker."):  # of another interpreter, which has torch
            importlib.import_module(module.name)

import_all()
for name in [name for name in sys.modules if name.split(".")[0] == "raft_assets"]:
    del sys.modules[name]
for name in ("fcntl", "resource", "termios", "tty", "pty", "pwd", "grp", "_posixsubprocess"):
    sys.modules[name] = None
for name in ("fork", "killpg", "getpgid", "getuid", "geteuid", "setsid", "mkfifo", "sysconf"):
    delattr(os, name)
for name in ("SIGKILL", "SIGHUP", "SIGALRM", "alarm", "SIGQUIT"):
    delattr(signal, name)
raft_assets = importlib.import_module("raft_assets")
import_all()
print(len([name for name in sys.modules if name.startswith("raft_assets.")]))
"""


def test_no_module_needs_posix_to_be_imported() -> None:
    ended = subprocess.run(
        [sys.executable, "-c", IMPORT_WITHOUT_POSIX], capture_output=True, text=True, check=False, timeout=120
    )
    assert ended.returncode == 0, ended.stderr
    assert int(ended.stdout) > 200
