"""``--size`` of ``pvlr export`` and ``pvlr build``: the network of a run at another input size."""

from __future__ import annotations

import re
from pathlib import Path

from .. import errors

_LARGEST = 8192


def parse_size(text: str) -> tuple[int, int]:
    """``224`` or ``320x192`` as (width, height) in pixels; raises OptionError for anything else."""
    match = re.fullmatch(r"([0-9]{1,5})(?:x([0-9]{1,5}))?", text.strip())
    size = (int(match[1]), int(match[2] or match[1])) if match else (0, 0)
    if not 0 < min(size) <= max(size) <= _LARGEST:
        expected = f"one size N or WxH of 1 to {_LARGEST} pixels"
        raise errors.OptionError("--size", expected=expected, got=repr(text), hint="An example is --size 224.")
    return size


def run_folder(run: Path) -> Path:
    """The folder of a finished training run, whose weights fit any size.

    Raises:
        OptionError: it is something else, such as an exported network.
    """
    folder = run.parent if run.name == "model.safetensors" else run
    if not (folder / "model.safetensors").is_file():
        got = f"{run}, a network of one size" if run.suffix in (".onnx", ".plan") else str(run)
        hint = "Name the run that it was exported from: pvlr export RUN --size 224."
        raise errors.OptionError("--size", expected="the folder of a finished training run", got=got, hint=hint)
    return folder
