"""A machine of its own, as far as a process with a folder of its own is one; run by tests with `python -m`.

Arguments: the project's folder, the first question, and the number of questions to its teacher. Prints a line when it
is about to ask, waits for one, and prints the status of every answer that is handed out, or what stopped it.
"""

import sys
from pathlib import Path

from raft_assets.core.errors import RaftError
from raft_assets.operations.model_clients import ModelClients
from raft_assets.settings.endpoints import Role
from raft_assets.settings.project import Project
from raft_assets_tests.llm.conftest import ask_about

if __name__ == "__main__":
    folder, first, count = sys.argv[1:]
    project = Project.load(Path(folder))
    with ModelClients(project, command="one").caller(Role.TEACHER) as caller:
        print("ready", flush=True)
        sys.stdin.readline()
        try:
            for answer in caller.ask(ask_about(number) for number in range(int(first), int(first) + int(count))):
                print(answer.status, flush=True)
        except RaftError as error:
            print(type(error).__name__, flush=True)
        stats = caller.usage_stats
        print(stats.calls, stats.from_store, stats.retries, flush=True)
