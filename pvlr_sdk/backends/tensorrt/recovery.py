"""One new CUDA context for all plans of the process, after a fault has broken the old one."""

from __future__ import annotations

from threading import Lock
from weakref import WeakSet

from ... import errors, kernels
from .libcuda import Driver
from .session import Session

LOCK = Lock()
"""Held while a session is opened or the context is reset: a reset would destroy a session that is just being opened."""

sessions: WeakSet[Session] = WeakSet()
"""Those of the present context, usable or lost. They share it, so a reset ends all of them."""


def renew(cuda: Driver, lost: Session) -> None:
    """Reset the context, unless another plan has done so since ``lost`` was lost. The caller holds the lock.

    A broken context takes all its memory with it, so none of it may be in use, by any plan.

    Raises:
        DeviceLostError: a frame of some plan is still in flight.
        CudaError: the reset failed; another call tries again.
    """
    if lost not in sessions:
        return
    sharing = [session for session in sessions if session.cuda is cuda]
    if any(session.in_use() for session in sharing):
        raise lost.loss()
    error = lost.loss()
    for session in sharing:
        session.lose(errors.DeviceLostError(session.source, expected=error.expected, got=error.got, hint=error.hint))
        session.forget()
    cuda.reset()
    kernels.forget_pools()
    sessions.difference_update(sharing)
