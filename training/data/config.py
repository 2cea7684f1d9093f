"""The ``data`` section of the configuration: where images and labels come from, and how images are prepared."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field
from pydantic_core import PydanticCustomError

from pvlr_sdk.bundle.manifest import InputSpec

from ..model.config import Strict


class _Source(Strict):
    rename: Path | None = None
    """A JSON file {label of the source: label of the model}."""
    holdout: float | None = Field(None, ge=0, lt=0.5)
    """The share that is held out, if it differs from that of the other sources: frames of one camera look alike, so a
    part of them would make the thresholds too confident. Without effect where a split is held out."""


class CsvSource(_Source):
    """A folder of images and its label file, such as a CSV or COCO's JSON; ``splits`` are joined, without any all are
    used.

    ``only`` and ``without`` choose rows of a CSV by its other columns: {column: values of the rows to use, or to leave
    out}, such as whole cameras that are kept for a test.
    """

    kind: Literal["csv"] = "csv"
    images: Path
    labels: Path
    splits: tuple[str, ...] = ()
    only: dict[str, tuple[str, ...]] = Field({})
    without: dict[str, tuple[str, ...]] = Field({})


class VocSource(_Source):
    """Pascal VOC in the layout of the devkit: ``devkit`` is the folder VOC2007 or VOC2012."""

    kind: Literal["voc"]
    devkit: Path
    splits: tuple[str, ...] = Field(min_length=1)


class NusWideSource(_Source):
    """NUS-WIDE with its official lists: ``root`` contains ImageList and Groundtruth; the images are in ``images``, by
    default ``root``/Flickr."""

    kind: Literal["nuswide"]
    root: Path
    images: Path | None = None
    splits: tuple[Literal["train", "test"], ...] = Field(min_length=1)


SourceConfig = Annotated[
    Annotated[CsvSource | VocSource | NusWideSource, Field(discriminator="kind")],
    BeforeValidator(lambda raw: {"kind": "csv", **raw} if isinstance(raw, dict) else raw),
]
"""A source of images and labels; without a ``kind`` it is a labels CSV."""


class RandAugmentConfig(Strict):
    """RandAugment: the number of operations (0: off) and their strength, 0 to 30."""

    ops: int = Field(0, ge=0, le=10)
    magnitude: int = Field(9, ge=0, le=30)


_INPUT: dict[str, Any] = {
    "width": 224,
    "height": 224,
    "mean": (127, 127, 127),
    "std": (128, 128, 128),
}
"""The pixels of the default backbone."""


def _share_or_split(holdout: float | str) -> float | str:
    if not holdout or (isinstance(holdout, float) and not 0 < holdout < 0.5):
        raise PydanticCustomError(
            "holdout", "a share above 0 and below 0.5, or the name of a split"
        )
    return holdout


class DataConfig(Strict):
    """The training data. ``holdout`` selects the images kept for thresholds and metrics: a share, or the name of a
    split. ``share`` is how much of the others is used, to measure the effect of fewer images. Without ``labels``, the
    model gets all labels of the sources.

    ``camera`` is the share of the training images that gets one or two of the corruptions that cameras make
    (:mod:`pvlr_training.data.corruptions`). ``blank`` is a number of empty frames, in addition to the training images,
    on which all labels are absent.

    ``infrared`` is the share that looks like the picture of an infrared camera at night.

    ``cache``: whether decoded images are kept in memory; ``auto`` keeps as many as fit in half of the free memory.
    """

    input: Annotated[
        InputSpec, BeforeValidator(lambda raw: {**_INPUT, **raw} if isinstance(raw, dict) else raw)
    ] = InputSpec(**_INPUT)
    labels: tuple[str, ...] = ()
    sources: tuple[SourceConfig, ...] = Field(min_length=1)
    holdout: Annotated[float | str, AfterValidator(_share_or_split)] = 0.08
    share: float = Field(1.0, gt=0, le=1)
    cache: Literal["auto", "memory", "none"] = "auto"
    min_crop: float = Field(0.4, gt=0, le=1)
    jitter: float = Field(0.1, ge=0, le=1)
    cutout: float = Field(0.0, ge=0, le=1)
    camera: float = Field(0.0, ge=0, le=1)
    infrared: float = Field(0.0, ge=0, le=1)
    blank: int = Field(0, ge=0, le=100_000)
    randaugment: RandAugmentConfig = RandAugmentConfig()
