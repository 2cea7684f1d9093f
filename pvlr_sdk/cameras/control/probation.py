"""Loads the plan that is to replace the running one, and keeps the previous plan while the new one is on probation."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, TypeAlias

from ... import errors
from ...models.find import load_bundle
from ...tagger import Tagger
from ...trust import accept

State: TypeAlias = Literal["in use", "loading", "probation"]


@dataclass(frozen=True)
class Status:
    """The plan in use. ``reason``: why the last change was refused or undone; empty if it was not."""

    model: str
    plan: str
    state: State
    reason: str


class Probation:
    """The previous plan, which returns if the new one fails within some seconds.

    Args:
        seconds: its length.
        kept: a tagger with the previous plan.
        before: the fingerprint of the previous plan.
        plan: the new plan.
    """

    def __init__(self, seconds: float, kept: Tagger, before: str, plan: Path) -> None:
        self.kept = kept
        self.before = before
        self.plan = plan
        self._end = time.monotonic() + seconds
        self._failed = threading.Event()
        self._error = ""

    def fail(self, error: errors.BundleError) -> None:
        """Note that the new plan failed; safe in any thread."""
        # the exception itself keeps the plan in memory
        self._error = f"{type(error).__name__}: {error}"
        self._failed.set()

    def wait(self) -> str:
        """Wait until the new plan fails or the time is over; returns why it failed, or an empty string."""
        self._failed.wait(max(0.0, self._end - time.monotonic()))
        return self._error

    def close(self) -> None:
        """Free the tagger that was kept, and end :meth:`wait`."""
        self.kept.close()
        self._failed.set()


def load(tagger: Tagger, plan: Path, back: bool) -> Tagger:
    """Load a plan with the options of a tagger, and with its label bank if that is not the one of its own plan.

    ``back``: the plan was in use, so its version may be lower.

    Raises:
        DeployError: the plan has other labels, or cannot use the label bank.
        BundleError: the plan cannot be loaded, or fails its self-test.
    """
    loaded = tagger.load(plan, allow_rollback=back, record_version=False)
    try:
        if tagger.info["bank"] != tagger.info["own_bank"]:
            _set_labels(loaded, tagger, plan)
        if loaded.labels != tagger.labels:
            count = len(set(loaded.labels) ^ set(tagger.labels))
            raise errors.DeployError(
                str(plan),
                f"the {len(tagger.labels)} labels of the running plan, in their order",
                f"{len(loaded.labels)} labels, {count} names in one plan only"
                if count
                else "another order",
                "Set plan: in the site file and restart, since events and sinks depend on the labels.",
            )
    except BaseException:
        loaded.close()
        raise
    return loaded


def record_version(tagger: Tagger, plan: Path) -> None:
    """Record the version of a signed plan, newer or older, for the next start. Raises BundleError and OutputError."""
    if tagger.trust:
        trust = replace(tagger.trust, allow_rollback=True)
        accept(load_bundle(plan, trust=trust).signature, trust)


def _set_labels(loaded: Tagger, tagger: Tagger, plan: Path) -> None:
    try:
        loaded.set_labels(tagger.label_bank)
    except errors.BundleError as error:
        raise errors.DeployError(
            str(plan),
            f"a plan that can use the label bank in use ({error.expected})",
            error.got,
            "Deploy an open plan of the same model, or set plan: and bank: in the site file and restart.",
        ) from None
