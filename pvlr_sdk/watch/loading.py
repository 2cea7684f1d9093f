"""Two ways to load a plan in the place of the running one: beside it, or one after the other."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext, suppress
from dataclasses import replace
from pathlib import Path
from typing import TypeAlias

from .. import errors
from ..inference import golden
from ..models.find import load_bundle
from ..tagger import Tagger
from ..trust import accept as accept_version
from .site import Site
from .trial import Trial, live_frames

_FRAMES, _SECONDS = 16, 3.0
"""Number of live frames of a trial, and how long it waits for them."""
_HELD = 4
"""Number of frames that are held in memory while no plan is loaded."""
_SYNTHETIC = 8
"""Runs of the synthetic frame where there are no live ones."""

Commit: TypeAlias = Callable[[Tagger, Trial], None]
"""Judges the new plan by its trial, and exchanges it for the running one; an exception keeps that."""


def load(tagger: Tagger, plan: Path, back: bool) -> Tagger:
    """Load a plan with the options of a tagger, and with its label bank if that is not the one of its own plan.

    ``back``: the plan was in use, so its version may be lower.

    Raises:
        DeployError: it cannot use the label bank.
        BundleError: it cannot be loaded.
    """
    loaded = tagger.load(plan, allow_rollback=back)
    if tagger.info["bank"] != tagger.info["own_bank"]:
        try:
            loaded.set_labels(tagger.label_bank)
        except errors.BundleError as error:
            loaded.close()
            hint = "Deploy an open plan of the same model, or set plan: and bank: in the site file and restart."
            expected = f"a plan that can use the label bank in use ({error.expected})"
            raise errors.DeployError(str(plan), expected=expected, got=error.got, hint=hint) from None
    return loaded


def beside(tagger: Tagger, site: Site | None, plan: Path, commit: Commit, back: bool) -> tuple[Trial, Tagger]:
    """Load a plan while the running one goes on. Returns the trial, and a tagger with the plan that was replaced.

    Raises:
        DeployError: it has other labels.
        BundleError: as for :func:`load`. What ``commit`` raises passes, too.
    """
    candidate = load(tagger, plan, back)
    try:
        _check_labels(tagger, candidate, plan)
        before, after = [], []
        for pixels, color in live_frames(site, _FRAMES, _SECONDS) if site else ():
            with site.between_frames() if site else nullcontext():
                before.append(tagger.predict(pixels, color=color))
                after.append(candidate.predict(pixels, color=color))
        live = bool(before)
        for _ in range(0 if live else _SYNTHETIC):
            before.append(tagger.predict(golden.default_frame()))
            after.append(candidate.predict(golden.default_frame()))
        trial = Trial.of(before, after, live=live)
        commit(candidate, trial)
    except BaseException:
        candidate.close()
        raise
    return trial, candidate


def in_turn(tagger: Tagger, site: Site | None, plan: Path, running: Path, commit: Commit, back: bool) -> Trial:
    """Close the running plan, then load another one; meanwhile calls wait. If that fails, load the running one again.

    Raises:
        DeployError, BundleError: as for :func:`beside`.
    """
    frames = list(live_frames(site, _HELD, _SECONDS)) if site else []
    live = bool(frames)
    frames = frames or [(golden.default_frame(), "bgr")] * _SYNTHETIC
    before = [tagger.predict(pixels, color=color) for pixels, color in frames]
    with tagger.suspended():
        candidate = None
        try:
            candidate = load(tagger, plan, back)
            _check_labels(tagger, candidate, plan)
            after = [candidate.predict(pixels, color=color) for pixels, color in frames]
            trial = Trial.of(before, after, live=live)
            commit(candidate, trial)
            return trial
        except BaseException as error:
            if candidate is not None:
                candidate.close()
            failure = error.with_traceback(None)  # which would keep the new plan in memory
        tagger.exchange(load(tagger, running, True))
    raise failure


def accept(tagger: Tagger, plan: Path) -> None:
    """Let a plan that is in use be loaded again, although the version of a newer one was recorded."""
    if tagger.trust:
        with suppress(errors.PvlrError):  # it is loaded; its files may be gone
            trust = replace(tagger.trust, allow_rollback=True)
            accept_version(load_bundle(plan, trust=trust), trust)


def _check_labels(tagger: Tagger, candidate: Tagger, plan: Path) -> None:
    if candidate.labels != tagger.labels:
        count = len(set(candidate.labels) ^ set(tagger.labels))
        raise errors.DeployError(
            str(plan),
            expected=f"the {len(tagger.labels)} labels of the running plan, in their order",
            got=f"{len(candidate.labels)} labels, {count} names in one plan only" if count else "another order",
            hint="Set plan: in the site file and restart, since events and sinks depend on the labels.",
        )
