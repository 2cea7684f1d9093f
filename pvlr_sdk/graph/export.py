"""From one exported network to the file of another precision, held against fp32 before it is written."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from .. import golden
from ..bundle import labels_path
from ..exported import read_payload
from ..files import write_files
from ..gate import Agreement, least_agreement
from ..labels import LabelBank
from .check import check
from .convert import convert

if TYPE_CHECKING:
    from ..frames import FrameLike
    from ..precision import Photos

_GATE = 200
"""Photos of the gate: rounding every result takes its time."""


def export_as(
    onnx: str | os.PathLike[str],
    out: str | os.PathLike[str],
    *,
    precision: str = "fp16",
    attention: str = "native",
    photos: Photos | None = None,
    min_agreement: float | None = None,
) -> tuple[Path, Agreement]:
    """Convert an exported network and write it with its label bank, if it still gives the tags of fp32.

    Args:
        onnx: the network in fp32, ``<stem>.labels.safetensors`` beside it.
        out: the folder; the file's name there says what it is: ``model-fp16.onnx``, ``model-int8-fused.onnx``.
        precision, attention: as for :func:`convert`.
        photos: the user's own: half of them set the ranges for int8, the other half is the gate. Without them eight
            synthetic pictures are the gate, and int8 is not possible.
        min_agreement: the share of the gate's pictures that must keep their tags, 0..1; None: 0.98, for int8 0.9.

    Returns:
        the file that was written, and what the gate measured.

    Raises:
        AccuracyError, NonFiniteError: it does not keep the tags, or gives no numbers; nothing was written.
        LabelBankError: the label bank is missing.
        OutputError: the files can't be written.
        ModelError, OptionError, MissingPartError, FrameError: as :func:`convert`.
    """
    source = os.fspath(onnx)
    reference = read_payload(source)
    bank = LabelBank.load(labels_path(source))
    ranges: Sequence[FrameLike] = ()
    frames: Sequence[FrameLike] = synthetic()
    targets: NDArray[Any] | None = None
    if photos is not None:
        photos.check()
        ranges, (frames, targets) = photos.ranges, photos.gate(_GATE)
    payload = convert(reference, precision=precision, attention=attention, frames=ranges, source=source)
    agreement = check(payload, reference, frames, bank.thresholds, targets, source=source)
    agreement.check(least_agreement(precision) if min_agreement is None else min_agreement, f"precision {precision}")
    parts = [Path(source).stem, precision, *(["fused"] if attention == "fused" else [])]
    path = Path(out) / f"{'-'.join(parts)}.onnx"
    write_files({path: payload, labels_path(path): bank.to_bytes()})
    return path, agreement


def synthetic() -> list[NDArray[np.uint8]]:
    """The golden picture, turned and mirrored: eight BGR pictures for a gate without photos."""
    turned = [np.rot90(golden.picture(), quarter) for quarter in range(4)]
    return [np.ascontiguousarray(picture) for one in turned for picture in (one, one[:, ::-1])]
