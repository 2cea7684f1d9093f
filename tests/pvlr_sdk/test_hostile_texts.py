"""Generated texts, shaped to be expensive, at each place where text from outside is parsed: how long the slowest takes,
and how much memory the largest.

``PVLR_HOSTILE_TEXTS=100000 pytest tests/pvlr_sdk/test_hostile_texts.py --slow -s`` generates so many for each place.
"""

from __future__ import annotations

import os
import random
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pvlr_sdk import errors
from pvlr_sdk._util.plain_json import read_json
from pvlr_sdk.cameras.control.state import State
from pvlr_sdk.cameras.sinks.home_assistant import HomeAssistant, Topics
from pvlr_sdk.trust.versions import Versions
from pvlr_sdk.workshop.evaluation.labels_csv import read_labels, read_rename
from pvlr_sdk.workshop.export.results import read_results
from pvlr_sdk.workshop.export.xmp import merged

pytest.importorskip("fastapi")
pytest.importorskip("lxml")

from pvlr_sdk.cameras.bridges import frigate, galleries, label_studio, open_inference
from pvlr_sdk.cameras.serve.api import live, settings

COUNT = int(os.environ.get("PVLR_HOSTILE_TEXTS", "100"))
ITEMS = (
    b"{}",
    b"[]",
    b"0",
    b'""',
    b'{"":0}',
    b"[0]",
    b"null",
    b"1.5e5",
    b'"\\n"',
    b'{"a":[],"b":{}}',
)
ESCAPES = (
    b"\\n",
    b"\\u0041",
    b"\\ud83d\\ude00",
    b'\\"',
    "\U0001f600".encode(),
    b" ",
    b"A ",
    b"AB=",
)
PLACES = {
    "ollama": (b'{"messages":[{"images":["QQ=="]},$],"format":$}', b'{"messages":[{"content":$,"images":[$]}]}'),
    "photoprism": (b'{"images":[$]}', b'{"id":$,"images":["QQ==",$],"format":$}'),
    "open inference": (
        b'{"inputs":[{"name":"a","parameters":$,"data":[$]}]}', b'{"inputs":[{"name":$}],"outputs":[$]}'
    ),
    "label studio": (
        b'{"label_config":"<View><Image name=\'a\'/><Choices toName=\'a\'/></View>","tasks":[{"data":{"a":$}}]}',
        b'{"label_config":"<View>$</View>","tasks":[{"data":{}}]}', b'{"label_config":$,"tasks":[$]}',
    ),
    "settings": (b'{"thresholds":$,"labels":$}', b'{"thresholds":{"a":$},"labels":[$]}'),
    "live": (b'{"kind":"shown","camera":$}', b'{"kind":$}'),
    "discovery": (
        b'{"origin":{"name":"pvlr_sdk"},"availability":[{"topic":"pvlr/status"},$],"components":{"a":$}}',
        b'{"origin":{"name":"pvlr_sdk"},"availability":[{"topic":"pvlr/status"}],"components":$}',
    ),
    "frigate": (b'{"type":"new","after":{"id":"a","camera":$,"label":"a"}}', b'{"type":$,"after":$}'),
    "state": (b'{"version":1,"thresholds":$,"cameras":{"a":$}}', b'{"labels":[$]}'),
    "versions": (b'{"a":$}', b"$"),
    "results": (b'{"source":"a","tags":[$]}', b'{"source":$,"tags":$}'),
    "renames": (b'{"a":$}', b"$"),
    "labels": (
        b'{"images":[{"id":1,"file_name":"a"},$],"categories":[$],"annotations":[$]}', b'{"classes":[$],"labels":$}',
        b'[{"image":"a.jpg","annotations":$}]', b"file,tag\n$", b"file,$\na,$\n", b"<annotations>$</annotations>",
    ),
}  # fmt: skip
"""What a text has at each place; ``$`` is what is expensive."""
DOORS = {
    "ollama": galleries._Chat,
    "photoprism": galleries._Images,
    "open inference": open_inference._Infer,
    "label studio": label_studio._Predict,
}


def size(dice: random.Random, most: int) -> int:
    """As often from 10 to 100 as from 1,000 to 10,000."""
    return int(most ** dice.random())


def costly(dice: random.Random, most: int) -> bytes:
    """A value of JSON, of about as many bytes as a random size."""
    count = size(dice, most)
    item = dice.choice(ITEMS)
    kind = dice.randrange(8)
    if kind == 0:
        return b"[" + b",".join([item] * (count // len(item))) + b"]"
    if kind == 1:
        return b"{" + b",".join(b'"%x":%b' % (number, item) for number in range(count // 12)) + b"}"
    if kind == 2:
        depth = min(count // 8, 2 * 10 ** dice.randrange(6))
        return b'{"a":[' * depth + item + b"]}" * depth
    if kind == 3:
        return b'"' + dice.choice(ESCAPES) * (count // 6) + b'"'
    if kind == 4:
        return dice.choice((b"%b", b"-%b.5", b"0.%b", b"1e%b", b"1.%be-308")) % (b"7" * count)
    if kind == 5:
        return b'{"' + b"k" * count + b'":' + item + b"}"
    if kind == 6:
        return b"[" + b",".join(costly(dice, most // 8) for _ in range(dice.randrange(8))) + b"]"
    return dice.randbytes(min(count, 1000))


def text(dice: random.Random, forms: tuple[bytes, ...], most: int) -> bytes:
    """One of the forms with costly values; one in eight is cut."""
    form = re.sub(rb"\$", lambda _: costly(dice, most), dice.choice(forms))
    return form if dice.randrange(8) else form[: dice.randrange(len(form) + 1)]


FIELDS = ("dc:subject", "p:subject", "lr:hierarchicalSubject", "d:TagsList", "p:TagsList", "p:x", "x")  # fmt: skip
NAMES = {
    "rdf": "http://www.w3.org/1999/02/22-rdf-syntax-ns#",
    "dc": "http://purl.org/dc/elements/1.1/",
    "p": "https://pvlr-sdk.org/xmp/1.0/",
    "lr": "http://ns.adobe.com/lightroom/1.0/",
    "d": "http://www.digikam.org/ns/1.0/",
}


def packet(dice: random.Random, most: int) -> bytes:
    """XMP with many descriptions, fields, items or levels."""

    def field(count: int) -> str:
        item = dice.choice(
            ("<rdf:li/>", "<rdf:li>{:x}</rdf:li>", "<rdf:li>&#65;{}</rdf:li>", "{}", "<!--{}-->")
        )
        items = "".join(map(item.format, range(count // 20)))
        levels = dice.choice((0, 1, 1, 1, 1, 100, 300))
        name = dice.choice(FIELDS)
        return f"<{name}>{'<rdf:Bag>' * levels}{items}{'</rdf:Bag>' * levels}</{name}>"

    parts = dice.choice((1, 2, 8, 1000, 50_000))
    fields = [field(size(dice, most)) for _ in range(min(parts, 2))]
    fields *= max(1, min(parts // 2, most // sum(map(len, fields))))
    groups = fields if dice.randrange(2) else ["".join(fields)]
    form = dice.choice(("<{0}>{1}</{0}>", "<{0}/>{1}", "{1}<{0}/>"))
    described = "".join(form.format("rdf:Description", group) for group in groups)
    root = dice.choice(("rdf:RDF", "rdf:RDF", "rdf:RDF", "rdf:Description"))
    names = " ".join(f"xmlns:{short}='{name}'" for short, name in NAMES.items())
    return f"<{root} {names}>{described}</{root}>".encode()


def reader(place: str, folder: Path) -> Callable[[bytes], Any]:
    """What reads a text at a place."""
    path = folder / place

    def from_file(read: Callable[[], Any]) -> Callable[[bytes], Any]:
        def written(data: bytes) -> Any:
            path.write_bytes(data)
            return read()

        return written

    def body(data: bytes) -> None:
        request = galleries.parsed(DOORS[place], data)
        if isinstance(request, label_studio._Predict):
            label_studio._control(request.label_config)
        elif isinstance(request, open_inference._Infer):
            open_inference._image(request.inputs[0], b"")
        else:
            galleries.decoded(request.image())

    def message(data: bytes) -> Any:
        return live.ViewerRequest.model_validate(read_json(data, live._REQUEST, printable=False))

    def change(data: bytes) -> Any:
        raw = read_json(data, settings._LIMITS, printable=False)
        return settings.SettingsChange.model_validate(raw)

    def event(data: bytes) -> Any:
        return frigate._Message.model_validate(read_json(data, frigate._MESSAGE))

    if place in DOORS:
        return body
    if place == "xmp":
        return lambda data: merged(data, {"cat": 0.5})
    if place == "state":
        state = State(folder)
        path = state.path
        return from_file(state.read)
    home = HomeAssistant(Topics("pvlr", "homeassistant"), True, False, False)
    return {
        "settings": change,
        "live": message,
        "discovery": home.announced,
        "frigate": event,
        "versions": from_file(lambda: Versions(path).check("a", 1, "source")),
        "results": from_file(lambda: read_results(path)),
        "renames": from_file(lambda: read_rename(path)),
        "labels": from_file(lambda: read_labels(path)),
    }[place]


def memory(line: str) -> int:
    """A line of /proc/self/status, in MB."""
    found = re.search(rf"^{line}:\s+(\d+) kB", Path("/proc/self/status").read_text(), re.MULTILINE)
    assert found
    return int(found[1]) // 1024


@pytest.mark.slow
@pytest.mark.skipif(
    not Path("/proc/self/clear_refs").exists(),
    reason="needs /proc/self/clear_refs, which Linux has",
)
@pytest.mark.parametrize("place", [*PLACES, "xmp"])
def test_a_text_costs_seconds_and_memory_in_proportion_or_is_a_typed_error(place, tmp_path):
    dice = random.Random(place)
    read = reader(place, tmp_path)
    most = 10**5 if place in ("live", "frigate", "versions") else 10**6
    slowest = 0.0, 0
    total = refused = grown = 0
    Path("/proc/self/clear_refs").write_text("5")  # the peak begins again
    for _ in range(COUNT):
        data = packet(dice, most) if place == "xmp" else text(dice, PLACES[place], most)
        before = memory("VmHWM")
        start = time.process_time()
        try:
            read(data)
        except (errors.PvlrError, ValueError):  # the second: where a message is refused as a whole
            refused += 1
        slowest = max(slowest, (time.process_time() - start, len(data)))
        grown += memory("VmHWM") - before  # beyond all texts before it, and the generator
        total += len(data)
    print(
        f"\n{place}: {COUNT} texts of {total / COUNT / 1e3:.1f} kB, {refused} refused;"
        f" slowest {slowest[0]:.2f} s ({slowest[1] / 1e6:.2f} MB), peak {grown} MB more"
    )
    assert slowest[0] < 5
    assert grown < 300
