"""A site whose plan, label bank and settings change, and a process that ends between two changes of its files."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np

from pvlr_sdk import LabelBank
from pvlr_sdk.bundle.sign import sign
from pvlr_sdk.cameras.control.control import Control
from pvlr_sdk.cameras.site import Site
from pvlr_sdk.cameras.site.factory import make_tagger
from pvlr_sdk.cameras.sources import CapturedFrame
from pvlr_sdk.cameras.stream import Observation
from pvlr_sdk.cli.option_groups import Site as SiteOptions
from pvlr_sdk.cli.site_settings import build_config
from pvlr_sdk.workshop.compile.build import build
from tests.pvlr_sdk.labels import tiny_open
from tests.pvlr_sdk.trust.conftest import Keys

SITE = """
# The operator's file: it never changes.
plan: {plans}/first/engine.plan
trust: {plans}/keys/trusted
bank: bank.safetensors
threads: 1
cameras: {{door: 'test://'}}
deploy: {{probation: 0}}
"""
_CHANGES = ("chmod", "fsync", "link", "mkdir", "rename", "replace", "rmdir", "unlink")


class Killed(BaseException):
    """The process has ended."""


@contextmanager
def killed(at: int | None) -> Iterator[None]:
    """End the process before the ``at``-th change of a file, from 0: no later one happens, as of a ``finally``."""
    count = 0

    def change(call: Callable[..., Any], counts: Callable[..., bool]) -> Callable[..., Any]:
        def counted(*arguments: Any, **options: Any) -> Any:
            nonlocal count
            if at is not None and counts(*arguments):
                count += 1
                if count > at:
                    raise Killed
            return call(*arguments, **options)

        return counted

    changes = {name: change(getattr(os, name), lambda *_: True) for name in _CHANGES}
    with mock.patch.multiple(
        os, **changes, open=change(os.open, lambda *options: bool(options[1] & os.O_CREAT))
    ):
        yield


def write_plans(folder: Path) -> Path:
    """``first`` and ``second``: one model with other thresholds, signed as versions 1 and 2."""
    own = tiny_open.make_bank()
    halved = LabelBank(own.names, own.embeddings, own.thresholds / 2, own.text, biases=own.biases)
    key = Keys(folder / "keys").make("me")
    for version, (name, bank) in enumerate({"first": own, "second": halved}.items(), 1):
        network = tiny_open.write_network(folder / "networks" / name, bank)
        build(network, folder / name / "engine.plan")
        sign(folder / name / "engine.plan", key, version=version, passphrase=lambda: "")
    return folder


def write_site(folder: Path, plans: Path) -> Path:
    """A folder with a site file and a label bank."""
    folder.mkdir(parents=True)
    (folder / "site.yaml").write_text(SITE.format(plans=plans))
    tiny_open.make_bank().save(folder / "bank.safetensors")
    return folder


def state_in(folder: Path) -> dict[str, str]:
    """Environment variables: the folder keeps the state of the service, so that its label bank needs no signature."""
    return {"STATE_DIRECTORY": str(folder), "PVLR_STATE": str(folder / "versions.json")}


def start(folder: Path) -> Control:
    """What ``pvlr serve`` does before it listens."""
    site_file = folder / "site.yaml"
    config, changes, state, plans = build_config(site=SiteOptions(site_file))
    tagger = make_tagger(changes.applied(config))
    site = Site(config, tagger=tagger, changes=changes)
    return Control(tagger, site, state, plans=plans, bank=config.bank)


def teach(control: Control, label: str) -> None:
    """Teach a label from a positive and a negative example."""
    for place, colour in enumerate(("red", "blue")):
        pixels = tiny_open.paint([place], colour)
        frame = CapturedFrame(pixels, "bgr", place, 1e9 + place, None, place)
        seen = Observation("door", frame, control.tagger.predict(np.asarray(pixels)), 0, False)
        if len(control.examples(label)) == place:
            assert control.add_example(seen, label, colour == "red")
    control.teach(label, replace=True)
