"""A folder of images and a label file of any format -> the run's own ``labels.csv`` and ``config.yaml``."""

from __future__ import annotations

import csv
import hashlib
import io
import os
import re
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from numpy.typing import NDArray

from pvlr_sdk._util.files import write_files
from pvlr_sdk._util.validation import few
from pvlr_sdk.bundle.label_bank import LABEL_NAMES, is_label
from pvlr_sdk.errors import ImageNotFoundError
from pvlr_sdk.frames import find
from pvlr_sdk.workshop.evaluation.annotations import INVALID, Annotations, wrong
from pvlr_sdk.workshop.evaluation.label_formats import read_annotations
from pvlr_sdk.workshop.evaluation.similar import similar

_FEWEST = 10
_HELD_OUT = 0.2, 200, 0.08
"""The share of held-out images, up to this number of them; with more images this share."""
_TEXT_FORMATS = (".csv", ".tsv", ".json", ".xml")
_VAL = ("val", "valid", "validation", "dev")
_TEST = ("test", "testing")


def prepare(
    images: Path,
    labels: Path | None,
    folder: Path,
    recipe: dict[str, Any],
    limit: int | None = None,
) -> tuple[Path, list[str]]:
    """Write ``labels.csv`` and ``config.yaml`` into ``folder``; returns the latter's path and sentences for the user.

    Rows that cannot be used are skipped. Without a split ``val``, images are held out so that each label is in both
    parts, and similar images (see :func:`pvlr_sdk.workshop.evaluation.similar.similar`) are in one part.

    Args:
        labels: a label file, or None for one in ``images``, or one subfolder of ``images`` per label.
        recipe: the sections of the configuration that do not depend on the data.
        limit: the largest number of images to use.

    Raises:
        ImageNotFoundError: ``images`` is not a folder.
        LabelsFileError: the labels cannot be read, most rows cannot be used, or nothing can be learned from them.
    """
    if not images.is_dir():
        raise ImageNotFoundError(
            str(images),
            "a folder of images",
            "a file" if images.is_file() else "no such folder",
            "Name the folder of the images, then the label file.",
        )
    source = labels or _find_labels(images)
    read = read_annotations(source)
    files, rows, notes = _usable_rows(source, read, images)
    splits = [_split_of(read.splits[row]) if read.splits else "train" for row in rows]
    targets = read.targets[rows]
    columns = np.flatnonzero((targets != INVALID).all(axis=0))
    if limit and len(rows) > limit:
        chosen = sorted(_pick(targets, files, limit / len(rows)))
        notes.append(f"{limit} of {len(rows)} images are used")
        files = [files[i] for i in chosen]
        splits = [splits[i] for i in chosen]
        targets = targets[chosen]
    content = _groups([images / file for file in files], targets, notes)
    splits = _with_holdout(content, files, splits, targets, notes)
    learned = targets[[split == "train" for split in splits]]
    present = (learned == 1).any(axis=0)
    absent = (learned == -1).any(axis=0)
    names = [read.labels[column] for column in columns if present[column]]
    if unseen := [read.labels[column] for column in columns if not present[column]]:
        notes.append(f"labels without a training image are left out: {few(unseen)}")
    if len(set(content)) < _FEWEST or not names or not absent[columns][present[columns]].any():
        everywhere = (
            f", all with {few(names)}"
            if names and not absent[columns][present[columns]].any()
            else ""
        )
        numbers = (
            f"images: {len(set(content))}, in training: {splits.count('train')}, "
            f"labels on these: {len(names)}{everywhere}"
        )
        raise wrong(
            source,
            f"at least {_FEWEST} different images, with and without the labels",
            "; ".join([numbers, *notes]),
            "Label more images, among them some without each label.",
        )
    if bad := [name for name in names if not is_label(name)]:
        raise wrong(source, LABEL_NAMES, ascii(bad[0])[:200], "Rename the label.")
    table = io.StringIO()
    writer = csv.writer(table)
    writer.writerow(["file", "split", *names])
    kept = [column for column in columns if present[column]]
    writer.writerows(
        [file, split, *row]
        for file, split, row in zip(files, splits, targets[:, kept].tolist(), strict=True)
    )
    batch = {"batch": max(1, min(32, splits.count("train") // 2))}
    train = {
        **recipe["train"],
        **{stage: {**batch, **recipe["train"][stage]} for stage in ("head", "finetune")},
    }
    own = {"images": str(images.resolve()), "labels": "labels.csv", "splits": ["train"]}
    data = {**recipe["data"], "holdout": "val", "sources": [own], "labels": names}
    text = yaml.safe_dump(
        {"name": folder.name, **recipe, "data": data, "train": train},
        sort_keys=False,
        allow_unicode=True,
    )
    path = folder / "config.yaml"
    write_files({folder / "labels.csv": table.getvalue().encode(), path: text.encode()})
    counts = ", ".join(
        f"{splits.count(split)} {split}" for split in ("train", "val", "test") if split in splits
    )
    notes.insert(
        0, f"{source}: {len(names)} label{'s' * (len(names) != 1)}, {len(splits)} images ({counts})"
    )
    return path, notes


def _find_labels(images: Path) -> Path:
    """The only label file in a folder, or the folder itself."""
    found = sorted(path for path in images.iterdir() if path.suffix.lower() in _TEXT_FORMATS)
    if len(found) > 1:
        raise wrong(
            images,
            "one label file",
            f"{len(found)}: {few([path.name for path in found])}",
            "Add one of them as the next argument.",
        )
    return found[0] if found else images


def _usable_rows(
    source: Path, read: Annotations, images: Path
) -> tuple[list[str], list[int], list[str]]:
    """The files of the usable rows, relative to ``images``, the rows, and sentences about the others."""
    notes = []
    wordy = (
        (read.targets == INVALID).mean(axis=0) > 0.5
        if len(read.files)
        else np.zeros(len(read.labels), np.bool_)
    )
    if wordy.any() or "" in read.labels:
        wordy |= np.array([not label for label in read.labels])
        notes.append(
            f"columns that are not labels: {few([read.labels[i] for i in np.flatnonzero(wordy)])}"
        )
    bad = [error.got for error in read.broken]
    known: dict[str, int] = {}
    locate = _locator(source, images)
    for row, name in enumerate(read.files):
        invalid = [
            column for column in np.flatnonzero(read.targets[row] == INVALID) if not wordy[column]
        ]
        file = locate(name)
        where = f" in line {read.lines[row]}" if read.lines else ""
        if invalid:
            bad.append(
                f"{read.invalid[row, int(invalid[0])]!r}{where}, column {read.labels[invalid[0]]!r}"
            )
        elif file is None:
            bad.append(f"no image {name!r}{where}")
        elif file in known:
            if (read.targets[row] != read.targets[known[file]]).any():
                bad.append(f"{name!r} twice with different labels{where}")
        else:
            known[file] = row
    total = len(read.files) + len(read.broken)
    if len(bad) > 0.5 * total:
        empty = not find.find([str(images)], lambda *_: None)
        raise wrong(
            source,
            "rows of images",
            f"{len(bad)} of {total} that cannot be used, such as {bad[0]}",
            f"{images} contains no images." if empty else f"File names are relative to {images}.",
        )
    if read.spaced:
        notes.append(
            f"tags are separated by spaces, as in {read.spaced!r}; a column 'tag' has one tag with its spaces"
        )
    if bad:
        notes.append(
            f"{len(bad)} of {total} rows are skipped: {'; '.join(bad[:3])}{'; ...' if len(bad) > 3 else ''}"
        )
    read.targets[:, wordy] = INVALID
    return list(known), list(known.values()), notes


def _locator(source: Path, images: Path) -> Any:
    """A function from the name in a label file to the path of the image relative to ``images``, or None."""
    by_name: dict[str, list[str]] = defaultdict(list)
    for path in find.find([str(images)], lambda *_: None):
        for key in {path.name, path.stem}:
            by_name[key].append(os.path.relpath(path, images))
    beside = source.parent.resolve()

    def locate(name: str) -> str | None:
        name = name.replace("\\", "/")
        if os.path.isfile(images / name):
            return os.path.normpath(name)
        if os.path.isfile(beside / name):
            return str(beside / name)
        last = name.rpartition("/")[2]
        # Label Studio puts eight hexadecimal digits before the name of an uploaded file.
        found = by_name.get(last) or by_name.get(re.sub("^[0-9a-f]{8}-", "", last), [])
        return found[0] if len(found) == 1 else None

    return locate


def _split_of(name: str) -> str:
    return "val" if name.lower() in _VAL else "test" if name.lower() in _TEST else "train"


def _with_holdout(
    content: list[int],
    files: list[str],
    splits: list[str],
    targets: NDArray[np.int8],
    notes: list[str],
) -> list[str]:
    """The splits, with ``val`` if there is none: whole groups of similar images, ``content``.

    No image of ``val`` or ``test`` has a similar one in ``train``.
    """
    for part in ("val", "test"):
        held = {key for key, split in zip(content, splits, strict=True) if split == part}
        both = {
            i: files[i] for i, split in enumerate(splits) if split == "train" and content[i] in held
        }
        if len(both) > splits.count("train") / 2:
            notes.append(
                f"most training images resemble images of {part}: other images will have lower metrics"
            )
        elif both:
            notes.append(
                f"left out of training, because {part} has a similar image: {few(list(both.values()))}"
            )
            splits = ["copy" if i in both else split for i, split in enumerate(splits)]
    if "val" in splits:
        return splits
    # one of each group
    rows = list({content[i]: i for i, split in enumerate(splits) if split == "train"}.values())
    shown = np.array([targets[np.array(content) == content[i]].max(axis=0) for i in rows])
    share, most, least = _HELD_OUT
    wanted = max(min(share * len(rows), most), least * len(rows)) / max(len(rows), 1)
    held = {content[rows[i]] for i in _pick(shown, [files[i] for i in rows], wanted)}
    if copies := len(content) - len(set(content)):
        notes.append(f"{copies} images resemble others; similar images are held out together")
    return [
        "val" if split == "train" and key in held else split
        for key, split in zip(content, splits, strict=True)
    ]


def _pick(targets: NDArray[np.int8], names: list[str], share: float) -> set[int]:
    """A share of the images, and of those with each label, the rarest first; a hash of the names decides."""
    order = sorted(range(len(names)), key=lambda i: hashlib.sha256(names[i].encode()).digest())
    chosen: set[int] = set()
    decided: set[int] = set()
    positives = (targets == 1).sum(axis=0)
    for label in [*np.argsort(positives, kind="stable"), None]:
        having = [i for i in order if label is None or targets[i, label] == 1]
        wanted = max(round(share * len(having)), int(len(having) > 1)) - sum(
            i in chosen for i in having
        )
        undecided = [i for i in having if i not in decided]
        chosen.update(undecided[: max(0, wanted)])
        decided.update(undecided)
    return chosen


def _groups(paths: list[Path], targets: NDArray[np.int8], notes: list[str]) -> list[int]:
    """The group of each image: similar images, and whole folders if there are enough, with each label in several."""
    folders = np.unique([str(path.parent) for path in paths], return_inverse=True)[1]
    places = [len(set(folders[column == 1])) for column in targets.T if (column == 1).any()]
    whole = len(set(folders)) >= _FEWEST and min(places, default=0) > 1
    if whole:
        notes.append(f"{len(set(folders))} folders: the images of a folder are held out together")
    return similar(paths, folders=whole).tolist()
