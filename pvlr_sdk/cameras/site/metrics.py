"""The metrics of a tagger and its site, for Prometheus and what scrapes in its format."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any

from prometheus_client import (
    CollectorRegistry,
    Histogram,
    PlatformCollector,
    ProcessCollector,
    start_http_server,
)
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from ..._util.files import system_errors
from ..._util.version import __version__
from ...errors import OptionError
from ...tagger import Tagger
from ..stream import Observation
from .site import Site

if TYPE_CHECKING:
    from wsgiref.simple_server import WSGIServer

_COUNTS = {
    "captured": "Frames decoded.",
    "tagged": "Frames tagged.",
    "tiles": "Frames tagged, each counted with its tiles.",
    "computed": "Frames tagged and their tiles, without those that kept their scores.",
    "dropped": "Frames replaced by a newer one, or skipped by the decoder.",
    "late": "Tagged frames with an age above the staleness.",
    "failed": "Frames that could not be tagged.",
    "reconnects": "Attempts to reconnect to the camera.",
    "decode_errors": "Damaged packets.",
}
_STATES = ("starting", "live", "paused", "lost", "ended")
_STAGES = ("decode", "preprocess", "inference", "head", "total")
# From a small model on a large machine to a slow one behind other work; up to the staleness of a camera and beyond.
_STAGE_SECONDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.02, 0.04, 0.08, 0.15, 0.3, 0.6, 1.2)
_AGE_SECONDS = (0.005, 0.01, 0.02, 0.03, 0.05, 0.075, 0.1, 0.15, 0.25, 0.5, 1.0, 2.5, 5.0)


def make_registry(tagger: Tagger, site: Site | None) -> CollectorRegistry:
    """The metrics of a tagger, of a site's cameras and sinks, and of this process.

    A registry of its own, so that several sites can share a process. The histograms count from this call on.
    """
    registry = CollectorRegistry()
    collect(registry, lambda: _plan_metrics(tagger))
    ProcessCollector(registry=registry)
    PlatformCollector(registry=registry)
    if site is not None:
        collect(registry, lambda: _site_metrics(site))
        _add_histograms(registry, site)
    return registry


def serve_metrics(registry: CollectorRegistry, host: str, port: int) -> WSGIServer:
    """Answer requests for ``/metrics`` in a thread until the process ends, without a token.

    Returns the server: its ``server_port`` is the port if 0 was asked for.

    Raises:
        OptionError: the address is not this machine's, or in use.
    """
    where = f"metrics: host {host} and port {port}"
    hint = "Choose another metrics: port."
    with system_errors(OptionError, where, expected="a free address of this machine", hint=hint):
        return start_http_server(port, host, registry)[0]


def collect(registry: CollectorRegistry, read: Callable[[], Iterable[Metric]]) -> None:
    """Let a registry call a function whenever its metrics are requested."""

    class Requested(Collector):
        def collect(self) -> Iterable[Metric]:
            return read()

    registry.register(Requested())


def make_family(
    kind: Any, name: str, text: str, labels: list[str], samples: Iterable[tuple[list[str], float]]
) -> Metric:
    """A metric with one sample per combination of labels. Text that UTF-8 cannot encode is replaced."""
    family = kind(f"pvlr_{name}", text, labels=labels)
    for values, value in samples:
        family.add_metric([text.encode(errors="replace").decode() for text in values], value)
    return family


def _add_histograms(registry: CollectorRegistry, site: Site) -> None:
    """Count the age and the stages of each tagged frame."""
    text = "Age from capture to result of each tagged frame."
    age = Histogram(
        "pvlr_camera_age_seconds", text, ["camera"], buckets=_AGE_SECONDS, registry=registry
    )
    text = "Time of each stage of a tagged frame; total is from the call to the result."
    stage = Histogram(
        "pvlr_stage_seconds", text, ["stage"], buckets=_STAGE_SECONDS, registry=registry
    )
    ages = {name: age.labels(name) for name in site.config.cameras}
    stages = {name: stage.labels(name) for name in _STAGES}

    def count(seen: Observation) -> None:
        ages[seen.camera].observe(seen.age)
        for name, milliseconds in seen.result.timing.items():
            if name in stages:
                stages[name].observe(milliseconds / 1e3)

    site.on_observation(count)


def _plan_metrics(tagger: Tagger) -> Iterator[Metric]:
    plan = tagger.info
    info = {
        "version": __version__,
        **{key: str(plan[key]) for key in ("name", "backend", "precision")},
    }
    yield make_family(
        GaugeMetricFamily, "info", "Version and plan.", list(info), [(list(info.values()), 1)]
    )


def _site_metrics(site: Site) -> Iterator[Metric]:
    stats = site.stats()
    yield make_family(
        CounterMetricFamily, "events", "Events, on and off.", [], [([], stats["events"])]
    )
    ongoing = len(site.open_events())
    yield make_family(
        GaugeMetricFamily, "open_events", "Events that have not ended.", [], [([], ongoing)]
    )
    healthy = "1 if tagging has made progress in the last 30 seconds."
    yield make_family(GaugeMetricFamily, "healthy", healthy, [], [([], site.healthy())])
    drift = "1 if the mix of events has changed since the answers."
    samples = stats["drift"].items()
    yield make_family(
        GaugeMetricFamily,
        "precision_drift",
        drift,
        ["label"],
        (([name], one) for name, one in samples),
    )
    for key, text in _COUNTS.items():
        samples = [([name], camera[key]) for name, camera in stats["cameras"].items()]
        yield make_family(CounterMetricFamily, f"camera_{key}", text, ["camera"], samples)
    cameras = stats["cameras"].items()
    states = [
        ([name, state], camera["state"] == state) for name, camera in cameras for state in _STATES
    ]
    yield make_family(
        GaugeMetricFamily, "camera_state", "1 for the current state.", ["camera", "state"], states
    )
    rates = [([name], camera["fps"]) for name, camera in cameras]
    yield make_family(
        GaugeMetricFamily,
        "camera_frames_per_second",
        "Over the last few seconds.",
        ["camera"],
        rates,
    )
    for kind, key, text in (
        (CounterMetricFamily, "delivered", "Items delivered by a sink."),
        (CounterMetricFamily, "lost", "Items lost by a sink."),
        (GaugeMetricFamily, "waiting", "Items in the queue of a sink."),
    ):
        totals = Counter[
            str
        ]()  # two webhooks of one host share a name; Prometheus would drop the second sample
        for sink in stats["sinks"]:
            totals[sink["name"]] += sink[key]
        yield make_family(
            kind, f"sink_{key}", text, ["sink"], (([name], total) for name, total in totals.items())
        )
