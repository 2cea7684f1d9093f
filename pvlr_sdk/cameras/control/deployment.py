"""Replaces the plan of a running site: load, test, exchange, and return to the previous plan if it fails."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from pathlib import Path
from typing import Any

from ... import errors
from ...models.find import find_plan, load_bundle
from ...tagger import Tagger
from ..site.config import DeployConfig
from ..site.factory import make_detectors
from ..site.site import Site
from .plans import Plans, fingerprint
from .probation import Probation, State, Status, load, record_version
from .state import in_progress

_log = logging.getLogger(__name__)
_POLL = 0.02


class Deployment:
    """Changes the plan that a tagger runs. Thread-safe; a second change at the same time is refused.

    Args:
        tagger, site: as for :class:`.control.Control`.
        plans: the plan of the next start, and copies of deployed plans; None: changes hold until the end.
        settings: limits of another plan.
        check: raises what is wrong with a new plan; None: its thresholds must fit the site's.
        lock: held while something changes, not while a plan is loaded; None: a lock of its own.
    """

    def __init__(
        self,
        tagger: Tagger,
        site: Site | None = None,
        plans: Plans | None = None,
        settings: DeployConfig | None = None,
        check: Callable[[Tagger], object] | None = None,
        lock: AbstractContextManager[Any] | None = None,
    ) -> None:
        self._tagger = tagger
        self._site = site
        self._check = check or (
            lambda candidate: make_detectors(site.config, candidate) if site else None
        )
        self._plans = plans
        self._settings = settings or DeployConfig()
        self._lock = lock or threading.RLock()
        self._loading = False
        self._probation: Probation | None = None
        self._reason = ""
        self._running = fingerprint(Path(str(tagger.info.get("plan", ""))))
        self._previous: Path | None = None
        self.keep_bank = False
        """Whether the next start has a label bank, which every plan must be able to use."""
        self.on_undone: Callable[[str], None] = lambda reason: None
        """Called with the reason when the previous plan has returned by itself."""
        if site:
            site.on_failure(self.failed)

    @property
    def status(self) -> Status:
        """The plan in use, and how far its deployment is."""
        info = self._tagger.info
        state: State = "loading" if self._loading else "probation" if self._probation else "in use"
        return Status(str(info["name"]), str(info["sha256"]), state, self._reason)

    def deploy(self, source: str | Path) -> None:
        """Put another plan in use, and keep a copy of it and the previous one in the state folder.

        Args:
            source: a plan, its folder or the name of a model.

        Raises:
            DeployError: it is the plan in use, or has other labels, or another change is in progress.
            BundleError, OptionError, OutputError, ConfigError: the plan, its signature, or the site file is invalid, or
                the state folder cannot be written. In each case the plan in use stays.
        """
        with self._exclusively():
            # before anything is copied
            bundle = load_bundle(source, trust=self._tagger.trust or False)
            self._check_new(bundle.path)
            plan = self._plans.install(bundle.path) if self._plans else bundle.path
            try:
                self._change(plan)
            except BaseException:
                if self._plans:
                    self._plans.discard(plan)
                raise

    def reload(self) -> None:
        """Put the plan in use that the site file, or a deployment by another process, names now; without a site file,
        the plan's files as they are now.

        If it is refused, the next start uses the plan in use. Raises what :meth:`deploy` raises.
        """
        with self._exclusively():
            if self._plans is None:
                self._change(self._plan_in_use)
                return
            plan, _ = self._plans.named()
            try:
                self._change(plan, named=True)
            except errors.PvlrError:
                self._restore()
                raise

    def rollback(self) -> None:
        """Return to the previous plan. Only its self-test can refuse it. Raises what :meth:`deploy` raises."""
        with self._exclusively():
            previous = self._named_previous() or self._previous
            if previous is None:
                raise errors.DeployError(
                    "rollback", "a previous plan", "none", "Deploy the plan that you want."
                )
            self._change(find_plan(previous), back=True)

    def failed(self, error: errors.BundleError) -> bool:
        """Note a failure of the plan; returns whether the previous plan will replace it."""
        probation = self._probation  # another thread may end it
        if probation is not None:
            probation.fail(error)
        return probation is not None

    def close(self) -> None:
        """End the probation; the plan in use stays."""
        with self._lock:
            self._end_probation()

    @contextmanager
    def _exclusively(self) -> Iterator[None]:
        with self._lock:
            if self._loading:
                raise in_progress("deployment")
            self._loading = True
            self._reason = ""
        try:
            with self._plans.locked() if self._plans else nullcontext():
                yield
        except errors.PvlrError as error:
            self._reason = f"{type(error).__name__}: {error}"
            raise
        finally:
            self._loading = False

    def _check_new(self, plan: Path) -> None:
        if self._running and fingerprint(plan) == self._running:
            raise errors.DeployError(
                str(plan), "another plan than the one in use", "the same", "There is nothing to do."
            )

    @property
    def _plan_in_use(self) -> Path:
        return Path(str(self._tagger.info["plan"]))

    def _named_previous(self) -> Path | None:
        return self._plans.named()[1] if self._plans else None

    def _change(self, plan: Path, *, back: bool = False, named: bool = False) -> None:
        """Load a plan, test it, let the next start use it, and exchange it.

        ``back``: a plan that was in use, so its version may be lower. ``named``: the next start uses it already.
        """
        self._check_new(plan)
        before = self._plan_in_use
        stale = None
        with suppress(errors.PvlrError):
            stale = self._named_previous()
        identity = fingerprint(plan)
        try:
            candidate = load(self._tagger, plan, back)
            try:
                with self._lock:
                    if self.keep_bank:
                        candidate.set_labels(self._tagger.label_bank)
                    self._check(candidate)  # before the next start would use it
                    version, running = (_version(tagger) for tagger in (candidate, self._tagger))
                    # the next start never uses a plan older than the recorded version
                    if version < running:
                        record_version(self._tagger, plan)
                    if self._plans and not named:
                        self._plans.name(plan, before)
                    # which then has the replaced plan
                    (self._site or self._tagger).exchange(candidate)
            except BaseException:
                candidate.close()
                raise
        finally:
            self._record_version()
        with self._lock:
            self._end_probation()
            replaced = self._running
            self._running = identity
            self._reason = ""
            self._previous = before
            if self._plans:
                self._plans.discard(stale)
            info = self._tagger.info
            _log.info("plan %s (%.12s) replaces the previous one", info["name"], info["sha256"])
            if self._settings.probation and not back:
                self._probation = Probation(self._settings.probation, candidate, replaced, plan)
                threading.Thread(
                    target=self._watch, args=[self._probation], name="pvlr-probation", daemon=True
                ).start()
            else:
                candidate.close()

    def _watch(self, probation: Probation) -> None:
        """End a probation: the previous plan returns if the new one fails."""
        reason = probation.wait()
        undone = False
        while probation is self._probation:
            with self._lock:
                if probation is self._probation and not self._loading:
                    undone = bool(reason) and self._undo(probation, reason)
                    self._end_probation()
                    break
            time.sleep(_POLL)
        if undone:
            _log.warning("the previous plan has returned: %s", reason)
            self.on_undone(reason)

    def _undo(self, probation: Probation, reason: str) -> bool:
        """Bring the previous plan back; False: it cannot return."""
        try:
            (self._site or self._tagger).exchange(probation.kept)
        except errors.PvlrError as error:
            _log.error("the previous plan cannot return: %s", error)
            self._reason = f"{reason}; the previous plan cannot return: {error}"
            return False
        self._record_version()
        self._running = probation.before
        self._previous = None
        self._reason = reason
        self._restore()
        if self._plans:
            self._plans.discard(probation.plan)
        return True

    def _record_version(self) -> None:
        with suppress(errors.PvlrError):  # its files may be gone
            record_version(self._tagger, self._plan_in_use)

    def _restore(self) -> None:
        """Let the next start use the plan in use."""
        if self._plans is None or fingerprint(self._plan_in_use) != self._running:
            return
        try:
            if not self._plans.uses(self._plan_in_use):
                self._plans.name(self._plan_in_use, None)
        except errors.PvlrError as error:
            _log.warning("the next start still uses the plan that was refused: %s", error)

    def _end_probation(self) -> None:
        probation = self._probation
        self._probation = None
        if probation is not None:
            probation.close()


def _version(tagger: Tagger) -> int:
    """The version of a signed plan; 0: it has no signature."""
    return int((tagger.info["signature"] or {}).get("version", 0))
