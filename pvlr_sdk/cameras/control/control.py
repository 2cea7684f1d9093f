"""What a page, a command or a signal changes while a site runs: its plan, its label bank and its settings of events."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from ... import errors
from ...backends.backend import closed
from ...bundle.bundle import read_manifest
from ...bundle.label_bank import LabelBank
from ...labels import Knowledge, LabelReport, forget
from ...labels.edit import LinearFunction, taught_function
from ...labels.meaning import same_labels
from ...tagger import Tagger
from ..events.thresholds import Thresholds
from ..sinks.worker import Commands
from ..site.changes import Change, remove, select
from ..site.config import DeployConfig, EventsConfig
from ..site.factory import make_detectors, thresholds_of, without_unknown_labels
from ..site.site import Site
from ..site.yaml_file import read_yaml
from ..stream import Observation
from .camera_control import CameraControl
from .deployment import Deployment
from .examples import Example, Examples
from .site_file import SiteFile, check_bank, in_progress, locked, replace_files


class Control:
    """The owner of the plan, the label bank and the settings of events of a running process. Thread-safe.

    A change is checked, used from the next frame on, and kept in the site file and the file of the label bank: all of
    it or nothing. Changes are made one at a time, under one lock.

    Args:
        tagger: gets the plan and the labels; all its users see the change. It is not closed.
        site: its cameras give the frames of a comparison, and its events continue; None: there are no cameras.
        path: the site file; None: changes hold until the end of the process.
        settings: limits of another plan.
        bank: the file of the label bank; None: taught labels hold until the end, and the site file does not name them.
        events: the settings at the start, if there is no site.
        names_plan: whether the site file names the plan; an option of the command takes precedence over the file.
    """

    def __init__(
        self,
        tagger: Tagger,
        site: Site | None = None,
        path: Path | None = None,
        settings: DeployConfig | None = None,
        *,
        bank: Path | None = None,
        events: EventsConfig | None = None,
        names_plan: bool = True,
    ) -> None:
        self.tagger, self.site = tagger, site
        self.site_file, self.bank_file = path, bank
        self._events = events or EventsConfig()
        self._file = SiteFile(path) if path else None
        self._own = None if bank else frozenset(tagger.labels)
        self._lock = threading.RLock()
        self.deployment = Deployment(tagger, site, path if names_plan else None, settings, lock=self._lock)
        """Changes the plan, under the same lock."""
        self.deployment.keep_bank = bank is not None
        self._examples = Examples()
        # By plan and label: what the label was before this process taught it.
        self._before: dict[tuple[str, str], LinearFunction | None] = {}
        if site:
            self.cameras = CameraControl(site, self._file, lock=self._lock)
            """Changes the cameras of a site, under the same lock; there is none without a site."""
            site.obey(Commands(self.configure, self.cameras.enable))
            site.on_observation(lambda seen: self._examples.see(seen, site.open_events()))

    @property
    def events(self) -> EventsConfig:
        return self.site.config.events if self.site else self._events

    @property
    def thresholds(self) -> Thresholds:
        """The thresholds of the labels in use, and where they come from."""
        return self.site.thresholds if self.site else thresholds_of(self._events, self.tagger)

    def configure(self, thresholds: Mapping[str, float], labels: Sequence[str] | None = None) -> None:
        """Set some thresholds, and the labels whose events are reported (None: no change).

        Raises:
            UnknownLabelError, OptionError: a label is unknown or named twice, or a threshold does not fit.
            ConfigError, OutputError: the site file cannot keep the change. In each case nothing is changed.
        """
        with self._lock:
            self._apply(select(self.events, self.tagger.labels, self._keeps, thresholds, labels))

    def set_labels(self, bank: LabelBank, *, report: str | None = None) -> None:
        """Use and keep another label bank; plans that are deployed later get it, too. Settings that name a label
        which is gone are removed.

        ``report``: a new label, whose events are reported even if the settings list the labels to report.

        Raises:
            DeployError: another plan is being put in use, or another process has written the file of the label bank.
            OptionError: a camera's own settings name a label that is gone, or the bank needs a signature.
            BundleError, OutputError, ConfigError: the bank cannot be used or kept. In each case nothing is changed.
        """
        with self._lock:
            self._check_idle()
            before, events = self.tagger.label_bank, self.events
            change = Change({}, {})
            if gone := frozenset(before.names) - frozenset(bank.names):
                for name, camera in self.site.config.cameras.items() if self.site else ():
                    regions = [own for one in camera.regions.values() for own in (one.labels, one.thresholds)]
                    own_names = (label for own in (camera.labels, camera.deny, *regions) for label in own or ())
                    if named := gone.intersection(own_names):
                        got, hint = f"{min(named)!r}, which {name} names", "Remove it from cameras: in the site file."
                        raise errors.OptionError("label", expected="a label without settings", got=got, hint=hint)
                written = read_yaml(self._file.path) if self._file else {}
                change = remove(events, written.get("events") or {}, gone)
            elif report is not None and events.labels is not None and report not in events.labels:
                labels = [*(one for one in events.labels if one not in events.deny), report]
                change = select(events, bank.names, self._keeps, {}, labels)
            self._apply(change, bank)

    def examples(self, label: str) -> list[Example]:
        """The frames that were picked for a label, oldest first. Raises OptionError: the plan is closed."""
        with self._lock:
            return self._examples.of(self._open_plan(), label)

    def can_teach(self, label: str) -> bool:
        """Whether :meth:`teach` takes a label without ``replace``: new ones, and labels from words and examples."""
        return label not in self.tagger.labels or taught_function(self.label_bank(), label) is not None

    def add_example(self, seen: Observation | str, label: str, shows: bool) -> bool:
        """Pick the frame of an observation, or of the highest score of an event (its id), as an example of a label;
        False: another plan tagged it, or it is not kept.

        Raises:
            OptionError: the plan is closed; or as for :meth:`Examples.add`.
        """
        with self._lock:
            plan = self._open_plan()
            example = self._examples.peaks.get(seen) if isinstance(seen, str) else Example.of(seen, label, shows)
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
            plan, base = self._open_plan(), self.tagger.label_bank
            self._check_idle()
            if not (replace or self.can_teach(label)):
                got = f"{label!r}, which the label bank has"
                raise errors.OptionError("label", expected="a new label", got=got, hint="Choose another name.")
            spec = read_manifest(str(self.tagger.info["plan"]), trust=self.tagger.trust or False).open
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
        with self._lock:
            self._open_plan()
            base = self.tagger.label_bank
            if same := same_labels([label], base.names):
                got, hint = f"{same[label]!r}, which the label bank has", "It is tagged already."
                raise errors.OptionError("label", expected="a new label", got=got, hint=hint)
            words = Knowledge.of_plan(self.tagger.info, trust=self.tagger.trust or False).bank([label])
            self.set_labels(base.join(words), report=words.names[0])
            return dict(words.taught[words.names[0]])

    def forget(self, label: str) -> None:
        """Undo the teaching of a label; its examples stay. Settings that name a label that is removed are removed too.

        Raises:
            UnknownLabelError, OptionError: there is no such label, it was not taught, or a camera's own settings name
                it.
            DeployError, OutputError, ConfigError: as for :meth:`set_labels`. In each case nothing is changed.
        """
        with self._lock:
            plan = self._open_plan()
            self.set_labels(forget(self.tagger.label_bank, [label]))
            self._before.pop((plan, label), None)

    def label_bank(self) -> LabelBank:
        """The label bank in use. Raises OptionError: the plan is closed."""
        self._open_plan()
        return self.tagger.label_bank

    def _open_plan(self) -> str:
        """The SHA-256 of the plan in use."""
        info = self.tagger.info
        if info["max_labels"] is None:
            error = closed(str(info["plan"]))
            raise errors.OptionError("plan", expected=error.expected, got=error.got, hint=error.hint)
        return str(info["sha256"])

    def _check_idle(self) -> None:
        if self.deployment.status.state != "in use":  # the plan that may return has the labels before
            raise in_progress("labels")

    def _keeps(self, label: str) -> bool:
        """Whether the next start has this label."""
        return self._own is None or label in self._own

    def _apply(self, change: Change, bank: LabelBank | None = None) -> None:
        """Use changed settings and another label bank, then keep them: all of it or nothing.

        Wherever the process ends, the file of the bank has the labels that the site file names: a bank with new labels
        is written before the settings, one with fewer labels after them.
        """
        before, old, contents = self.events, self.tagger.label_bank if bank else None, {}
        with locked(*(path for path in (self.bank_file, self.site_file) if path and path.exists())):
            config = None
            if self._file and change.keys:
                contents[self._file.path], config = self._file.edited(change.keys)
            if self.bank_file and bank and old:
                check_bank(self.bank_file, old, self.tagger.trust)
                contents[self.bank_file] = data = bank.to_bytes()
                LabelBank.from_bytes(data, source=str(self.bank_file))
            if old and bank and set(old.names) <= set(bank.names):
                contents = dict(reversed(contents.items()))
            try:
                self._use(before.model_copy(update=change.fields), bank)
                if config:  # as at the next start
                    make_detectors(without_unknown_labels(config, self.tagger.labels), self.tagger)
                replace_files(contents)
            except BaseException:
                with suppress(errors.PvlrError):
                    self._use(before, old)
                raise

    def _use(self, events: EventsConfig, bank: LabelBank | None) -> None:
        self._events = events
        if self.site and bank:
            self.site.set_labels(bank, events)
        elif self.site:
            self.site.configure(events)
        elif bank:
            self.tagger.set_labels(bank)
