"""Lets requests that compute, or that wait for a lock, have their turn before they take a thread."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable, Hashable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from functools import partial, wraps
from time import perf_counter
from typing import TYPE_CHECKING, Any, TypeVar
from weakref import WeakValueDictionary

import anyio
from anyio.to_thread import run_sync
from starlette.requests import Request

from .audit import address_of, who
from .listener import network_of
from .problems import ProblemError

if TYPE_CHECKING:
    from starlette.types import Scope

Result = TypeVar("Result")

_SECONDS = 0.2
"""Assumed duration of the first piece of work."""
PENALTY = 1.0
"""Seconds until a request is refused. A client that tries again at once would cost more than its work."""


@dataclass(eq=False)
class _Line:
    """The requests of a client: how many wait, and which of them is next."""

    turn: asyncio.Semaphore
    waiting: int = 0


class Turns:
    """Runs the work of requests in threads, a few at a time. Requests wait in the event loop, where they cost nothing.

    Turns are given in the order of requests, but a client gets or awaits only as many as there are workers: clients
    take turns. Call it in the event loop.

    Args:
        workers: pieces of work at the same time.
        most: requests of one client that may wait; more are refused.
        patience: seconds until a request that waits is refused.

    Attributes:
        seconds: a moving average of the duration of a piece of work.
    """

    def __init__(self, workers: int = 1, most: int = 20, patience: float = 10.0) -> None:
        self._workers = workers
        self._most = most
        self._patience = patience
        self._free = asyncio.Semaphore(workers)
        self._lines: WeakValueDictionary[Hashable, _Line] = WeakValueDictionary()
        self.seconds = _SECONDS

    def route(self, endpoint: Callable[..., Result]) -> Callable[..., Any]:
        """A route's function, which then runs when it is its turn."""
        signature = inspect.signature(endpoint, eval_str=True)
        parameters = list(signature.parameters.values())
        has_request = any(parameter.annotation is Request for parameter in parameters)
        if not has_request:
            kind = inspect.Parameter.KEYWORD_ONLY
            parameters.append(inspect.Parameter("request", kind, annotation=Request))

        @wraps(endpoint)
        async def in_turn(**values: Any) -> Result:
            request = values["request"] if has_request else values.pop("request")
            return await self.run(client_of(request.scope), partial(endpoint, **values))

        vars(in_turn)["__signature__"] = signature.replace(parameters=parameters)
        vars(in_turn)["turns"] = self
        return in_turn

    async def run(
        self,
        client: Hashable,
        work: Callable[[], Result],
        began: Callable[[], None] = lambda: None,
    ) -> Result:
        """Run work in a thread when it is the client's turn, and return its result; ``began`` is called before it.

        Raises ProblemError (503) if the client has too many requests, or its turn does not come in time.
        """
        line = self._lines.setdefault(client, _Line(asyncio.Semaphore(self._workers)))
        running = None
        if line.waiting < self._most:
            line.waiting += 1
            try:
                with anyio.move_on_after(self._patience):
                    async with AsyncExitStack() as held:
                        for semaphore in (line.turn, self._free):
                            await held.enter_async_context(semaphore)
                        # A thread cannot be stopped, and keeps its turn until it ends, whoever still waits for it.
                        running = asyncio.create_task(self._work(work, held.pop_all()))
            finally:
                line.waiting -= 1
        if running is None:
            await anyio.sleep(PENALTY)
            raise ProblemError(
                503, "Too many requests wait.", Retry_After=str(self.seconds_of(line.waiting))
            )
        began()
        # nobody may be left to await it
        running.add_done_callback(lambda task: task.cancelled() or task.exception())
        return await asyncio.shield(running)

    def seconds_of(self, waiting: int) -> int:
        """In how many seconds so many requests will have had their turn."""
        return 1 + int(waiting * self.seconds / self._workers)

    async def _work(self, work: Callable[[], Result], held: AsyncExitStack) -> Result:
        start = perf_counter()
        async with held:
            try:
                # cancelled only when the server ends
                return await run_sync(work, abandon_on_cancel=True)
            finally:
                self.seconds += 0.2 * (perf_counter() - start - self.seconds)


def client_of(scope: Scope) -> Hashable:
    """Whose request it is: the name of its token, and its address or network."""
    return who(scope), network_of(address_of(scope) or "")
