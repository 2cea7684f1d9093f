"""Replaces the plan of a running site: load, test, compare, exchange, and return to the previous plan if it fails."""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path
from typing import Any

from .. import errors
from ..bundle.label_bank import LabelBank
from ..models.find import find_plan, load_bundle
from ..result import TagResult
from ..tagger import Tagger
from .config import DeployConfig
from .factory import make_detectors
from .loading import Commit, accept, beside, in_turn, load
from .place import Place, fingerprint, in_progress
from .site import Site
from .trial import Probation, State, Status, Trial

_log = logging.getLogger(__name__)
_LOOK, _PATIENCE = 0.25, 2.0


class Deployment:
    """Changes the plan that a tagger runs. Thread-safe; a second change at the same time is refused.

    Args:
        tagger: gets the new plan; whoever holds it sees the change. It is not closed.
        site: its cameras give the frames of a trial, and its events continue; None: there are no cameras.
        path: the site file that names the plan; None: changes hold until the end of the process.
        settings: limits of a change.
        check: raises what is wrong with a new plan; None: its thresholds must fit the site's.
    """

    def __init__(
        self,
        tagger: Tagger,
        site: Site | None = None,
        path: Path | None = None,
        settings: DeployConfig | None = None,
        check: Callable[[Tagger], object] | None = None,
    ) -> None:
        self._tagger, self._site = tagger, site
        self._exchange: Callable[[Tagger], None] = lambda other: (site or tagger).exchange(other)
        self._check = check or (lambda candidate: make_detectors(site.config, candidate) if site else None)
        self._place = Place(path) if path else None
        self._settings = settings or DeployConfig()
        self._busy, self._loading = threading.Lock(), False
        self._times: deque[float] = deque(maxlen=64)
        self._probation: Probation | None = None
        self._kept: Tagger | None = None
        self._reason = ""
        self._trial: Trial | None = None
        self._running = fingerprint(Path(str(tagger.info.get("plan", ""))))
        self._text: Any = None
        with suppress(errors.ConfigError):  # an invalid file is reported by the first change
            self._text = self._place.texts()[0] if self._place else None
        self._previous: Path | None = None
        self.on_undone: Callable[[str], None] = lambda reason: None
        """Called with the reason when the previous plan has returned by itself."""
        if site:
            site.on_observation(lambda seen: self.observe(seen.result))
            site.on_failure(self.failed)

    @property
    def status(self) -> Status:
        """The plan in use, and how far its deployment is."""
        info = self._tagger.info
        state: State = "loading" if self._loading else "probation" if self._probation else "in use"
        return Status(str(info["name"]), str(info["sha256"]), state, self._reason, self._trial)

    def deploy(self, source: str | Path, *, sequential: bool | None = None) -> Trial:
        """Put another plan in use, and keep a copy of it and the previous one beside the site file.

        Args:
            source: a plan, its folder or the name of a model.
            sequential: close the running plan before the new one is loaded; None: as the settings say.

        Raises:
            DeployError: it is the plan in use, or has other labels, or is slower or disagrees more than allowed, or
                another change is in progress.
            BundleError, OptionError, OutputError, ConfigError: the plan, its signature, or the site file is invalid or
                cannot be written. In each case the plan in use stays.
        """
        with self._exclusively():
            bundle = load_bundle(source, trust=self._tagger.trust or False)  # before anything is copied
            self._check_new(bundle.path)
            plan = self._place.install(bundle.path) if self._place else bundle.path
            text = self._place.text_of(plan) if self._place else None
            try:
                return self._change(plan, text, self._text, sequential=sequential)
            except BaseException:
                if self._place:
                    self._place.discard(text)
                raise

    def reload(self, *, sequential: bool | None = None) -> Trial:
        """Put the plan in use that the site file names now; without a site file, the plan's files as they are now.

        If it is refused, the site file names the plan in use again. Raises what :meth:`deploy` raises.
        """
        with self._exclusively():
            if self._place is None:
                plan = Path(str(self._tagger.info["plan"]))
                self._check_new(plan)
                return self._change(plan, None, None, sequential=sequential)
            wanted, _ = self._place.plans()
            try:
                plan = find_plan(wanted)
                self._check_new(plan)
                text = self._place.texts()[0]
                return self._change(plan, text, None, sequential=sequential, record=False)
            except errors.PvlrError:
                self._restore()
                raise

    def rollback(self) -> Trial:
        """Return to the previous plan. Only its self-test can refuse it. Raises what :meth:`deploy` raises."""
        with self._exclusively():
            previous, text = self._previous, None
            if self._place and (named := self._place.plans()[1]):
                previous, text = named, self._place.texts()[1]
            elif self._place and previous:
                text = self._place.text_of(previous)
            if previous is None:
                hint = "Deploy the plan that you want."
                raise errors.DeployError("rollback", expected="a previous plan", got="none", hint=hint)
            plan = find_plan(previous)
            self._check_new(plan)
            return self._change(plan, text, self._text, back=True)

    def set_labels(self, bank: LabelBank) -> None:
        """Use another label bank from the next frame on. Plans that are deployed later get it, too.

        Raises:
            DeployError: a change of the plan is in progress, or its probation.
            BundleError, UnknownLabelError, OptionError: as for :meth:`Site.set_labels`; nothing is changed then.
        """
        if self._loading or not self._busy.acquire(timeout=_PATIENCE):
            raise in_progress("labels")
        try:
            if self._probation:  # the plan that may return has the labels before
                raise in_progress("labels")
            (self._site or self._tagger).set_labels(bank)
        finally:
            self._busy.release()

    def observe(self, result: TagResult) -> None:
        """Count a result: its time shows whether a plan on probation is slower."""
        probation, milliseconds = self._probation, result.timing["inference"]
        if probation is None:
            self._times.append(milliseconds)
        elif result.plan == self._tagger.info["sha256"]:
            probation.add(milliseconds)

    def failed(self, error: errors.BundleError) -> bool:
        """Count a failure of the plan; returns whether the previous plan will replace it."""
        probation = self._probation  # another thread may end it
        if probation is not None:
            probation.fail(error)
        return probation is not None

    def close(self) -> None:
        """End the probation; the plan in use stays."""
        with self._busy:
            self._end_probation()

    @contextmanager
    def _exclusively(self) -> Iterator[None]:
        # The end of a probation takes the lock, too, for a moment: that is not a second change.
        if self._loading or not self._busy.acquire(timeout=_PATIENCE):
            raise in_progress("deployment")
        self._loading, self._reason = True, ""
        try:
            with self._place.locked() if self._place else nullcontext():
                yield
        except errors.PvlrError as error:
            self._reason = f"{type(error).__name__}: {error}"
            raise
        finally:
            self._loading = False
            self._busy.release()

    def _check_new(self, plan: Path) -> None:
        if self._running and fingerprint(plan) == self._running:
            expected, hint = "another plan than the one in use", "There is nothing to do."
            raise errors.DeployError(str(plan), expected=expected, got="the same", hint=hint)

    def _change(
        self,
        plan: Path,
        text: Any,
        previous: Any,
        *,
        sequential: bool | None = None,
        back: bool = False,
        record: bool = True,
    ) -> Trial:
        """Load a plan, test and compare it, name it in the site file, and exchange it.

        ``text``, ``previous``: what the site file is to name, if ``record``. ``back``: a plan that was in use, so its
        version may be lower and no limit applies.
        """
        before, stale = Path(str(self._tagger.info["plan"])), self._place.texts()[1] if self._place else None
        identity, running = fingerprint(plan), self._running

        def commit(candidate: Tagger, trial: Trial) -> None:
            self._check(candidate)  # before the site file names it
            if not back:
                trial.check(self._settings, str(plan))
            if self._place and record:
                self._place.write(text, previous)
            self._exchange(candidate)

        try:
            trial, other = self._load(plan, before, commit, sequential, back)
        except BaseException:
            accept(self._tagger, before)
            raise
        self._end_probation()
        self._running, self._reason, self._trial = identity, "", trial
        replaced, self._text, self._previous = self._text, text, before
        if self._place and record:
            self._place.discard(stale)
        _log.info("plan %s (%s) replaces the one before", self._tagger.info["name"], self._tagger.info["sha256"][:12])
        if self._settings.probation and not back:
            self._probation, self._kept = Probation(self._times, self._settings), other
            arguments = self._probation, before, running, replaced, text
            threading.Thread(target=self._watch, args=arguments, name="pvlr-probation", daemon=True).start()
        elif other is not None:
            other.close()
        return trial

    def _load(
        self, plan: Path, before: Path, commit: Commit, sequential: bool | None, back: bool
    ) -> tuple[Trial, Tagger | None]:
        """The trial, and a tagger with the plan that was replaced, if that is still loaded."""
        if not (self._settings.sequential if sequential is None else sequential):
            return beside(self._tagger, self._site, plan, commit, back)
        if fingerprint(before) != self._running:
            hint = "Deploy from another folder, so that the running plan can be loaded again."
            raise errors.DeployError(str(before), expected="the files of the running plan", got="others", hint=hint)
        return in_turn(self._tagger, self._site, plan, before, commit, back), None

    def _watch(self, probation: Probation, before: Path, running: str, replaced: Any, text: Any) -> None:
        """Bring the previous plan back if the new one fails on probation."""
        reason = None
        while reason is None and not probation.over and probation is self._probation:
            reason = probation.verdict(_LOOK)
        if probation is not self._probation:
            return
        with self._busy:
            if probation is not self._probation:
                return
            if reason is None:
                self._end_probation()
                return
            try:
                if self._kept:
                    self._exchange(self._kept)
                    accept(self._tagger, before)
                else:
                    with self._tagger.suspended():
                        self._exchange(load(self._tagger, before, True))
            except errors.PvlrError as error:
                _log.error("the previous plan cannot return: %s", error)
                self._reason = f"{reason}; the previous plan cannot return: {error}"
                self._end_probation()
                return
            self._running, self._text, self._previous, self._reason = running, replaced, None, reason
            self._end_probation()
            self._restore()
            if self._place:
                self._place.discard(text)
        _log.warning("the previous plan has returned: %s", reason)
        self.on_undone(reason)

    def _restore(self) -> None:
        """Let the site file name the plan in use."""
        plan = Path(str(self._tagger.info["plan"]))
        if self._place is None or fingerprint(plan) != self._running:
            return
        try:
            if self._place.texts()[0] != self._text:
                self._place.write(self._text, None)
        except errors.PvlrError as error:
            _log.warning("the site file still names the plan that was refused: %s", error)

    def _end_probation(self) -> None:
        if self._probation:
            self._times = self._probation.times
        kept, self._probation, self._kept = self._kept, None, None
        if kept is not None:
            kept.close()
