"""Sends metrics to an OpenTelemetry collector: OTLP over HTTP, protobuf. Needs the extra ``otlp``."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterable, Iterator
from typing import Any
from urllib.parse import urlsplit

from prometheus_client import CollectorRegistry, Metric

from .. import __version__, errors

try:
    from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
    from opentelemetry.sdk.metrics import export as otel
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.util.instrumentation import InstrumentationScope
except ImportError as missing:
    raise errors.MissingPartError(
        "metrics: otlp", expected="the OpenTelemetry packages", got=str(missing), hint=errors.install_hint("otlp")
    ) from missing

_LOG = logging.getLogger("pvlr_sdk.watch")
_TIMEOUT = 10.0
"""Seconds for a delivery, with the exporter's own attempts."""


class OtlpSender:
    """Sends the metrics of a registry at intervals, in its own thread.

    What a collector misses is not queued: counters and histograms are totals since the start, so the next delivery
    makes up for it. ``OTEL_EXPORTER_OTLP_HEADERS``, ``OTEL_EXPORTER_OTLP_CERTIFICATE`` and ``OTEL_RESOURCE_ATTRIBUTES``
    apply.

    Args:
        registry: read for each delivery.
        url: the address that receives metrics, such as ``http://127.0.0.1:4318/v1/metrics``.
        interval: seconds.
    """

    def __init__(self, registry: CollectorRegistry, url: str, interval: float) -> None:
        # Failures are in our log, once; these repeat each attempt.
        logging.getLogger("opentelemetry").addHandler(logging.NullHandler())
        logging.getLogger("opentelemetry").propagate = False
        self._registry = registry
        self._host = urlsplit(url).hostname
        self._interval = interval
        self._exporter = OTLPMetricExporter(endpoint=url, timeout=_TIMEOUT)
        self._resource = Resource.create({"service.name": "pvlr", "service.version": __version__})
        self._started = time.time_ns()
        self._ended = threading.Event()
        threading.Thread(target=self._run, name="pvlr-otlp", daemon=True).start()

    def close(self) -> None:
        """Send no more; a delivery in progress is not waited for."""
        self._ended.set()

    def _run(self) -> None:
        failing = False
        while not self._ended.wait(self._interval):
            try:
                ok = self._exporter.export(self._data()) is otel.MetricExportResult.SUCCESS
            except Exception:  # of the exporter's libraries; a missed delivery must not end the thread
                ok = False
            if ok == failing:
                failing = not ok
                state = "metrics cannot be delivered, trying again" if failing else "metrics are delivered again"
                _LOG.warning("otlp %s: %s", self._host, state)

    def _data(self) -> otel.MetricsData:
        metrics = list(to_otlp(self._registry.collect(), self._started, time.time_ns()))
        scope = otel.ScopeMetrics(InstrumentationScope("pvlr_sdk", __version__), metrics, "")
        return otel.MetricsData([otel.ResourceMetrics(self._resource, [scope], "")])


def to_otlp(families: Iterable[Metric], started: int, now: int) -> Iterator[otel.Metric]:
    """Prometheus' metrics as those of OpenTelemetry, under the same names; times are nanoseconds since the epoch."""
    for family in families:
        data: Any
        total = otel.AggregationTemporality.CUMULATIVE
        if family.type == "histogram":
            data = otel.Histogram(list(_histogram_points(family, started, now)), total)
        else:
            points = [
                otel.NumberDataPoint(sample.labels, started, now, float(sample.value))
                for sample in family.samples
                if not sample.name.endswith("_created")
            ]
            data = otel.Sum(points, total, True) if family.type == "counter" else otel.Gauge(points)
        yield otel.Metric(family.name, family.documentation, "s" if family.name.endswith("_seconds") else "", data)


def _histogram_points(family: Metric, started: int, now: int) -> Iterator[otel.HistogramDataPoint]:
    series: dict[tuple[tuple[str, str], ...], dict[str, float]] = {}
    for sample in family.samples:
        labels = dict(sample.labels)
        key = labels.pop("le", "") or sample.name.removeprefix(family.name)
        series.setdefault(tuple(labels.items()), {})[key] = sample.value
    for labels_of_series, values in series.items():
        total, count = values.pop("_sum"), int(values.pop("_count"))
        values.pop("_created", None)
        cumulative = [int(value) for value in values.values()]  # in the order of their bounds, the last one +Inf
        counts = [value - before for value, before in zip(cumulative, [0, *cumulative], strict=False)]
        bounds = [float(bound) for bound in values][:-1]
        attributes = dict(labels_of_series)
        # Prometheus has no smallest and largest value; None leaves these fields out.
        unknown: Any = None
        yield otel.HistogramDataPoint(attributes, started, now, count, total, counts, bounds, unknown, unknown)
