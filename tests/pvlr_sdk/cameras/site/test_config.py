"""A site's YAML: every key is checked, and no secret ever shows."""

from __future__ import annotations

from pathlib import Path

import pytest

from pvlr_sdk import errors
from pvlr_sdk.cameras.events import EventSettings
from pvlr_sdk.cameras.site import SiteConfig, load_config, yaml_file

EXAMPLE = Path(__file__).parents[4] / "pvlr_sdk/cameras/site/site.yaml"


def parse(**raw):
    return SiteConfig.parse({"cameras": {"door": "rtsp://host/live"}, **raw}, source="site.yaml")


def test_the_example_is_valid_and_shows_every_key(monkeypatch):
    for name in (
        "CAMERA_USER",
        "CAMERA_PASSWORD",
        "MQTT_PASSWORD",
        "WEBHOOK_SECRET",
        "WEBHOOK_TOKEN",
    ):
        monkeypatch.setenv(name, "s3cret")
    config = load_config(EXAMPLE)
    assert config.cameras["door"].uri == "rtsp://s3cret:s3cret@192.168.1.20:554/stream1"
    assert "s3cret" not in repr(config)
    text = EXAMPLE.read_text()

    def missing(model) -> list[str]:
        return [name for name in type(model).model_fields if f"{name}:" not in text]

    parts = [config, config.events, config.stream, config.serve, config.metrics]
    parts += [*config.cameras.values(), *config.cameras["gate"].regions.values(), *config.sinks]
    assert [name for part in parts for name in missing(part)] == []
    assert {sink.kind for sink in config.sinks} == {"jsonl", "sqlite", "mqtt", "webhook", "video"}


def test_the_example_and_the_code_have_the_same_defaults():
    example = yaml_file.parse_yaml(EXAMPLE.read_bytes(), "site.yaml")["events"]
    numbers = ("smoothing", "margin", "min_duration", "min_gap", "cooldown", "max_per_hour")
    shown = {name: example[name] for name in numbers}
    assert shown == {name: getattr(EventSettings(), name) for name in numbers}
    assert shown == {name: getattr(parse().events, name) for name in numbers}


def test_relative_paths_start_at_the_file(tmp_path):
    (tmp_path / "site.yaml").write_text(
        "plan: a/engine.plan\ncameras: {door: 0}\nsinks:\n- {kind: sqlite, path: /srv/e.db}\n- {kind: jsonl, path: e}\n"
    )
    config = load_config(tmp_path / "site.yaml")
    assert config.plan == tmp_path / "a/engine.plan"
    assert [sink.path for sink in config.sinks] == [Path("/srv/e.db"), tmp_path / "e"]
    assert config.cameras["door"].uri == "0"


def test_variables(monkeypatch):
    monkeypatch.setenv("CAM", "rtsp://a:b@host")
    config = SiteConfig.parse(
        {"cameras": {"a": "$CAM/1", "b": "${CAM}2", "c": "gst:x $$y"}}, source="x"
    )
    assert [camera.uri for camera in config.cameras.values()] == [
        "rtsp://a:b@host/1",
        "rtsp://a:b@host2",
        "gst:x $y",
    ]
    monkeypatch.delenv("CAM")
    with pytest.raises(
        errors.ConfigError, match=r"x: cameras\.a: expected an environment variable .* got \$CAM"
    ):
        SiteConfig.parse({"cameras": {"a": "$CAM/1"}}, source="x")


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        ({"camera": {}}, "site.yaml: camera: expected a known key, got 'camera'. Did you mean 'cameras'?"),
        ({"cameras": {"a": {"ur": 1}}}, "site.yaml: cameras.a.ur: expected a known key, got 'ur'. Did you mean 'uri'?"),
        ({"events": {"operating_point": "f1"}},
         "got 'operating_point'. operating_point is a key of the file's top level."),
        ({"events": {"smoothin": 1}}, "smoothin: expected a known key, got 'smoothin'. Did you mean 'smoothing'?"),
        ({"sinks": [{"kind": "mqt"}]}, "sinks.0.kind: expected one of jsonl, sqlite, mqtt, webhook, video, got 'mqt'. "
         "Did you mean 'mqtt'?"),
        ({"sinks": [{"kind": "mqtt", "ulr": "x"}]}, "sinks.0.ulr: expected a known key, got 'ulr'. Did you mean 'url'"),
        ({"sinks": [{"kind": "mqtt"}]}, "site.yaml: sinks.0.url: expected a value, got nothing."),
        (
            {"cameras": {"a": {"uri": "0", "tiles": "5x4"}}},
            "site.yaml: cameras.a.tiles: expected (columns, rows) with at most 16 tiles, or 'auto', got '5x4'.",
        ),
        ({"cameras": {"a": {}}}, "site.yaml: cameras.a.uri: expected a value, got nothing."),
        ({"zebra": 1}, "Known here: plan, previous_plan, bank, words, device,"),
        ({"allow_unsigned": "x"}, "site.yaml: allow_unsigned: expected a valid boolean"),
        ({"serve": [1]}, "site.yaml: serve: expected a mapping of keys, got [1]."),
        ({"serve": {"names": "cams"}}, "site.yaml: serve.names: expected a list, got 'cams'."),
        ({"trust": 5}, "site.yaml: trust: expected a path, got 5."),
        ({"trust": ""}, "site.yaml: trust: expected a path, not an empty text, got ''."),
        ({"bank": "a\0b"}, r"site.yaml: bank: expected a path without a zero byte, got 'a\x00b'."),
        ({"cameras": {"a b": 1}}, "site.yaml: cameras.a b: expected a name of letters, digits, '_', '-' and '.', "
         "not first '.', got 'a b'."),
        ({"serve": {"port": True}}, "site.yaml: serve.port: expected a number, got True."),
        ({"threads": 1_000_000}, "site.yaml: threads: expected less than or equal to 1024, got 1000000."),
        ({"cameras": {"a": {"uri": "0", "region": [0, 0, 2, 1]}}}, "cameras.a.region.2: expected"),
        ({"cameras": {"a": {"uri": "0", "schedule": ["mon 8-18"]}}},
         "site.yaml: cameras.a.schedule: expected days and hours such as 'mon-fri 08:00-18:00', got ['mon 8-18']."),
        ({"timezone": "Berlin"}, "site.yaml: timezone: expected a time zone of the IANA database, got 'Berlin'."),
        ({"cameras": {"a": {"uri": "0", "regions": {"x": {"polygon": [[0, 0], [1, 1], [1, 0], [0, 1]]}}}}},
         "cameras.a.regions.x.polygon: expected a polygon that does not cross itself, as sides 1 and 3 do, got [[0"),
        ({"cameras": {"a": {"uri": "0", "schedule": []}}}, "a.schedule: expected days and hours such as"),
        ({"cameras": {"a": {"uri": "0", "regions": {"x": {"polygon": [[0, 0], [2, 0], [0, 1]]}}}}},
         "cameras.a.regions.x.polygon: expected 3 to 64 corners (x, y) as fractions of the frame, from 0 to 1, got"),
        ({"cameras": {"a": {"uri": "0", "tiles": "3x3", "regions": {name: {"polygon": [[0, 0], [1, 0], [0, 1]]}
                                                                    for name in "xy"}}}},
         "cameras.a: expected at most 16 parts of a frame, its regions times their tiles, not 18 parts = 2 regions x "),
        ({"cameras": {"a": {"uri": "0", "regions": {"x": {"polygom": []}}}}}, "Did you mean 'polygon'?"),
        ({"operating_point": "recall"}, "site.yaml: operating_point: expected 'f1' or 'precise'"),
        ({"events": {"margin": 2}}, "events.margin: expected less than or equal to 1, got 2."),
        ({"events": {"max_per_hour": 99}}, "events.max_per_hour: expected less than or equal to 60, got 99."),
        ({"events": {"when": {"car": {"present": ["dog"]}}}}, "events.when.car.within: expected a value, got nothing."),
        ({"events": {"when": {"car": {"absnt": ["dog"], "within": 1}}}}, "Did you mean 'absent'?"),
        ({"sinks": [{"kind": "video", "folder": "v", "cameras": ["dor"]}]},
         "site.yaml: sinks.0.cameras.0: expected a camera of this site, got 'dor'. Did you mean 'door'?"),
        ({"sinks": [{"path": "x"}]}, "sinks.0.kind: expected one of jsonl, sqlite, mqtt, webhook, video, got nothing."),
        ({"plan": "~nobody-of-this-name/x"}, "site.yaml: plan: expected a path of an existing user, got '~nobody"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_named(raw, message):
    with pytest.raises(errors.ConfigError) as caught:
        parse(**raw)
    assert message in str(caught.value)


def test_all_problems_are_named_at_once(tmp_path):
    (tmp_path / "site.yaml").write_text(
        """
        plann: x
        1: x
        precision: fp17
        cameras: {door: {urii: "rtsp://h", timeout: soon}, yard: {uri: $NOT_SET, timeout: $NOT_SET}}
        events: {lables: [cat], margin: 2, thresholds: {cat: high}}
        sinks: [{kind: mqtt, ulr: "mqtt://h", prefx: p}, {kind: sqlit, path: x}]
        serve: [1]
        """
    )
    with pytest.raises(errors.ConfigError) as caught:
        load_config(tmp_path / "site.yaml")
    lines = [line.removeprefix(f"{tmp_path}/site.yaml: ") for line in str(caught.value).split("\n")]
    assert sorted(line.partition(", got")[0] for line in lines) == [
        "1: expected a key that is text",
        "cameras.door.timeout: expected a valid number, unable to parse string as a number",
        "cameras.door.urii: expected a known key",
        "cameras.yard.timeout: expected an environment variable that is set",
        "cameras.yard.uri: expected an environment variable that is set",
        "events.lables: expected a known key",
        "events.margin: expected less than or equal to 1",
        "events.thresholds.cat: expected a valid number, unable to parse string as a number",
        "plann: expected a known key",
        "precision: expected 'auto', 'fp32', 'fp16', 'bf16' or 'int8'",
        "serve: expected a mapping of keys",
        "sinks.0.prefx: expected a known key",
        "sinks.0.ulr: expected a known key",
        "sinks.1.kind: expected one of jsonl, sqlite, mqtt, webhook, video",
    ]
    hints = [line.partition("Did you mean ")[2] for line in lines]
    assert sorted(filter(None, hints)) == [
        "'labels'?",
        "'plan'?",
        "'prefix'?",
        "'sqlite'?",
        "'uri'?",
        "'url'?",
    ]


def test_the_value_of_a_variable_never_shows(monkeypatch):
    monkeypatch.setenv("SECRET", "s3cret")
    for raw in (
        {"sinks": [{"kind": "webhook", "url": "http://h", "timeout": "$SECRET"}]},
        {"sinks": [{"kind": "mqtt", "url": "mqtt://h", "password": ["$SECRET"]}]},
        {"sinks": [{"kind": "$SECRET"}]},
        {"cameras": {"a": {"uri": ["$SECRET"]}}},
        {
            "sinks": [{"kind": "video", "folder": "v", "cameras": ["$SECRET"]}],
            "serve": {"token": "$SECRET"},
        },
    ):
        with pytest.raises(errors.ConfigError) as caught:
            parse(**raw)
        assert "s3cret" not in str(caught.value)
