"""Who has the machine: the engine that answers, or one job that trains; never both.

While a job trains the engine sleeps, and whoever asks a model is told which job it is and when to come back. A job that
is created while another one trains waits in the queue; what is being answered when a job's turn comes is answered to
its end first.
"""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from anyio.to_thread import run_sync

from raft_assets.core.error_codes import PAUSED_FOR_JOB
from raft_assets.local.engine import Engine, EngineError, EngineRefusedError
from raft_assets.provider.errors import SERVER_ERROR, ApiError
from raft_assets.provider.jobs import JobService

log = logging.getLogger(__name__)

LOOK_S = 1.0  # between two looks whether a job is there, or has ended
MAX_STARTS = 3  # of an engine that ends again and again before it has answered
PAUSE_S = 15  # what a client is asked to wait while a job trains
LOADING_PAUSE_S = 3  # while the engine loads


class Machine:
    """The one owner of a machine's accelerator and memory."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._jobs: JobService | None = None
        self._training = ""  # the job that is next, or trains
        self._turn = ""  # the same once the machine is empty for it
        self._is_open, self._failure = False, ""
        self._answering, self._is_idle = 0, asyncio.Event()
        self._is_idle.set()
        self._noticed = asyncio.Event()

    def attach(self, jobs: JobService) -> None:
        """Give the machine its jobs, which ask `may_start` for their turn."""
        self._jobs = jobs

    def may_start(self, job_id: str) -> bool:
        """Return whether it is the job's turn."""
        return job_id == self._turn

    def notice(self) -> None:
        """Look for a job now."""
        self._noticed.set()

    async def run(self) -> None:
        """Hand the machine to jobs and back to the engine, until cancelled; the engine then ends."""
        await self._engine.end_orphan()  # before anything else: it may have the memory that a job needs
        try:
            while True:
                self._noticed.clear()
                try:
                    await self._look()
                except Exception:  # the machine would never be handed over again
                    log.exception("the machine could not be handed over; it is tried again")
                with suppress(TimeoutError):
                    await asyncio.wait_for(self._noticed.wait(), LOOK_S)
        finally:
            await self._engine.stop()

    async def _look(self) -> None:
        """Hand the machine to whoever is next."""
        if self._training or await self._find_next():
            await self._let_train()
        elif not self._failure:
            await self._let_answer()

    @asynccontextmanager
    async def answering(self) -> AsyncIterator[Engine]:
        """Yield the engine for one request. Raises ApiError (503) while a job trains or the model is being loaded."""
        if not self._is_open:
            raise self._refusal()
        self._answering += 1
        self._is_idle.clear()
        try:
            yield self._engine
        except EngineRefusedError as error:
            raise ApiError(500, str(error), code="engine_refused", kind=SERVER_ERROR) from error
        except EngineError as error:
            log.warning("%s", error)
            self.notice()
            raise _loading() from error
        finally:
            self._answering -= 1
            if not self._answering:
                self._is_idle.set()

    def _refusal(self) -> ApiError:
        if self._training:
            return ApiError(
                503,
                f"The fine-tuning job {self._training} has this machine. Requests are answered when it has ended.",
                code=PAUSED_FOR_JOB,
                kind=SERVER_ERROR,
                headers={"retry-after": str(PAUSE_S)},
            )
        if self._failure:
            return ApiError(500, self._failure, code="engine_failed", kind=SERVER_ERROR)
        return _loading()

    async def _find_next(self) -> bool:
        """Choose the oldest job that has not ended."""
        assert self._jobs is not None
        unfinished = await run_sync(self._jobs.unfinished)
        self._training = unfinished[0] if unfinished else ""
        return bool(unfinished)

    async def _let_train(self) -> None:
        """Empty the machine for the job, see that its worker lives, and end its turn when that is gone."""
        assert self._jobs is not None
        self._is_open = False
        await self._is_idle.wait()
        if self._engine.is_alive:
            try:
                await self._engine.sleep()
            except EngineError as error:
                log.warning("%s The engine is ended for the job instead.", error)
                await self._engine.stop()
        self._failure, self._turn = "", self._training
        if not await run_sync(self._jobs.is_worked_on, self._training):
            self._training = self._turn = ""
            self.notice()

    async def _let_answer(self) -> None:
        """See that the engine answers."""
        if self._engine.is_alive and self._is_open:
            return
        self._is_open = False
        for left in reversed(range(MAX_STARTS)):
            try:
                if not self._engine.is_alive:
                    await self._engine.start()
                await self._engine.wake_up()
            except (EngineError, OSError) as error:
                log.warning("%s", error)
                await self._engine.stop()
                self._failure = "" if left else str(error)
            else:
                self._is_open = True
                return


def _loading() -> ApiError:
    return ApiError(
        503,
        "The server is still loading the model.",
        code="loading_model",
        kind=SERVER_ERROR,
        headers={"retry-after": str(LOADING_PAUSE_S)},
    )
