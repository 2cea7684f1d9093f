"""Thresholds and reported labels, changed while the server runs."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ..bundle.labels import find_label
from ..site import EventsConfig, Site
from ..site.edit import set_keys
from ..tagger import Tagger
from .models import SettingModel, SettingsModel


class Tuning:
    """The settings that the page changes. Safe to use from any thread.

    Args:
        tagger: its labels, and the thresholds of its plan.
        site: applies the settings to its events; None: they apply to uploads alone.
        path: the site file, which keeps changes; None: they hold until the server ends.
    """

    def __init__(self, tagger: Tagger, site: Site | None, path: Path | None) -> None:
        self._index = {label: position for position, label in enumerate(tagger.labels)}
        self._tagger = tagger
        self._site = site
        self._path = path
        self._events = site.config.events if site else EventsConfig()
        self._lock = threading.Lock()

    @property
    def _plan(self) -> dict[str, float]:
        """The thresholds of the plan in use."""
        return dict(zip(self._tagger.labels, self._tagger.thresholds.tolist(), strict=True))

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
        reported = set(self._index if events.labels is None else events.labels) - set(events.deny)
        return SettingsModel(
            labels=[
                SettingModel(
                    label=label,
                    threshold=threshold,
                    plan_threshold=round(plan[label], 6),
                    reported=label in reported,
                )
                for label, threshold in self.thresholds.items()
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
        new = {label: round(value, 6) for label, value in thresholds.items()}
        for label in (*new, *(labels or ())):
            find_label(label, self._index)
        update: dict[str, Any] = {}
        keys: dict[tuple[str, ...], Any] = {("events", "thresholds", label): value for label, value in new.items()}
        with self._lock:
            if labels is not None:
                every = set(labels) == set(self._index)
                update["labels"] = None if every else tuple(labels)
                # In the file $ begins a variable.
                keys["events", "labels"] = None if every else [label.replace("$", "$$") for label in labels]
                if self._events.deny:
                    update["deny"] = ()
                    keys["events", "deny"] = []
            before = self._events
            update["thresholds"] = {**before.thresholds, **new}
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
