"""Figures for Prometheus."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from prometheus_client import CollectorRegistry, PlatformCollector, ProcessCollector
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from .. import __version__
from ..site import Site
from ..tagger import Tagger
from .hub import Hub

_COUNTS = {
    "captured": "Frames that left the decoder.",
    "tagged": "Frames that were tagged.",
    "dropped": "Frames that a newer one replaced, or that decoding had to leave out.",
    "late": "Tagged frames that were older than the staleness budget.",
    "failed": "Frames that could not be tagged.",
    "reconnects": "Attempts to open the camera again.",
    "decode_errors": "Damaged packets.",
}
_STATES = ("starting", "live", "lost", "ended")


def make_registry(tagger: Tagger, site: Site | None, hub: Hub) -> CollectorRegistry:
    """A registry of this server's figures alone, so that several can live in one process."""
    registry = CollectorRegistry()
    registry.register(_Figures(tagger, site, hub))
    ProcessCollector(registry=registry)
    PlatformCollector(registry=registry)
    return registry


class _Figures(Collector):
    """Reads everything at the moment at which it is asked for."""

    def __init__(self, tagger: Tagger, site: Site | None, hub: Hub) -> None:
        self._info = {key: str(tagger.info[key]) for key in ("name", "backend", "precision")}
        self._site = site
        self._hub = hub

    def collect(self) -> Iterator[Metric]:
        yield _one(GaugeMetricFamily, "pvlr_info", "What runs.", {"version": __version__, **self._info}, 1)
        yield _one(GaugeMetricFamily, "pvlr_viewers", "Browsers that watch.", {}, self._hub.viewers)
        if self._site is None:
            return
        stats = self._site.stats()
        yield _one(CounterMetricFamily, "pvlr_events", "Notices, on and off.", {}, stats["events"])
        open_events = len(self._site.open_events())
        yield _one(GaugeMetricFamily, "pvlr_open_events", "Events that have not ended.", {}, open_events)
        yield from _cameras(stats["cameras"])
        for key, text in (("delivered", "Items that a sink has delivered."), ("lost", "Items that a sink has lost.")):
            family = CounterMetricFamily(f"pvlr_sink_{key}", text, labels=["sink"])
            for sink in stats["sinks"]:
                family.add_metric([sink["name"]], sink[key])
            yield family
        waiting = GaugeMetricFamily("pvlr_sink_waiting", "Items that wait for a sink.", labels=["sink"])
        for sink in stats["sinks"]:
            waiting.add_metric([sink["name"]], sink["waiting"])
        yield waiting


def _cameras(cameras: dict[str, dict[str, Any]]) -> Iterator[Metric]:
    for key, text in _COUNTS.items():
        counter = CounterMetricFamily(f"pvlr_camera_{key}", text, labels=["camera"])
        for name, camera in cameras.items():
            counter.add_metric([name], camera[key])
        yield counter
    state = GaugeMetricFamily("pvlr_camera_state", "1 for the state that it is in.", labels=["camera", "state"])
    rate = GaugeMetricFamily("pvlr_camera_frames_per_second", "Of the last few seconds.", labels=["camera"])
    age = GaugeMetricFamily(
        "pvlr_camera_age_seconds", "From capture to tags, of the last 1024 frames.", labels=["camera", "quantile"]
    )
    for name, camera in cameras.items():
        for other in _STATES:
            state.add_metric([name, other], camera["state"] == other)
        rate.add_metric([name], camera["fps"])
        for quantile, key in (("0.5", "age_p50"), ("0.99", "age_p99")):
            if camera[key] is not None:
                age.add_metric([name, quantile], camera[key])
    yield from (state, rate, age)


def _one(kind: Any, name: str, text: str, labels: dict[str, str], value: float) -> Metric:
    family = kind(name, text, labels=list(labels))
    family.add_metric(list(labels.values()), value)
    return family
