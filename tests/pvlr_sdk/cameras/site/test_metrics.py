"""Metrics: their values, the port of ``pvlr watch``, the collector's configuration, the dashboard and the alerts."""

from __future__ import annotations

import json
import re
import shutil
import socket
import subprocess
import sys
import urllib.parse
import urllib.request
from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml
from prometheus_client import generate_latest
from prometheus_client.parser import text_string_to_metric_families

from pvlr_sdk import errors
from pvlr_sdk.cameras.site import Site, SiteConfig
from pvlr_sdk.cameras.site.metrics import make_registry, serve_metrics
from tests.waiting import until

PVLR = [sys.executable, "-c", "from pvlr_sdk.cli import main; main()"]
GRAFANA = Path(__file__).parents[4] / "docs/grafana"
DASHBOARD = json.loads((GRAFANA / "pvlr.json").read_text())
ALERTS = yaml.safe_load((GRAFANA / "alerts.yaml").read_text())
QUERIES = [target["expr"] for panel in DASHBOARD["panels"] for target in panel["targets"]]
PAGE = (GRAFANA.parent / "monitoring.md").read_text()
(COLLECTOR,) = (
    yaml.safe_load(text) for text in re.findall(r"```yaml\n(receivers:.*?)```", PAGE, re.DOTALL)
)
RULES = [rule["expr"] for group in ALERTS["groups"] for rule in group["rules"]]


@pytest.fixture
def run_site(plan, tagger, tmp_path):
    """Run a site to the end of its 30 frames; returns it and its registry."""

    def run(
        *, frames=30, sinks=({"kind": "jsonl", "path": str(tmp_path / "e.jsonl")},)
    ) -> tuple[Site, object]:
        raw = {
            "cameras": {"door": f"test://?fps=60&size=64x48&frames={frames}"},
            "events": {"thresholds": {"cat": 0.0}, "labels": ["cat"], "min_duration": 0.1},
            "sinks": list(sinks),
        }
        site = Site(SiteConfig.parse(raw, source="test"), tagger=tagger)
        registry = make_registry(tagger, site)
        site.run()
        return site, registry

    return run


def test_the_histograms_count_each_tagged_frame_once(run_site):
    site, registry = run_site()
    tagged = site.stats()["cameras"]["door"]["tagged"]
    value = registry.get_sample_value
    assert value("pvlr_camera_age_seconds_count", {"camera": "door"}) == tagged > 0
    assert value("pvlr_camera_age_seconds_bucket", {"camera": "door", "le": "+Inf"}) == tagged
    stages = {
        name: value("pvlr_stage_seconds_sum", {"stage": name})
        for name in ("decode", "preprocess", "inference", "head", "total")
    }
    assert {
        name: value("pvlr_stage_seconds_count", {"stage": name}) for name in stages
    } == dict.fromkeys(stages, tagged)
    assert sum(stages.values()) - stages["total"] <= stages["total"]
    assert 0 < stages["inference"] < value("pvlr_camera_age_seconds_sum", {"camera": "door"})
    assert value("pvlr_camera_tagged_total", {"camera": "door"}) == tagged
    # By default the whole frame and 2 x 2 tiles.
    assert value("pvlr_camera_tiles_total", {"camera": "door"}) == 5 * tagged
    assert value("pvlr_camera_computed_total", {"camera": "door"}) == 5 * tagged
    assert value("pvlr_healthy") == 1


def test_sinks_of_one_name_are_one_series(run_site, tmp_path):
    """The address of a webhook is secret, so its name has the host alone."""
    hooks = [
        {"kind": "webhook", "url": f"http://127.0.0.1:1/{name}", "queue": str(tmp_path / name)}
        for name in "ab"
    ]
    _, registry = run_site(sinks=hooks)
    lines = generate_latest(registry).decode().splitlines()
    names = [line.rpartition(" ")[0] for line in lines if not line.startswith("#")]
    assert len(names) == len(set(names))
    # on and off, twice
    assert registry.get_sample_value("pvlr_sink_waiting", {"sink": "webhook 127.0.0.1:1"}) == 4


def test_a_name_that_is_no_text_breaks_nothing():
    tagger = SimpleNamespace(
        info={"name": "half\ud800", "backend": "openvino", "precision": "fp32"}
    )
    assert 'name="half?"' in generate_latest(make_registry(tagger, None)).decode()


def scrape(address: str) -> dict:
    with urllib.request.urlopen(address, timeout=10) as answer:
        return {
            family.name: family for family in text_string_to_metric_families(answer.read().decode())
        }


@pytest.fixture
def watching(plan, tmp_path):
    """The address of the metrics of a running ``pvlr watch``."""
    site = tmp_path / "site.yaml"
    cameras = "{door: 'test://?fps=30&size=64x48', gone: 'rtsp://127.0.0.1:1/x'}"
    site.write_text(
        f"plan: {plan}\nthreads: 1\ncameras: {cameras}\nevents: {{threshold: 0, labels: [cat]}}\nmetrics: {{port: 0}}\n"
    )
    command = [*PVLR, "watch", "--config", str(site), "--events", str(tmp_path / "e.jsonl")]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    try:
        line = process.stderr.readline()
        yield re.fullmatch(r"pvlr: metrics on (http://127\.0\.0\.1:\d+/metrics)\n", line)[1]
    finally:
        process.terminate()
        process.communicate(timeout=20)


@pytest.mark.slow
def test_watch_answers_prometheus_on_this_machine_only(watching):
    port = int(watching.rpartition(":")[2].partition("/")[0])
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.2", port), 5)

    def measured() -> bool:
        families = scrape(watching)
        states = {
            tuple(sample.labels.values()): sample.value
            for sample in families["pvlr_camera_state"].samples
        }
        counts = [
            s.value
            for s in families["pvlr_camera_age_seconds"].samples
            if s.name.endswith("_count")
        ]
        return states["gone", "lost"] and sum(counts)

    until(measured)
    names = {"pvlr_stage_seconds", "pvlr_sink_lost", "pvlr_sink_waiting", "pvlr_camera_dropped"}
    assert names <= set(scrape(watching))


def test_a_port_in_use_is_an_error(tagger):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(
            errors.OptionError, match=f"metrics: host 127.0.0.1 and port {port}: expected a free"
        ):
            serve_metrics(make_registry(tagger, None), "127.0.0.1", port)


def used(query: str) -> set[str]:
    """Names of our metrics and of the process in a query."""
    return set(re.findall(r"\b(?:pvlr|process)_[a-z_]+", query))


def test_the_dashboard_and_the_alerts_ask_for_metrics_that_exist(run_site):
    _, registry = run_site(frames=3)
    samples = [sample for family in registry.collect() for sample in family.samples]
    names = {sample.name for sample in samples}
    labels = {label for sample in samples for label in sample.labels} | {"instance", "job"}
    for query in [*QUERIES, *RULES]:
        assert used(query) or query.startswith("up")
        assert used(query) <= names, query
        for group in re.findall(r"(?:by|on|group_left) \(([a-z_, ]*)\)|\{([^}]*)\}", query):
            assert (
                set(re.findall(r"([a-z_]+)(?=[=!]|,|$)", re.sub(r'"[^"]*"', "", "".join(group))))
                <= labels
            ), query


def test_the_collector_of_the_page_scrapes_the_port_of_the_page():
    (scrape_config,) = COLLECTOR["receivers"]["prometheus"]["config"]["scrape_configs"]
    assert scrape_config["static_configs"] == [{"targets": ["127.0.0.1:9464"]}]
    assert "metrics: {port: 9464}" in PAGE
    (pipeline,) = COLLECTOR["service"]["pipelines"].values()
    assert {part: pipeline[part] for part in COLLECTOR if part != "service"} == {
        part: list(names) for part, names in COLLECTOR.items() if part != "service"
    }


@pytest.mark.slow
@pytest.mark.skipif(not shutil.which("prometheus"), reason="Prometheus is not installed")
def test_prometheus_answers_every_query_of_the_dashboard(watching, tmp_path):
    """A real one, which reads the metrics of a real run, configured as the receiver of an OpenTelemetry Collector."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    config = json.dumps(
        COLLECTOR["receivers"]["prometheus"]["config"] | {"rule_files": [f"{GRAFANA}/alerts.yaml"]}
    )
    host = urllib.parse.urlsplit(watching).netloc
    (tmp_path / "prometheus.yml").write_text(
        config.replace("127.0.0.1:9464", host).replace("15s", "1s")
    )
    command = [
        "prometheus",
        f"--config.file={tmp_path}/prometheus.yml",
        f"--storage.tsdb.path={tmp_path}/data",
    ]
    server = subprocess.Popen(
        [*command, f"--web.listen-address=127.0.0.1:{port}"], stderr=subprocess.DEVNULL
    )

    def ask(query: str) -> list:
        query = query.replace("$__rate_interval", "5s").replace("$camera", ".*")
        address = f"http://127.0.0.1:{port}/api/v1/query?{urllib.parse.urlencode({'query': query})}"
        with urllib.request.urlopen(address, timeout=10) as answer:
            return json.loads(answer.read())["data"]["result"]

    def answered() -> bool:
        try:
            return all(ask(query) for query in QUERIES)
        except OSError:
            return False

    try:
        until(answered)
        for rule in RULES:
            ask(rule.partition(" == ")[0].partition(" > ")[0])
    finally:
        server.terminate()
        server.wait()
