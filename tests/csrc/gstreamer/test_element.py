"""pvlrtag as an element: its properties, what it leaves unchanged, its errors, its memory."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from .conftest import ROOT, Plugin

pytestmark = pytest.mark.slow

PLAN = ROOT / "models/pvlr-lite0-voc20/engine.plan"
FRAME = 100_000_000  # nanoseconds
CAPS = "video/x-raw,format=I420,width=322,height=242,framerate=10/1"
ALL = f"pvlrtag plan={PLAN} threshold=1e-30"


def source(count: int, caps: str = CAPS) -> str:
    return f"videotestsrc pattern=ball num-buffers={count} ! {caps}"


def test_one_in_every_buffers_is_tagged(plugin: Plugin) -> None:
    (result,) = plugin.run(f"{source(8)} ! {ALL} every=3 ! fakesink name=sink")
    assert result["error"] is None
    times = [0, 3 * FRAME, 6 * FRAME]
    assert [buffer["pts"] for buffer in result["buffers"]] == [i * FRAME for i in range(8)]
    assert [buffer["pts"] for buffer in result["buffers"] if buffer["metadata"]] == times
    for name in ("timestamp", "stream-time", "running-time"):
        assert [message[name] for message in result["messages"]] == times
    assert {message["duration"] for message in result["messages"]} == {FRAME}
    assert {message["model"] for message in result["messages"]} == {"pvlr-lite0-voc20"}
    for message in result["messages"]:
        assert len(set(message["labels"])) == 20
        assert message["scores"] == sorted(message["scores"], reverse=True)


def test_labels_and_threshold_choose_the_tags(plugin: Plugin) -> None:
    everything, some, none = plugin.run(
        f"{source(1)} ! {ALL} ! fakesink name=sink",
        f'{source(1)} ! {ALL} labels="tvmonitor, person" ! fakesink name=sink',
        f"{source(1)} ! pvlrtag plan={PLAN.parent} threshold=1 ! fakesink name=sink",
    )
    (message,) = everything["messages"]
    pairs = list(zip(message["labels"], message["scores"], strict=True))
    (message,) = some["messages"]
    expected = [pair for pair in pairs if pair[0] in ("person", "tvmonitor")]
    assert list(zip(message["labels"], message["scores"], strict=True)) == expected
    assert len(expected) == 2
    (message,) = none["messages"]
    assert (message["labels"], message["scores"]) == ([], [])


def test_frames_are_neither_changed_nor_copied(plugin: Plugin) -> None:
    (result,) = plugin.run(
        f"{source(4)} ! tee name=t ! queue ! identity name=before ! {ALL} ! fakesink name=sink t. ! queue ! fakesink"
    )
    assert result["error"] is None
    for before, after in zip(result["before"], result["buffers"], strict=True):
        assert before["metadata"] is None
        assert len(after["metadata"]["labels"]) == 20
        for name in ("pts", "checksum", "memory"):
            assert before[name] == after[name]


def test_metadata_outlives_a_conversion(plugin: Plugin) -> None:
    convert = "videoscale ! videoconvert ! video/x-raw,format=RGB,width=64,height=64"
    (result,) = plugin.run(f"{source(2)} ! {ALL} ! {convert} ! fakesink name=sink")
    assert [buffer["metadata"]["scores"] for buffer in result["buffers"]] == [
        message["scores"] for message in result["messages"]
    ]


def test_errors(plugin: Plugin, tmp_path: Path) -> None:
    for path in PLAN.parent.glob("engine.*"):
        shutil.copy(path, tmp_path)
    (tmp_path / "engine.labels.safetensors").write_bytes(b"damaged")
    sink = "fakesink name=sink"
    cases = {
        f"{source(1)} ! pvlrtag ! {sink}": "plan: expected the path of a plan, got none",
        f"{source(1)} ! pvlrtag plan=/none/engine.plan ! {sink}": "/none/engine.json: expected a file of the bundle",
        f"{source(1)} ! pvlrtag plan={tmp_path} ! {sink}": "engine.labels.safetensors: expected ",
        f"{source(1)} ! pvlrtag plan={PLAN} labels=cat,dragon ! {sink}": "labels: expected labels of pvlr-lite0-voc20, "
        'separated by commas, got "dragon". "pvlr labels PLAN" lists them.',
        f"{source(1)} ! pvlrtag plan={PLAN} labels=cat, ! {sink}": 'got ""',
        f"filesrc location={PLAN} ! pvlrtag plan={PLAN} ! {sink}": "caps: expected video/x-raw, got none",
        f"{source(1, CAPS.replace('322', '20000'))} ! pvlrtag plan={PLAN} ! {sink}": "frame.width: expected 1 to 16384",
        f"{source(1, CAPS.replace('I420', 'Y444'))} ! pvlrtag plan={PLAN} ! {sink}": "could not link",
    }
    for (pipeline, text), result in zip(cases.items(), plugin.run(*cases), strict=True):
        error = result["error"]
        assert error is not None, pipeline
        assert text in error["text"]
        assert error["from"] == ("parse" if text == "could not link" else "pvlrtag"), pipeline


def test_memory_does_not_grow(plugin: Plugin) -> None:
    (result,) = plugin.run(f"{source(500)} ! pvlrtag plan={PLAN} threshold=1e-30 ! fakesink name=sink")
    resident = [buffer["resident"] for buffer in result["buffers"]]
    assert len(resident) == 500
    assert max(resident[100:]) - resident[100] < 4e6


def test_nothing_is_left_behind(plugin: Plugin) -> None:
    """GStreamer's own tracer lists the objects that are still alive at the end."""
    done = plugin.launch(
        *f"{source(20)} ! tee name=t ! queue ! {ALL} ! fakesink t. ! queue ! fakesink".split(),
        GST_TRACERS="leaks",
        GST_DEBUG="GST_TRACER:7",
    )
    assert done.returncode == 0, done.stderr
    assert "object-alive, type-name=(string)Gst" not in done.stderr
