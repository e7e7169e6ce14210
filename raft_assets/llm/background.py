"""The background event loop of the process, on which all model clients run.

A client's connections belong to the loop that opened them, and the code around a call is synchronous. So there is one
loop, in one daemon thread, started with the first call, and synchronous code submits coroutines to it. Nothing else
belongs here.
"""

import asyncio
import atexit
import functools
import os
import threading
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")

STOP_TIMEOUT_S = 2.0  # at the end of the process; a call that hangs must not keep it alive

_start_lock = threading.Lock()


def background_loop() -> asyncio.AbstractEventLoop:
    """Return the loop of this process; a forked child gets its own, because threads don't survive a fork."""
    with _start_lock:
        return _start_loop(os.getpid())[0]


def run_coroutine(coroutine: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine to its end on the background loop, from synchronous code; an interrupt cancels it.

    Don't call it from the loop's own thread.
    """
    future = asyncio.run_coroutine_threadsafe(coroutine, background_loop())
    try:
        return future.result()
    except BaseException:
        future.cancel()
        raise


def is_background_thread() -> bool:
    """Return whether this thread is the loop's, which must not wait for itself."""
    with _start_lock:
        return threading.current_thread() is _start_loop(os.getpid())[1]


@functools.cache
def _start_loop(process: int) -> tuple[asyncio.AbstractEventLoop, threading.Thread]:  # noqa: ARG001 - the cache's key
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="raft-calls", daemon=True)
    thread.start()
    atexit.register(_stop, loop, thread)
    return loop, thread


def _stop(loop: asyncio.AbstractEventLoop, thread: threading.Thread) -> None:
    """Stop the loop before the interpreter ends: what its thread still held would be reported as leaked."""
    loop.call_soon_threadsafe(lambda: loop.create_task(_cancel_tasks_and_stop(loop)))
    thread.join(timeout=STOP_TIMEOUT_S)


async def _cancel_tasks_and_stop(loop: asyncio.AbstractEventLoop) -> None:
    tasks = asyncio.all_tasks() - {asyncio.current_task()}
    for task in tasks:
        task.cancel()
    if tasks:
        await asyncio.wait(tasks)
    loop.stop()
