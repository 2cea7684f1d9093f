"""A fuzz target for site files: python tests/pvlr_sdk/cameras/site/fuzz_site.py -max_total_time=600

Any bytes are either a valid site, whose cameras can be created, or rejected with one of the SDK's errors.
"""

from __future__ import annotations

import os
import sys

import atheris

with atheris.instrument_imports(
    include=[
        "pvlr_sdk.cameras.site",
        "pvlr_sdk.cameras.sinks",
        "pvlr_sdk.cameras.sources",
        "pvlr_sdk.cameras.stream",
    ]
):
    from pvlr_sdk import errors
    from pvlr_sdk.cameras.site import SiteConfig, config, yaml_file
    from pvlr_sdk.cameras.site.factory import make_cameras
with atheris.instrument_imports(include=["ruamel.yaml"]):
    import ruamel.yaml  # noqa: F401

_SEEDS = (
    "cameras: {a: 'test://', b: {uri: rtsp://u:p@host/x, timeout: 2, region: [0, 0, 1, 1], labels: [dog]}}\n",
    "cameras: &a {door: {uri: 0}}\nevents: {smoothing: 0.5, thresholds: {car: 0.7}, labels: null}\nsinks: [*a]\n",
    "cameras:\n  a: &a {uri: 'http://h/', loop: true}\n  b: {<<: *a, timeout: 2}\n",
    "cameras: {a: 0}\nsinks:\n- {kind: jsonl, path: e, max_mb: 1, keep: 5}\n- {kind: sqlite, path: e.db}\n",
    "cameras: {a: 0}\nsinks: [{kind: mqtt, url: 'mqtts://h', prefix: p, capacity: 9}, {kind: video, folder: v}]\n",
    "cameras: {a: 0}\nsinks: [{kind: webhook, url: 'http://h/', secret: $HOME, headers: {A: b}, timeout: 3}]\n",
    "cameras: {a: 0}\nserve: {host: h, port: 1, token: t, names: [a]}\nstream: {staleness: 1, every_frame: yes}\n",
    "timezone: UTC\ncameras: {a: {uri: 0, schedule: [mon-fri 08:00-18:00, sat 22:00-02:00]}}\n",
    "cameras: {a: {uri: 0, regions: {x: {polygon: [[0, 0], [1, 0.5], [0, 1]], exclude: true}, y: {}}}}\n",
    "? {a: 1}\n: !!timestamp 2026-01-31\n",
)
_FRAGMENTS = (
    *("&a ", "*a", "<<: "),
    *(
        f"!!{kind} "
        for kind in ("int", "float", "timestamp", "binary", "set", "omap", "pairs", "str")
    ),
    *(
        "{",
        "}",
        "[",
        "]",
        ", ",
        ": ",
        "\n",
        "\n- ",
        "? ",
        "| ",
        "> ",
        "'",
        '"',
        "\\u0000",
        "null",
        ".inf",
        ".nan",
        "~",
    ),
    *(
        "kind: mqtt",
        "kind: jsonl",
        "kind: webhook",
        "url: http://h/",
        "path: x",
        "headers: ",
        "secret: ",
        "cameras: ",
    ),
    *(f"{key}: " for key in ("labels", "region", "polygon", "schedule", "timezone", "thresholds")),
    *("[0, 1], ", "1e999", "0x", "1:60:60", "2026-02-30", "9" * 60, "..", "$HOME", "${X}"),
)
_PARTS = ["", *_FRAGMENTS]


def check(data: bytes) -> None:
    """One input."""
    provider = atheris.FuzzedDataProvider(data)
    text = provider.PickValueInList(list(_SEEDS))
    for _ in range(provider.ConsumeIntInRange(1, 3)):  # splices
        start, end = (provider.ConsumeIntInRange(0, len(text)) for _ in range(2))
        text = text[:start] + provider.PickValueInList(_PARTS) + text[max(start, end) :]
    text += provider.ConsumeUnicode(100)
    try:
        raw = yaml_file.parse_yaml(text.encode("utf-8", "surrogatepass"), "site.yaml")
        make_cameras(SiteConfig.parse(raw, source="site.yaml"))
    except errors.PvlrError as error:
        str(error)


if "PVLR_PLANTED_BUG" in os.environ:  # the suggestion for an unknown key fails
    config._closest = lambda name, known: known[name]

if __name__ == "__main__":
    atheris.Setup(sys.argv, check)
    atheris.Fuzz()
