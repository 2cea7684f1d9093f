"""What a site with one camera reports of footage: its tags and events, with the times of the footage."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from pvlr_sdk import Tagger, errors
from pvlr_sdk.cameras.events import Event
from pvlr_sdk.cameras.site import Site, SiteConfig
from pvlr_sdk.cameras.site.factory import make_detectors
from pvlr_sdk.cameras.sources import open_source
from pvlr_sdk.cameras.stream import Observation

from .score import Floats, Span, Tags


class Recorder:
    """Runs a site with one camera, a file that is tagged frame by frame, to its end.

    Attributes:
        labels: the C labels that the camera can report.

    Raises:
        SourceOpenError: the file cannot be opened.
        UnknownLabelError, OptionError: a setting does not fit the plan.
    """

    def __init__(self, config: SiteConfig, tagger: Tagger) -> None:
        ((self._name, camera),) = config.cameras.items()
        self._uri = camera.uri
        open_source(self._uri).close()
        make_detectors(config, tagger)  # a site only warns of unknown labels
        self._site = Site(config, tagger=tagger)
        self.labels = tuple(self._site.levels(self._name))
        self._columns = [tagger.labels.index(label) for label in self.labels]
        self._began = 0.0  # wall time of the first frame
        self._times: list[float] = []
        self._tags: list[NDArray[np.bool_]] = []
        self._events: list[Event] = []
        self._count = 0
        self._site.on_observation(self._observe)

    def run(self) -> tuple[Floats, Tags, list[Span]]:
        """The times of the frames, (T,), in seconds since the first; their tags, (T, C); the events.

        Raises:
            SourceOpenError: no frame can be decoded.
        """
        self._site.run()
        self._collect()
        if not self._times:
            raise errors.SourceOpenError(
                self._uri,
                "frames",
                "none that can be decoded",
                "Check that it opens in another program.",
            )
        spans = [
            Span(self.labels.index(event.label), event.start - self._began, event.end - self._began)
            for event in self._events
            if event.end is not None
        ]
        return np.array(self._times), np.array(self._tags), spans

    def _observe(self, seen: Observation) -> None:
        if not self._times:
            self._began = seen.frame.wall
        self._times.append(seen.frame.source_time or 0.0)
        thresholds = [threshold for _, threshold in self._site.levels(self._name).values()]
        self._tags.append(seen.result.scores[self._columns] >= np.array(thresholds))
        self._collect()

    def _collect(self) -> None:
        """With each frame: a site returns the last thousand events only."""
        self._count, new = self._site.events_after(self._count)
        self._events += new
