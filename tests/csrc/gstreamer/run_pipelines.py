"""Runs GStreamer pipelines with the system's Python, one after the other, and prints a line of JSON for each.

Usage: run_pipelines.py PIPELINE...

The sink is named ``sink``. Each line has the ``messages`` of pvlrtag, the ``buffers`` that reach the sink, and the
``error`` or null. A buffer has its time, the ``metadata`` of pvlrtag, and the resident bytes of the process. If an
element is named ``before``, the buffers that reach it are listed too and kept, and buffers have a checksum and an
address; before each of them, its property ``bank`` becomes the next line of the environment variable BANKS, if that is
set. ``warnings`` are their texts.
"""

from __future__ import annotations

import json
import os
import resource
import sys
import zlib
from typing import Any

import gi

gi.require_version("Gst", "1.0")
from gi.repository import GLib, Gst  # noqa: E402

try:
    gi.require_version("GstAnalytics", "1.0")
    from gi.repository import GstAnalytics
except ValueError:  # GStreamer before 1.24, or without its typelib
    GstAnalytics = None

PAGE = resource.getpagesize()


def fields(structure: Any) -> dict[str, Any]:
    """The fields of a structure of pvlrtag, which Python programs read in this way."""
    values: dict[str, Any] = {"model": structure.get_string("model")}
    for name in ("labels", "scores"):
        _, array = structure.get_array(name)
        values[name] = [array.get_nth(i) for i in range(array.n_values)]
    for name in ("timestamp", "stream-time", "running-time", "duration"):
        if structure.has_field(name):
            values[name] = structure.get_uint64(name)[1]
    return values


def analytics(buffer: Any) -> list[dict[str, float]] | None:
    """The labels and scores in each classification of GStreamer's own metadata; None: it cannot be read here."""
    if GstAnalytics is None:
        return None
    meta = GstAnalytics.buffer_get_analytics_relation_meta(buffer)
    found = []
    for number in range(GstAnalytics.relation_get_length(meta) if meta else 0):
        known, one = meta.get_cls_mtd(number)
        if known:
            places = range(one.get_length())
            found.append({GLib.quark_to_string(one.get_quark(i)): one.get_level(i) for i in places})
    return found


def describe(buffer: Any, checksums: bool) -> dict[str, Any]:
    """What a buffer has."""
    meta = buffer.get_custom_meta("pvlr-tags")
    with open("/proc/self/statm") as file:
        resident = int(file.read().split()[1]) * PAGE
    described = {
        "pts": buffer.pts,
        "metadata": meta and fields(meta.get_structure()),
        "resident": resident,
    }
    described["analytics"] = analytics(buffer)
    if checksums:
        described["checksum"] = zlib.crc32(buffer.extract_dup(0, buffer.get_size()))
        # The address of the GstMemory, which holds the pixels.
        described["memory"] = hash(buffer.peek_memory(0))
    return described


def run(text: str) -> dict[str, Any]:
    """Run a pipeline to its end, or to its first error."""
    result: dict[str, Any] = {
        "messages": [],
        "before": [],
        "buffers": [],
        "warnings": [],
        "error": None,
    }
    banks = iter(os.environ.get("BANKS", "").splitlines())
    pipeline = Gst.parse_launch(text)
    before, sink = pipeline.get_by_name("before"), pipeline.get_by_name("sink")
    held = []  # which makes them read-only

    def watch(element: Any, pad: str, to: list[Any]) -> None:
        def probe(_: Any, info: Any) -> Any:
            buffer = info.get_buffer()
            to.append(describe(buffer, before is not None))
            if element == before:
                held.append(buffer)
                if (bank := next(banks, None)) is not None:
                    element.set_property("bank", bank)
            return Gst.PadProbeReturn.OK

        element.get_static_pad(pad).add_probe(Gst.PadProbeType.BUFFER, probe)

    watch(sink, "sink", result["buffers"])
    if before:
        watch(before, "sink", result["before"])
    bus = pipeline.get_bus()
    pipeline.set_state(Gst.State.PLAYING)
    wanted = (
        Gst.MessageType.ELEMENT
        | Gst.MessageType.WARNING
        | Gst.MessageType.ERROR
        | Gst.MessageType.EOS
    )
    while (message := bus.timed_pop_filtered(120 * Gst.SECOND, wanted)) is not None:
        if message.type == Gst.MessageType.ELEMENT:
            if message.get_structure().get_name() == "pvlr-tags":
                result["messages"].append(fields(message.get_structure()))
            continue
        if message.type == Gst.MessageType.WARNING:
            result["warnings"].append(message.parse_warning()[0].message)
            continue
        if message.type == Gst.MessageType.ERROR:
            error, _ = message.parse_error()
            result["error"] = {
                "from": message.src.get_factory().get_name(),
                "domain": error.domain,
                "text": error.message,
            }
        break
    else:
        result["error"] = {"from": "here", "text": "no message within two minutes"}
    pipeline.set_state(Gst.State.NULL)
    return result


Gst.init(None)
for argument in sys.argv[1:]:
    try:
        print(json.dumps(run(argument)), flush=True)
    except gi.repository.GLib.Error as failure:  # the pipeline cannot be parsed or linked
        print(json.dumps({"error": {"from": "parse", "text": failure.message}}), flush=True)
