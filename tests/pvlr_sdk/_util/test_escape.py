"""Hostile names of labels, files and cameras, through every output."""

from __future__ import annotations

import csv
import io
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pvlr_sdk._util import escape
from pvlr_sdk.cameras.events import Event
from pvlr_sdk.cameras.sinks.mqtt import MqttSettings, MqttSink
from pvlr_sdk.cameras.sinks.video import VideoSettings
from pvlr_sdk.cameras.sinks.worker import SiteStatus
from pvlr_sdk.cameras.site import SiteConfig
from pvlr_sdk.cameras.site.outputs import SinkSet
from pvlr_sdk.cameras.sources import CapturedFrame
from pvlr_sdk.result import Tag
from pvlr_sdk.result.drawing import tags_as_html
from tests.manifests import edit_manifest

PVLR = [sys.executable, "-c", "from pvlr_sdk.cli import main; main()"]
HOSTILE = [
    "\x1b]0;owned\x07",
    "\x9b31m",
    "a\nb,forged,1",
    "\r\nx",
    "=HYPERLINK(1)",
    "+1",
    "-2",
    "@SUM(1)",
    "\t=1",
    "\uff1d1",
    "<img src=x onerror=alert(1)>",
    '"',
    "..",
    ".",
    "../../etc/passwd",
    "/etc",
    "a\0b",
    "nul",
    "COM1.txt",
    ".hidden",
    "a/+/#",
    "$SYS",
    "",
    "\u202efdp.exe",
    "狗",
    "猫",
    "собака",
    "x" * 500,
    "\ud800",
]
names = st.text(max_size=300) | st.sampled_from(HOSTILE)


@given(names)
def test_terminal(name: str) -> None:
    assert escape.terminal(name).isprintable()


# No label and no path has a zero, which csv writes from Python 3.11 on.
@given(st.lists(names.filter(lambda name: "\0" not in name), min_size=1, max_size=4))
def test_csv(cells: list[str]) -> None:
    row = escape.csv_row(*cells, 1.5)
    (read,) = csv.reader(io.StringIO(f"{row}\r\n", newline=""), strict=True)
    assert read[-1] == "1.5"
    for cell, original in zip(read, cells, strict=False):
        assert cell in (original, f"'{original}")
        assert not cell.startswith(
            ("=", "+", "-", "@", "\t", "\r", "\n", "\uff1d", "\uff0b", "\uff0d", "\uff20")
        )


@given(names)
def test_topic_level(name: str) -> None:
    level = escape.topic_level(name)
    assert level
    assert not set(level) & set("/+#\0\n")
    assert not level.startswith("$")


@given(st.lists(names, unique=True, max_size=8))
def test_sensors_are_as_many_as_labels(labels: list[str]) -> None:
    found = escape.sensor_ids(labels)
    assert len(set(found.values())) == len(labels)
    assert all(re.fullmatch("[A-Za-z0-9_-]+", one) for one in found.values())


def test_common_labels_keep_their_sensors() -> None:
    """Entities of Home Assistant must survive an update of the SDK."""
    assert escape.sensor_ids(["dog", "cell phone", "T-shirt"]) == {
        "dog": "dog",
        "cell phone": "cell_phone",
        "T-shirt": "T-shirt",
    }
    twins = escape.sensor_ids(["cell phone", "cell_phone"])
    assert twins["cell_phone"] == "cell_phone"
    assert twins["cell phone"].startswith("cell_phone_")


@given(st.lists(names, unique=True, max_size=8))
def test_file_name(labels: list[str]) -> None:
    found = [escape.file_name(label) for label in labels]
    for name in found:
        assert Path(name).name == name
        assert not name.startswith(".")
        assert len(os.fsencode(name)) < 250
    assert len(set(found)) == len(labels)
    assert escape.file_name("front-door.2") == "front-door.2"


def test_file_names_are_those_of_earlier_versions() -> None:
    """Snapshots and queues are found again after an update."""
    names = {
        "door": "door",
        "front door": "front_door_7279998f",
        "..": "_._5ec1f7e7",
        "nul": "_nul_99e62427",
    }
    assert {name: escape.file_name(name) for name in names} == names


def test_every_file_name_can_be_created(tmp_path: Path) -> None:
    for name in [*HOSTILE, "\U00020000" * 300]:
        (tmp_path / escape.file_name(name)).mkdir()
    assert len(list(tmp_path.iterdir())) == len(HOSTILE) + 1


def test_html() -> None:
    shown = tags_as_html([Tag(name, 0.9, 0.5, 0) for name in HOSTILE[:12]], None, "bgr")
    assert "<img" not in shown
    assert "&lt;img src=x onerror=alert(1)&gt;" in shown


def test_mqtt_announces_a_sensor_for_each_label() -> None:
    """Version 0.1 announced one sensor for all labels in Chinese, and one for all in Cyrillic of the same length."""
    labels = ["狗", "猫", "собака", "кошка", "лошадь", "dog"]
    settings = MqttSettings(url="mqtt://127.0.0.1:1", discovery=True)
    sink = MqttSink(settings, SiteStatus({"door": labels}))
    sink.close()
    (device,) = sink._devices.values()
    every = json.loads(device.config({}))["components"].values()
    announced = [one for one in every if one["platform"] == "binary_sensor"]
    assert [one["name"] for one in announced] == sorted(labels)
    for key in ("unique_id", "state_topic"):
        assert len({one[key] for one in every}) == len(every) == 2 * len(labels) + 1
    assert len([topic for topic, text in sink._retained.items() if text == "OFF"]) == len(labels)


def test_no_camera_writes_outside_its_folder(tmp_path: Path) -> None:
    """A site file rejects such names; a program may pass any."""
    pytest.importorskip("av")
    base = tmp_path / "base"
    config = SiteConfig.parse(
        {"cameras": {"a": 0}, "events": {"snapshots": str(base / "snapshots")}}, source="x"
    )
    sinks = SinkSet(config, {})
    for name in HOSTILE:
        worker = VideoSettings(folder=base / "video").open(name)
        worker.close(1)
        event = Event("on", "1", name, "car", 1.0, 0.5, 0.5, 1.0, 1.0)
        frame = CapturedFrame(np.zeros((8, 8, 3), np.uint8), "bgr", 0.0, 0.0, None, 0)
        marked = sinks.with_snapshot(event, SimpleNamespace(frame=frame))  # type: ignore[arg-type]
        assert Path(marked.snapshot or "").resolve().parent.parent == base / "snapshots/pvlr"
    sinks.close()
    assert {path.name for path in tmp_path.iterdir()} == {"base"}
    assert len([path for path in (base / "video/pvlr").iterdir() if path.is_dir()]) == len(HOSTILE)


@pytest.fixture(params=["\x1b[2J", "\u202e"])
def hostile_plan(plan: Path, tmp_path: Path, request: pytest.FixtureRequest) -> Path:
    """A plan whose manifest has hostile names: of a control character, which is rejected, and of a format character."""
    copy = tmp_path / "hostile"
    shutil.copytree(plan.parent, copy)
    edit_manifest(copy / plan.name, lambda raw: raw.update(name=f"{request.param}name"))
    return copy / plan.name


@pytest.mark.slow
@pytest.mark.parametrize("command", ["info", "labels"])
def test_pvlr_prints_no_escape_sequence(hostile_plan: Path, command: str) -> None:
    done = subprocess.run([*PVLR, command, str(hostile_plan)], capture_output=True, check=False)
    assert done.stdout or done.returncode == 2
    assert all(
        char.isprintable() for char in (done.stdout + done.stderr).decode() if char not in "\n\t"
    )
