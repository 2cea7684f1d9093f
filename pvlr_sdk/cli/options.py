"""Single options of several commands, named and explained alike everywhere; option_groups.py groups them."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from typer import Argument, Option

from .. import errors
from ..bundle.schema import OPERATING_POINTS, RUN_DEVICES

if TYPE_CHECKING:
    from ..bundle.schema import OperatingPoint
else:  # typer reads it as text, which the SDK checks
    OperatingPoint = str

_LARGEST_SIZE = 8192


def words(*choices: str) -> Callable[[str], list[str]]:
    """The completion of a value that is one of these words; for other values the shell offers files."""

    def offered(incomplete: str) -> list[str]:
        return [choice for choice in choices if choice.startswith(incomplete)]

    return offered


def split_words(text: str | None) -> list[str] | None:
    """The words of ``--words``."""
    return None if text is None else [word.strip() for word in text.split(",") if word.strip()]


def parse_size(text: str) -> tuple[int, int]:
    """``224`` or ``320x192`` as (width, height) in pixels; raises OptionError for anything else."""
    match = re.fullmatch(r"([0-9]{1,5})(?:x([0-9]{1,5}))?", text.strip())
    size = (int(match[1]), int(match[2] or match[1])) if match else (0, 0)
    if not 0 < min(size) <= max(size) <= _LARGEST_SIZE:
        raise errors.OptionError(
            "--size",
            f"one size N or WxH of 1 to {_LARGEST_SIZE} pixels",
            repr(text),
            "An example is --size 224.",
        )
    return size


def run_folder(run: Path) -> Path:
    """The folder of a finished training run, whose weights fit any size.

    Raises:
        OptionError: it is something else, such as an exported network.
    """
    folder = run.parent if run.name == "model.safetensors" else run
    if not (folder / "model.safetensors").is_file():
        raise errors.OptionError(
            "--size",
            "the folder of a finished training run",
            f"{run}, a network of one size" if run.suffix in (".onnx", ".plan") else str(run),
            "Name the run that it was exported from: pvlr export RUN --size 224.",
        )
    return folder


def models(incomplete: str) -> list[str]:
    """The names in the catalogue, which stand for plans."""
    from ..models.catalogue import catalogue

    return words(*(model.name for model in catalogue().models))(incomplete)


_PLAN: Any = {
    "metavar": "PLAN",
    "help": "The plan: a file, its folder, or the name of a model (pvlr models).",
    "autocompletion": models,
}
_BUNDLED: Any = {**_PLAN, "show_default": "the bundled model"}
Plan = Annotated[Path, Argument(**_PLAN)]
PlanArgument = Annotated[Path | None, Argument(**_BUNDLED)]
PlanOption = Annotated[Path | None, Option("--plan", "-p", **_BUNDLED)]
_BANK = "Label bank that an open plan uses instead of its own."
Bank = Annotated[Path | None, Option("--bank", metavar="FILE", help=_BANK)]
_WORDS = (
    "Labels of your own, comma-separated, for an open plan: 'espresso, forklift'. See pvlr words."
)
Words = Annotated[str | None, Option("--words", "-w", metavar="WORDS", help=_WORDS)]
Json = Annotated[bool, Option("--json", help="Print JSON.")]
_POINT: Any = {
    "metavar": "POINT",
    "help": "The plan's thresholds to use: f1 (best F1) or precise (90 % precision).",
    "autocompletion": words(*OPERATING_POINTS),
}
Point = Annotated[OperatingPoint, Option("--operating-point", **_POINT)]

_NAMES = "Parents, synonyms and names of your own (see pvlr names)."
Names = Annotated[Path | None, Option("--names", metavar="JSON", help=_NAMES)]

# The tags of images
Parents = Annotated[
    bool, Option("--parents", help="Also tag what the labels are kinds of: animal, for a dog.")
]
TagThreshold = Annotated[
    float | None,
    Option(
        "--threshold",
        "-t",
        help="One threshold for all labels (0 to 1).",
        show_default="set by the plan",
    ),
]
_TILES: Any = {
    "metavar": "CxR|auto",
    "help": "Also tag tiles of each frame, columns x rows, for small objects; auto: by its size.",
    "autocompletion": words("auto", "2x2", "3x2"),
}
Tiles = Annotated[str | None, Option("--tiles", **_TILES)]
_CAMERA_TILES: Any = _TILES | {
    "help": "Tiles of the cameras' frames, columns x rows; auto: as the machine allows; 1x1: none.",
    "show_default": "auto",
}
CameraTiles = Annotated[str | None, Option("--tiles", **_CAMERA_TILES)]

# Labelled images
Images = Annotated[Path, Option("--images", metavar="DIR", help="Folder of the images.")]
OptionalLabels = Annotated[
    Path | None, Option("--labels", metavar="CSV", help="Labels of each image; adds the mAP.")
]
_PREVALENCE = (
    "How frequent labels are in use: a share, a JSON file {label: share}, or a folder of images "
    "without labels."
)
Prevalence = Annotated[
    str | None,
    Option(
        "--prevalence", metavar="SHARE|JSON|DIR", help=_PREVALENCE, show_default="as in the images"
    ),
]
_SIZE = "Input size in pixels, of a RUN: 224, or 320x192 (width x height)."
Size = Annotated[
    str | None, Option("--size", metavar="N|WxH", help=_SIZE, show_default="that of training")
]
Split = Annotated[
    str | None, Option("--split", metavar="NAME", help="Use only this split of the CSV.")
]
_MAP = 'Rename columns of the CSV to labels of the plan: sofa=couch, or a file {"sofa": "couch"}; repeatable.'
Map = Annotated[list[str] | None, Option("--map", metavar="JSON|A=B", help=_MAP)]

machine = partial(Option, rich_help_panel="Machine")
_DEVICE = "auto (the plan's device), cpu, tensorrt, Intel's gpu or npu, or OpenVINO's name of one (GPU.1)."
Device = Annotated[
    str, machine("--device", help=_DEVICE, autocompletion=words("auto", *RUN_DEVICES))
]


def _allow_unsigned(allowed: bool) -> None:
    if allowed:
        os.environ["PVLR_ALLOW_UNSIGNED"] = "1"


_UNSIGNED = "Trust an unsigned plan: load TensorRT plans, which are code, and omit the isolated load of others."
AllowUnsigned = Annotated[
    bool, machine("--allow-unsigned", help=_UNSIGNED, callback=_allow_unsigned)
]

# A site
Uris = Annotated[
    list[str] | None,
    Argument(metavar="[NAME=]URI", help="Cameras, streams and videos.", show_default=False),
]
_STATE = "Folder that keeps what is changed while it runs; by default systemd's StateDirectory, or one of this user."
State = Annotated[Path | None, Option("--state", metavar="DIR", help=_STATE)]
