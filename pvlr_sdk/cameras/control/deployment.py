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
from .probation import Probation, State, Status, load, record_version
from .site_file import SiteFile, fingerprint, in_progress, locked

_log = logging.getLogger(__name__)
_POLL = 0.02


class Deployment:
    """Changes the plan that a tagger runs. Thread-safe; a second change at the same time is refused.

    Args:
        tagger, site, path, settings: as for :class:`.control.Control`; the site file names the plan.
        check: raises what is wrong with a new plan; None: its thresholds must fit the site's.
        lock: held while something changes, not while a plan is loaded; None: a lock of its own.
    """

    def __init__(
        self,
        tagger: Tagger,
        site: Site | None = None,
        path: Path | None = None,
        settings: DeployConfig | None = None,
        check: Callable[[Tagger], object] | None = None,
        lock: AbstractContextManager[Any] | None = None,
    ) -> None:
        self._tagger, self._site = tagger, site
        self._check = check or (lambda candidate: make_detectors(site.config, candidate) if site else None)
        self._file = SiteFile(path) if path else None
        self._settings = settings or DeployConfig()
        self._lock, self._loading = lock or threading.RLock(), False
        self._probation: Probation | None = None
        self._reason = ""
        self._running = fingerprint(Path(str(tagger.info.get("plan", ""))))
        self._text: Any = None
        with suppress(errors.ConfigError):  # an invalid file is reported by the first change
            self._text = self._file.texts()[0] if self._file else None
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
        """Put another plan in use, and keep a copy of it and the previous one next to the site file.

        Args:
            source: a plan, its folder or the name of a model.

        Raises:
            DeployError: it is the plan in use, or has other labels, or another change is in progress.
            BundleError, OptionError, OutputError, ConfigError: the plan, its signature, or the site file is invalid or
                cannot be written. In each case the plan in use stays.
        """
        with self._exclusively():
            bundle = load_bundle(source, trust=self._tagger.trust or False)  # before anything is copied
            self._check_new(bundle.path)
            plan = self._file.install(bundle.path) if self._file else bundle.path
            text = self._file.text_of(plan) if self._file else None
            try:
                self._change(plan, text, self._text)
            except BaseException:
                if self._file:
                    self._file.discard(text)
                raise

    def reload(self) -> None:
        """Put the plan in use that the site file names now; without a site file, the plan's files as they are now.

        If it is refused, the site file names the plan in use again. Raises what :meth:`deploy` raises.
        """
        with self._exclusively():
            if self._file is None:
                self._change(Path(str(self._tagger.info["plan"])), None, None)
                return
            wanted, _ = self._file.plans()
            try:
                self._change(find_plan(wanted), self._file.texts()[0], None, record=False)
            except errors.PvlrError:
                self._restore()
                raise

    def rollback(self) -> None:
        """Return to the previous plan. Only its self-test can refuse it. Raises what :meth:`deploy` raises."""
        with self._exclusively():
            previous, text = self._previous, None
            if self._file and (named := self._file.plans()[1]):
                previous, text = named, self._file.texts()[1]
            elif self._file and previous:
                text = self._file.text_of(previous)
            if previous is None:
                hint = "Deploy the plan that you want."
                raise errors.DeployError("rollback", expected="a previous plan", got="none", hint=hint)
            self._change(find_plan(previous), text, self._text, back=True)

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
            self._loading, self._reason = True, ""
        try:
            with locked(self._file.folder) if self._file else nullcontext():
                yield
        except errors.PvlrError as error:
            self._reason = f"{type(error).__name__}: {error}"
            raise
        finally:
            self._loading = False

    def _check_new(self, plan: Path) -> None:
        if self._running and fingerprint(plan) == self._running:
            expected, hint = "another plan than the one in use", "There is nothing to do."
            raise errors.DeployError(str(plan), expected=expected, got="the same", hint=hint)

    def _change(self, plan: Path, text: Any, previous: Any, *, back: bool = False, record: bool = True) -> None:
        """Load a plan, test it, name it in the site file, and exchange it.

        ``text``, ``previous``: what the site file is to name, if ``record``. ``back``: a plan that was in use, so its
        version may be lower.
        """
        self._check_new(plan)
        before, stale = Path(str(self._tagger.info["plan"])), self._file.texts()[1] if self._file else None
        identity = fingerprint(plan)
        try:
            candidate = load(self._tagger, plan, back)
            try:
                with self._lock:
                    if self.keep_bank:
                        candidate.set_labels(self._tagger.label_bank)
                    self._check(candidate)  # before the site file names it
                    versions = [(one.info["signature"] or {}).get("version", 0) for one in (candidate, self._tagger)]
                    if versions[0] < versions[1]:  # the site file never names a plan older than the recorded version
                        record_version(self._tagger, plan)
                    if self._file and record:
                        self._file.name(text, previous)
                    (self._site or self._tagger).exchange(candidate)  # which then has the replaced plan
            except BaseException:
                candidate.close()
                raise
        finally:
            self._record_version()
        with self._lock:
            self._end_probation()
            replaced = self._running, self._text
            self._running, self._reason, self._text, self._previous = identity, "", text, before
            if self._file and record:
                self._file.discard(stale)
            _log.info(
                "plan %s (%.12s) replaces the previous one", self._tagger.info["name"], self._tagger.info["sha256"]
            )
            if self._settings.probation and not back:
                self._probation = Probation(self._settings.probation, candidate, replaced, text)
                threading.Thread(target=self._watch, args=[self._probation], name="pvlr-probation", daemon=True).start()
            else:
                candidate.close()

    def _watch(self, probation: Probation) -> None:
        """End a probation: the previous plan returns if the new one fails."""
        reason, undone = probation.wait(), False
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
        self._running, self._text = probation.before
        self._previous, self._reason = None, reason
        self._restore()
        if self._file:
            self._file.discard(probation.text)
        return True

    def _record_version(self) -> None:
        with suppress(errors.PvlrError):  # its files may be gone
            record_version(self._tagger, Path(str(self._tagger.info["plan"])))

    def _restore(self) -> None:
        """Let the site file name the plan in use."""
        plan = Path(str(self._tagger.info["plan"]))
        if self._file is None or fingerprint(plan) != self._running:
            return
        try:
            if self._file.texts()[0] != self._text:
                self._file.name(self._text, None)
        except errors.PvlrError as error:
            _log.warning("the site file still names the plan that was refused: %s", error)

    def _end_probation(self) -> None:
        probation, self._probation = self._probation, None
        if probation is not None:
            probation.close()
