"""A process of its own that asks the test service; run by tests with `python -m`, and killed by them.

Arguments: address of the service, file of the store, first question, number of questions, and `leave` to go away after
the first answer. Prints the key of every answer that was handed out.
"""

import sys
from pathlib import Path

from raft_assets.llm.background import run_coroutine
from raft_assets.llm.caller import Caller
from raft_assets.llm.clients import open_client
from raft_assets.settings.endpoints import Endpoint, Limits, Role
from raft_assets.storage.call_store import SqliteCallStore
from raft_assets_tests.llm.conftest import ask_about, shared_in

CEILING = 4

if __name__ == "__main__":
    url, file, first, count, *leave = sys.argv[1:]
    endpoint = Endpoint(Role.TEACHER, "openai", "model-1", url, limits=Limits(max_concurrency=CEILING))
    store = SqliteCallStore(Path(file))
    client = open_client(endpoint, lambda: sys.exit("not embedded"))
    caller = Caller(endpoint, model_version="", client=client, store=store, **shared_in(Path(file).parent, endpoint))
    answers = caller.ask(ask_about(number) for number in range(int(first), int(first) + int(count)))
    for answer in answers:
        print(answer.key, flush=True)
        if leave:
            break
    run_coroutine(client.close())
