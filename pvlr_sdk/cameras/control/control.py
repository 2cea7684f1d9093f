"""What a page, a command or a signal changes while a site runs: its plan, its label bank and its settings."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from ... import errors
from ...backends.backend import closed
from ...bundle.bundle import read_manifest
from ...bundle.label_bank import LabelBank, find_label
from ...labels import LabelReport, forget
from ...labels.edit import LinearFunction, taught_function
from ...labels.meaning import same_labels
from ...tagger import Tagger
from ..events.thresholds import Thresholds
from ..memory.precision import Statement
from ..sinks.worker import Commands
from ..site import Site
from ..site.changes import Changes, RegionChange, reported_labels
from ..site.config import EventsConfig, SiteConfig
from ..site.factory import make_detectors, thresholds_of, with_changes
from ..stream import Observation
from ..stream.regions import check_polygon
from .bank_file import check_bank
from .deployment import Deployment
from .examples import Example, Examples
from .plans import Plans
from .state import State, in_progress, locked, replace_files
from .words import Words


class Control:
    """The owner of the plan, the label bank and the changes of a running site. Thread-safe.

    A change is checked, used from the next frame on, and kept in the state folder and the file of the label bank: all
    of it or nothing. Changes are made one at a time, under one lock. The site file is never written.

    Args:
        tagger: gets the plan and the labels; all its users see the change. It is not closed.
        site: its cameras give the frames of a comparison, and its events continue; None: there are no cameras.
        state: keeps the changes; None: they hold until the end of the process.
        config: the settings of the site file, if there is no site.
        changes: those of the state at the start, if there is no site.
        plans: the plan of the next start; None: a deployed plan is used until the end, since an option names the plan.
        bank: the file of the label bank; None: taught labels hold until the end, and the state does not name them.
    """

    def __init__(
        self,
        tagger: Tagger,
        site: Site | None = None,
        state: State | None = None,
        *,
        config: SiteConfig | None = None,
        changes: Changes | None = None,
        plans: Plans | None = None,
        bank: Path | None = None,
    ) -> None:
        self.tagger = tagger
        self.site = site
        self.state = state
        self.bank_file = bank
        self._config = site.config if site else config or SiteConfig()
        self.tree = self._config.tree
        """The parents, synonyms and names of labels."""
        self.shown = self._config.shown
        """From a label to its name in the language of the site."""
        self._changes = changes or Changes()
        self._plan_labels = None if bank else frozenset(tagger.labels)
        self._lock = threading.RLock()
        self.deployment = Deployment(tagger, site, plans, self._config.deploy, lock=self._lock)
        """Changes the plan, under the same lock."""
        self.deployment.keep_bank = bank is not None
        self.words = Words(tagger)
        """What the plan in use says of words."""
        self._examples = Examples()
        # By plan and label: what the label was before this process taught it.
        self._before: dict[tuple[str, str], LinearFunction | None] = {}
        if site:
            site.obey(Commands(self.configure, self.enable))
            if site.memory:
                site.memory.follow(self.require)
            site.on_observation(lambda seen: self._examples.see(seen, site.open_events()))

    @property
    def changes(self) -> Changes:
        """What was changed, and is in use."""
        return self.site.changes if self.site else self._changes

    @property
    def events(self) -> EventsConfig:
        """The settings of events in use, but for their thresholds."""
        return self.site.config.events if self.site else self._with(self._changes).events

    @property
    def thresholds(self) -> Thresholds:
        """The thresholds of the labels in use, and where they come from."""
        if self.site:
            return self.site.thresholds
        return thresholds_of(self.events, self.tagger, self._changes.thresholds)

    def configure(
        self, thresholds: Mapping[str, float], labels: Sequence[str] | None = None
    ) -> None:
        """Set some thresholds, and the labels whose events are reported (None: no change).

        Raises:
            UnknownLabelError, OptionError: a label is unknown or named twice, or a threshold does not fit.
            ConfigError, OutputError, DeployError: the state cannot keep the change. In each case nothing is changed.
        """
        known = self.tagger.labels
        self._check_known(thresholds)
        self._check_different(labels or ())

        def change(changes: Changes) -> Changes:
            changes = changes.with_thresholds(thresholds)
            if labels is None:
                return changes
            return changes.model_copy(update={"labels": reported_labels(labels, known)})

        with self._lock:
            self._apply(change)

    def deny(self, camera: str, labels: Sequence[str]) -> None:
        """Do not report events of these labels at a camera, but of all others that are reported.

        Raises:
            UnknownLabelError, OptionError: a label is unknown or named twice.
            ConfigError, OutputError, DeployError: as for :meth:`configure`. In each case nothing is changed.
        """
        self._check_different(labels)
        with self._lock:
            self._apply(lambda changes: changes.with_camera(camera, deny=tuple(labels)))

    def require(self, proven: Mapping[str, Statement]) -> None:
        """Use the thresholds at which required precisions are proven, where the others are lower."""
        with self._lock:
            if self.site:
                self.site.require(proven)

    def set_regions(self, camera: str, shapes: Mapping[str, Mapping[str, Any]]) -> None:
        """Use other regions of a camera, each ``{"polygon": [[x, y], ...], "exclude": bool}``; regions that stay keep
        their settings.

        Raises:
            OptionError: a polygon is invalid.
            ConfigError, OutputError, DeployError: as for :meth:`configure`. In each case nothing is changed.
        """
        regions = {
            name: RegionChange.model_construct(
                polygon=check_polygon(shape["polygon"]), exclude=shape.get("exclude", False)
            )
            for name, shape in shapes.items()
        }
        with self._lock:
            self._apply(lambda changes: changes.with_camera(camera, regions=regions))

    def enable(self, camera: str, on: bool) -> None:
        """Tag a camera, or do not. Errors as for :meth:`set_regions`."""
        with self._lock:
            self._apply(lambda changes: changes.with_camera(camera, enabled=on))

    def set_labels(self, bank: LabelBank, *, report: str | None = None) -> None:
        """Use and keep another label bank; plans that are deployed later get it, too. Changes that name a label which
        is gone are removed, and settings of the site file that name it are ignored.

        ``report``: a new label, whose events are reported even if the settings list the labels to report.

        Raises:
            DeployError: another plan is being put in use, or another process has written the file of the label bank.
            OptionError: a threshold does not fit, or the bank needs a signature.
            BundleError, OutputError, ConfigError: the bank cannot be used or kept. In each case nothing is changed.
        """
        with self._lock:
            self._check_idle()
            events = self.events
            gone = frozenset(self.tagger.labels) - frozenset(bank.names)
            reported = (
                None
                if events.labels is None
                else [name for name in events.labels if name not in events.deny]
            )

            def change(changes: Changes) -> Changes:
                changes = changes.without_labels(gone)
                if report is None or reported is None or report in reported:
                    return changes
                return changes.model_copy(
                    update={"labels": reported_labels([*reported, report], bank.names)}
                )

            self._apply(change, bank)

    def examples(self, label: str) -> list[Example]:
        """The frames that were picked for a label, oldest first. Raises OptionError: the plan is closed."""
        with self._lock:
            return self._examples.of(self._open_plan(), label)

    def can_teach(self, label: str) -> bool:
        """Whether :meth:`teach` takes a label without ``replace``: new ones, and labels from words and examples."""
        return (
            label not in self.tagger.labels or taught_function(self.label_bank(), label) is not None
        )

    def add_example(self, seen: Observation | str, label: str, shows: bool) -> bool:
        """Pick the frame of an observation, or of the highest score of an event (its id), as an example of a label;
        False: another plan tagged it, or it is not kept.

        Raises:
            OptionError: the plan is closed; or as for :meth:`Examples.add`.
        """
        with self._lock:
            plan = self._open_plan()
            example = (
                self._examples.peaks.get(seen)
                if isinstance(seen, str)
                else Example.of(seen, label, shows)
            )
            if example is None or example.plan != plan:
                return False
            self._examples.add(label, replace(example, shows=shows))
            return True

    def clear_examples(self, label: str, *, last: bool = False) -> None:
        """Remove the examples of a label, or the last one alone. Raises OptionError: the plan is closed."""
        with self._lock:
            self._open_plan()
            self._examples.clear(label, last=last)

    def teach(self, label: str, *, replace: bool = False) -> LabelReport:
        """Learn a label from its examples, and use it from the next frame on; its events are reported. A label from
        words, or one that was taught before this process began, goes on from there.

        ``replace``: also if it is a label of the plan.

        Raises:
            OptionError: the label bank has it, or there is no example that shows it, or none that does not.
            LabelBankError: the plan has no room for it.
            DeployError, OutputError, ConfigError: as for :meth:`set_labels`. In each case nothing is changed.
        """
        with self._lock:
            plan = self._open_plan()
            base = self.tagger.label_bank
            self._check_idle()
            if not (replace or self.can_teach(label)):
                raise errors.OptionError(
                    "label",
                    "a new label",
                    f"{label!r}, which the label bank has",
                    "Choose another name.",
                )
            spec = read_manifest(
                str(self.tagger.info["plan"]), trust=self.tagger.trust or False
            ).open
            assert spec is not None  # the plan is open
            start = self._before.get((plan, label), taught_function(base, label))
            bank, report = self._examples.learn(plan, label, base, spec, start)
            self.set_labels(bank, report=label)
            self._before[plan, label] = start
            return report

    def add_word(self, label: str) -> dict[str, Any]:
        """Use a word as a further label from the next frame on; its events are reported. Returns its provenance in the
        label bank: ``grade``, ``concepts``, ...

        Raises:
            OptionError: the plan is closed, the label bank has the label, or the word is unknown.
            LabelBankError: the plan has no room for it, or no knowledge file.
            DeployError, OutputError, ConfigError: as for :meth:`set_labels`. In each case nothing is changed.
        """
        self._bank_without(label)
        words = self.words.bank(label)  # before the lock: it may take a second
        with self._lock:
            self.set_labels(self._bank_without(label).join(words), report=words.names[0])
        return dict(words.taught[words.names[0]])

    def forget(self, label: str) -> None:
        """Undo the teaching of a label; its examples stay. Changes that name a label that is removed are removed too.

        Raises:
            UnknownLabelError, OptionError: there is no such label, or it was not taught.
            DeployError, OutputError, ConfigError: as for :meth:`set_labels`. In each case nothing is changed.
        """
        with self._lock:
            plan = self._open_plan()
            self.set_labels(forget(self.tagger.label_bank, [label]))
            self._before.pop((plan, label), None)

    def change_bank(self, change: Callable[[LabelBank], LabelBank]) -> None:
        """Use and keep a changed label bank. Raises what ``change`` and :meth:`set_labels` raise, and OptionError: the
        plan is closed. In each case nothing is changed."""
        with self._lock:
            self.set_labels(change(self.label_bank()))

    def label_bank(self) -> LabelBank:
        """The label bank in use. Raises OptionError: the plan is closed."""
        self._open_plan()
        return self.tagger.label_bank

    def _bank_without(self, label: str) -> LabelBank:
        """The label bank in use. Raises OptionError: the plan is closed, or a label means the same."""
        bank = self.label_bank()
        if same := same_labels([label], bank.names):
            raise errors.OptionError(
                "label",
                "a new label",
                f"{same[label]!r}, which the label bank has",
                "It is tagged already.",
            )
        return bank

    def _check_known(self, labels: Iterable[str]) -> None:
        index = {label: position for position, label in enumerate(self.tagger.labels)}
        for label in labels:
            find_label(label, index)

    def _check_different(self, labels: Sequence[str]) -> None:
        """That labels are known, and named once."""
        self._check_known(labels)
        if twice := [label for label, count in Counter(labels).items() if count > 1]:
            raise errors.OptionError(
                "labels", "different labels", f"{twice[0]!r} twice", "Name each label once."
            )

    def _open_plan(self) -> str:
        """The SHA-256 of the plan in use."""
        info = self.tagger.info
        if info["max_labels"] is None:
            error = closed(str(info["plan"]))
            raise errors.OptionError("plan", error.expected, error.got, error.hint)
        return str(info["sha256"])

    def _check_idle(self) -> None:
        # the plan that may return has the labels before
        if self.deployment.status.state != "in use":
            raise in_progress("labels")

    def _kept(self, changes: Changes) -> Changes:
        """The changes without labels that the next start does not have."""
        labels = self._plan_labels
        if labels is None:
            return changes
        reported = changes.labels if isinstance(changes.labels, tuple) else ()
        denied = [label for camera in changes.cameras.values() for label in camera.deny or ()]
        named = frozenset([*changes.thresholds, *reported, *denied])
        return changes.without_labels(named - labels)

    def _apply(self, change: Callable[[Changes], Changes], bank: LabelBank | None = None) -> None:
        """Use changed settings and another label bank, then keep them: all of it or nothing.

        Wherever the process ends, the file of the bank has the labels that the state names: a bank with new labels is
        written before the state, one with fewer labels after it.
        """
        before = self.changes
        before_bank = self.tagger.label_bank
        contents: dict[Path, bytes] = {}
        with ExitStack() as locks:
            if self.state:
                locks.enter_context(self.state.locked())
                contents[self.state.path] = self.state.to_bytes(
                    self._kept(change(self.state.read()))
                )
            if self.bank_file and bank:
                if self.bank_file.exists():
                    locks.enter_context(locked(self.bank_file))
                check_bank(self.bank_file, before_bank, self.tagger.trust)
                contents[self.bank_file] = data = bank.to_bytes()
                LabelBank.from_bytes(data, source=str(self.bank_file))
                if set(before_bank.names) <= set(bank.names):
                    contents = dict(reversed(contents.items()))
            try:
                self._use(change(before), bank)
                replace_files(contents)
            except BaseException:
                with suppress(errors.PvlrError):
                    self._use(before, before_bank if bank else None)
                raise

    def _with(self, changes: Changes) -> SiteConfig:
        return with_changes(self._config, changes, self.tagger.labels, quiet=True)

    def _use(self, changes: Changes, bank: LabelBank | None) -> None:
        if self.site and bank:
            self.site.set_labels(bank, changes)
        elif self.site:
            self.site.use(changes)
        else:
            if bank:
                self.tagger.set_labels(bank)
            make_detectors(self._with(changes), self.tagger, changes.thresholds)  # checks them
            self._changes = changes
