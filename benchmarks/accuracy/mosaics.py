"""Wide frames with small objects, made of labelled photos: the images that docs/tiles.md measures tiles on.

    python -m benchmarks.accuracy.mosaics 4 --dataset coco --out mosaics/

A mosaic has two rows of photos, on 640 x 360 pixels each, and the labels of all of them. In labels.csv every other one
has the split "choose", the rest "measure".
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import cv2
import numpy as np
import typer

from pvlr_sdk import Tagger
from pvlr_sdk.frames.bgr import load_bgr

from ..common import run
from .data import Data, Dataset, Share, Split, data_folder, read_split

CELL = 640, 360
"""Width and height of a photo's place, in pixels."""


def main(
    count: Annotated[
        int,
        typer.Argument(min=1, help="Photos per mosaic, an even number; 1: the photos as they are."),
    ],
    out: Annotated[Path, typer.Option(help="Folder of the mosaics and of labels.csv.")],
    data: Data = None,
    dataset: Dataset = "coco",
    split: Split = "testdev",
    share: Share = 1.0,
) -> None:
    """Write mosaics and their labels."""
    labels = Tagger().labels
    folder, table = read_split(data_folder(data), dataset, split, labels, share)
    known = [column for column, label in enumerate(labels) if label not in table.missing]
    order = np.random.default_rng(0).permutation(len(table.files))
    out.mkdir(parents=True, exist_ok=True)
    lines = [",".join(["file", "split", *(labels[column] for column in known)])]
    for number, rows in enumerate(order[: len(order) // count * count].reshape(-1, count)):
        photos = [load_bgr(folder / table.files[row]) for row in rows]
        mosaic = (
            np.full((2 * CELL[1], count // 2 * CELL[0], 3), 114, np.uint8)
            if count > 1
            else photos[0]
        )
        for place, photo in enumerate(photos if count > 1 else ()):
            scale = min(CELL[0] / photo.shape[1], CELL[1] / photo.shape[0])
            photo = cv2.resize(photo, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
            top = place % 2 * CELL[1]
            left = place // 2 * CELL[0]
            mosaic[top : top + photo.shape[0], left : left + photo.shape[1]] = photo
        cv2.imwrite(str(out / f"{number}.png"), mosaic)
        targets = table.targets[rows].max(0)[known]
        lines.append(
            ",".join([f"{number}.png", "measure" if number % 2 else "choose", *map(str, targets)])
        )
    (out / "labels.csv").write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    run(main)
