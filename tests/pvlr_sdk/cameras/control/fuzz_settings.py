"""A fuzz target for changed settings: python tests/pvlr_sdk/cameras/control/fuzz_settings.py -max_total_time=600

Any settings of any labels are refused, or the changed site file gives them to the next start, and nothing else changes.
"""

from __future__ import annotations

import os
import sys
import tempfile
from functools import lru_cache
from pathlib import Path

import atheris
import ruamel.yaml

with atheris.instrument_imports(
    include=[
        "pvlr_sdk.cameras.site.changes",
        "pvlr_sdk.cameras.control.site_file",
        "pvlr_sdk.cameras.site.yaml_file",
    ]
):
    from pvlr_sdk import errors
    from pvlr_sdk.cameras.control import site_file
    from pvlr_sdk.cameras.site import SiteConfig, changes, load_config, yaml_file

_SEEDS = (
    "cameras: {a: 0}\n",
    "# first\ncameras:\n  a: 0  # inline\nevents:\n  thresholds:  # some\n    car: 0.5\n\n  labels:\n  - car\n# last\n",
    "events: {thresholds: {$$x: 0.5, 'no': 1}, labels: ['$$x', car], deny: [dog]}\nserve: {port: 1}\n",
    "events:\n  thresholds: {}\n  labels:\n    - a\n    # between\n    - b\n  deny: [car]\ncameras: {}\n",
    "cameras: {a: 0}\r\nevents:\r\n    smoothing: 0\r\n    labels: null\r\n",
    "base: &a {car: 0.5}\nevents: {thresholds: *a}\n",
)
_PARTS = ("", *"\n {}[],'\"\t", "\n  ", "# c\n", "- ", ": ", "&a ", "*a", "null", "events:")
_NAMES = ("car", "dog", "$x", "$$", "${HOME}", "no", "null", "~", "1.0", ":a", "a: b", "- a", "#", "''", "<<", "é")
_PATH = Path(tempfile.mkdtemp(dir="/dev/shm" if os.path.isdir("/dev/shm") else None), "site.yaml")
ruamel.yaml.YAML.official_plug_ins = lambda _: []  # else each one searches the disk
yaml_file.parse_yaml = lru_cache(100)(yaml_file.parse_yaml)  # the same bytes twice in an input, and the seeds


def check(data: bytes) -> None:
    """One input."""
    provider = atheris.FuzzedDataProvider(data)
    every = provider.ConsumeBool()
    count, changed = provider.ConsumeIntInRange(1, 3), provider.ConsumeIntInRange(0, 2)
    names = list(dict.fromkeys([*_NAMES, provider.ConsumeUnicodeNoSurrogates(8)]))
    known = names[provider.ConsumeIntInRange(0, 2) :]
    labels = [provider.PickValueInList(names) for _ in range(count)]
    thresholds = {provider.PickValueInList(names): provider.ConsumeIntInRange(0, 100) / 100 for _ in range(changed)}
    text = provider.PickValueInList(list(_SEEDS))
    for _ in range(provider.ConsumeIntInRange(0, 2)):  # splices
        start, end = (provider.ConsumeIntInRange(0, len(text)) for _ in range(2))
        text = text[:start] + provider.PickValueInList(list(_PARTS)) + text[max(start, end) :]
    _PATH.write_bytes(text.encode())
    file = site_file.SiteFile(_PATH)
    try:
        before = SiteConfig.parse(yaml_file.read_yaml(_PATH), source="site.yaml", folder=_PATH.parent)
        change = changes.select(before.events, known, lambda _: True, thresholds, None if every else labels)
        assert {*thresholds, *(() if every else labels)} <= {*known}, "an unknown label"
        assert every or len({*labels}) == count, "a label twice"
        written, _ = file.edited(change.keys)
    except errors.PvlrError as error:
        str(error)
        return
    _PATH.write_bytes(written)
    after = load_config(_PATH)
    assert after == before.model_copy(update={"events": before.events.model_copy(update=change.fields)}), "lost"


if "PVLR_PLANTED_BUG" in os.environ:  # a dollar begins a variable at the next start
    changes._escaped = lambda label: label

if __name__ == "__main__":
    atheris.Setup(sys.argv, check)
    atheris.Fuzz()
