"""The command, run in this process, and files for it."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import pytest

from pvlr_sdk.cli import main


class Done(NamedTuple):
    code: int
    out: str
    err: str


@pytest.fixture
def pvlr(monkeypatch, capfd):
    def run(*arguments: Any) -> Done:
        monkeypatch.setattr(sys, "argv", ["pvlr", *map(str, arguments)])
        capfd.readouterr()
        try:
            main()
            code = 0
        except SystemExit as stop:
            code = int(stop.code or 0)
        return Done(code, *capfd.readouterr())

    return run


@pytest.fixture
def folder(tmp_path, photo) -> Path:
    folder = tmp_path / "photos"
    (folder / "sub").mkdir(parents=True)
    cv2.imwrite(str(folder / "a.jpg"), photo)
    cv2.imwrite(str(folder / "b.png"), photo[100:300:2, ::2])
    cv2.imwrite(str(folder / "sub/a.jpg"), photo[::-1])
    return folder


@pytest.fixture
def clip(make_clip) -> Path:
    """20 frames at 10 frames per second."""
    return make_clip(20, step=12)
