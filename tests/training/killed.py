"""Trains, and lets the kernel kill the training at each of the given points: ``killed.py CONFIG OUT POINT:NUMBER ...``.

Each training is a process of its own, forked before torch has computed anything; its run is in ``OUT/POINT-NUMBER``.
POINT is ``step`` (in the middle of the n-th step), ``write`` (in the middle of the n-th state that is written),
``rename`` (right before the n-th file gets its name), ``logged`` (the n-th epoch is in the log, its state is not saved)
or ``again`` (resumed and killed in the n-th step, until it comes to its end).
"""

from __future__ import annotations

import io
import os
import resource
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from rich.console import Console

from pvlr_sdk._util import files
from pvlr_training import logs, loop, train


def on_call(
    number: int, owner: Any, name: str, action: Callable[[], None], *, after: bool = False
) -> None:
    """Act before or after the ``number``-th call of a function."""
    original, calls = getattr(owner, name), []

    def counted(*arguments: Any, **options: Any) -> Any:
        calls.append(True)
        now = len(calls) == number
        if now and not after:
            action()
        result = original(*arguments, **options)
        if now and after:
            action()
        return result

    setattr(owner, name, counted)


def kill() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def kill_within_the_next_file() -> None:
    """Let the kernel end the process when it has written this much to a file."""
    signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, resource.RLIM_INFINITY))


def arm(point: str, number: int) -> None:
    if point in ("step", "again"):
        on_call(number, loop.nn.utils, "clip_grad_norm_", kill)
    elif point == "write":
        on_call(number, loop, "save_state", kill_within_the_next_file)
    elif point == "rename":
        on_call(number, files.os, "replace", kill)
    elif point == "logged":
        on_call(number, logs.RunLog, "epoch", kill, after=True)


def train_until_killed(config: Path, out: Path, point: str, number: int) -> int:
    """The signal that ended the training; 0 if it finished."""
    child = os.fork()
    if child:
        _, status = os.waitpid(child, 0)
        assert os.WIFSIGNALED(status) or os.WEXITSTATUS(status) == 0
        return os.WTERMSIG(status) if os.WIFSIGNALED(status) else 0
    try:
        torch.set_num_threads(1)
        arm(point, number)
        # Save after every step; for rename points, only at the end of each epoch.
        often = f"train.save_every={1000 if point == 'rename' else 0}"
        train.train(
            config, [often], out=out, resume=point == "again", console=Console(file=io.StringIO())
        )
    except BaseException:
        sys.excepthook(*sys.exc_info())
        os._exit(1)
    os._exit(0)


if __name__ == "__main__":
    for kill_point in sys.argv[3:]:
        what, n = kill_point.split(":")
        folder = Path(sys.argv[2]) / f"{what}-{n}"
        ended = train_until_killed(Path(sys.argv[1]), folder, what, int(n))
        assert ended == (signal.SIGXFSZ if what == "write" else signal.SIGKILL), (
            f"{kill_point} ended with {ended}"
        )
        while what == "again" and ended:
            ended = train_until_killed(Path(sys.argv[1]), folder, what, int(n))
