"""Thresholds and reported labels, changed while the server runs."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ...bundle.label_bank import find_label
from ...tagger import Tagger
from ...watch import EventsConfig, Site
from ...watch.edit import set_keys
from ...watch.yaml_file import read_yaml
from .schemas import SettingModel, SettingsModel


class Tuning:
    """The settings that the page changes. Safe to use from any thread.

    Args:
        tagger: its labels, and the thresholds of its plan.
        site: applies the settings to its events; None: they apply to uploads alone.
        path: the site file, which keeps changes; None: they hold until the server ends.
        bank: the file that keeps taught labels; None: they hold until the server ends, and the site file must not name
            them.
        events: the settings at the start if there is no site.
    """

    def __init__(
        self,
        tagger: Tagger,
        site: Site | None,
        path: Path | None,
        bank: Path | None = None,
        events: EventsConfig | None = None,
    ) -> None:
        self._kept = None if bank else frozenset(tagger.labels)
        self._tagger = tagger
        self._site = site
        self._path = path
        self._events = site.config.events if site else events or EventsConfig()
        self._lock = threading.Lock()

    @property
    def _index(self) -> dict[str, int]:
        return {label: position for position, label in enumerate(self._tagger.labels)}

    @property
    def _plan(self) -> dict[str, float]:
        """The thresholds of the plan in use."""
        while True:
            labels, thresholds = self._tagger.labels, self._tagger.thresholds.tolist()
            if labels == self._tagger.labels:  # they did not change between the two
                return dict(zip(labels, thresholds, strict=True))

    @property
    def overrides(self) -> dict[str, float]:
        """The thresholds that replace those of the plan."""
        events = self._events
        every = {} if events.threshold is None else dict.fromkeys(self._index, events.threshold)
        return {**every, **events.thresholds}

    @property
    def thresholds(self) -> dict[str, float]:
        """The threshold of each label."""
        return {**self._plan, **self.overrides}

    def describe(self) -> SettingsModel:
        """The settings, as the API shows them."""
        events, cameras, plan = self._events, self._site.config.cameras if self._site else {}, self._plan
        overrides = self.overrides
        reported = set(plan if events.labels is None else events.labels) - set(events.deny)
        return SettingsModel(
            labels=[
                SettingModel(
                    label=label,
                    threshold=overrides.get(label, threshold),
                    plan_threshold=round(threshold, 6),
                    reported=label in reported,
                )
                for label, threshold in plan.items()
            ],
            site_file=self._path.name if self._path else None,
            own_labels=[name for name, camera in cameras.items() if (camera.labels, camera.deny) != (None, None)],
        )

    def change(self, thresholds: Mapping[str, float], labels: Sequence[str] | None) -> None:
        """Set some thresholds, and the labels whose events are reported (None: no change).

        Raises:
            UnknownLabelError, OptionError: a label or a threshold is invalid.
            ConfigError, OutputError: the site file cannot keep the change. In each case nothing is changed.
        """
        new, index = {label: round(value, 6) for label, value in thresholds.items()}, self._index
        for label in (*new, *(labels or ())):
            find_label(label, index)
        update: dict[str, Any] = {}
        keys: dict[tuple[str, ...], Any] = {
            ("events", "thresholds", label): value for label, value in new.items() if self._keeps(label)
        }
        with self._lock:
            if labels is not None:
                every = set(labels) == set(index)
                update["labels"] = None if every else tuple(labels)
                kept = [_escaped(label) for label in labels if self._keeps(label)]
                keys["events", "labels"] = None if every else kept
                if self._events.deny:
                    update["deny"] = ()
                    keys["events", "deny"] = []
            update["thresholds"] = {**self._events.thresholds, **new}
            self._change(update, keys)

    def report(self, label: str) -> None:
        """Report the events of a label, as those of others. Raises what :meth:`change` raises."""
        labels = self._events.labels
        if labels is not None and label not in labels:
            self.change({}, [*(one for one in labels if one not in self._events.deny), label])

    def forget(self, label: str) -> None:
        """Remove a label from all settings, which the labels in use must have. Raises what :meth:`change` raises."""
        with self._lock:
            names = ("thresholds", "off_thresholds", "labels", "deny")
            update = {name: _without(getattr(self._events, name), label) for name in names}
            written = (read_yaml(self._path).get("events") or {}) if self._path else {}
            keys: dict[tuple[str, ...], Any] = {}
            for name in names:
                value, key = written.get(name), label if name.endswith("thresholds") else _escaped(label)
                if isinstance(value, (dict, list)) and key in value:
                    keys["events", name] = _without(value, key)
            self._change(update, keys)

    def _keeps(self, label: str) -> bool:
        """Whether the next start has this label."""
        return self._kept is None or label in self._kept

    def _change(self, update: dict[str, Any], keys: dict[tuple[str, ...], Any]) -> None:
        """Apply changed settings and write keys of the site file: both or nothing."""
        before = self._events
        self._apply(before.model_copy(update=update))
        try:
            if self._path and keys:
                set_keys(self._path, keys)
        except BaseException:
            self._apply(before)
            raise

    def _apply(self, events: EventsConfig) -> None:
        if self._site:
            self._site.configure(events)
        self._events = events


def _escaped(label: str) -> str:
    """As a string of the site file, in which $ begins a variable."""
    return label.replace("$", "$$")


def _without(value: Any, label: str) -> Any:
    """A mapping or a sequence of labels without one of them; None stays None."""
    if isinstance(value, dict):
        return {key: item for key, item in value.items() if key != label}
    return None if value is None else type(value)(one for one in value if one != label)
