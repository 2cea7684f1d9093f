"""A folder of images and a label file of any format -> the run's own ``labels.csv`` and ``config.yaml``."""

from __future__ import annotations

import csv
import hashlib
import io
import os
import re
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
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
    table = read_annotations(source)
    photos, notes = _usable_photos(source, table, images)
    count = len(photos.files)
    if limit and count > limit:
        photos = photos.subset(sorted(_pick(photos.targets, photos.files, limit / count)))
        notes.append(f"{limit} of {count} images are used")
    groups = _groups([images / file for file in photos.files], photos.targets, notes)
    photos.splits = _with_holdout(groups, photos, notes)
    columns = _learned_columns(table.labels, photos, notes)
    names = [table.labels[column] for column in columns]
    _check_learnable(source, names, photos, columns, len(set(groups)), notes)
    path = folder / "config.yaml"
    config = _configuration(folder.name, images, names, photos.splits.count("train"), recipe)
    text = yaml.safe_dump(config, sort_keys=False, allow_unicode=True)
    rows = _labels_csv(names, photos, columns)
    write_files({folder / "labels.csv": rows.encode(), path: text.encode()})
    return path, [f"{source}: {_size(names, photos.splits)}", *notes]


@dataclass
class _Photos:
    """The images of a run.

    Attributes:
        files: n paths, relative to the folder of the images or absolute.
        splits: n of ``train``, ``val`` and ``test``, or ``copy``: not used.
        targets: (n, labels) of 1, -1 and 0; INVALID in columns that are not labels.
    """

    files: list[str]
    splits: list[str]
    targets: NDArray[np.int8]

    def subset(self, indices: Sequence[int]) -> _Photos:
        return _Photos(
            [self.files[i] for i in indices],
            [self.splits[i] for i in indices],
            self.targets[indices],
        )

    def training_targets(self) -> NDArray[np.int8]:
        return self.targets[[split == "train" for split in self.splits]]


def _learned_columns(labels: Sequence[str], photos: _Photos, notes: list[str]) -> list[int]:
    """The columns of the labels with a positive training image."""
    columns = np.flatnonzero((photos.targets != INVALID).all(axis=0)).tolist()
    present = (photos.training_targets() == 1).any(axis=0)
    if unseen := [labels[column] for column in columns if not present[column]]:
        notes.append(f"labels without a training image are left out: {few(unseen)}")
    return [column for column in columns if present[column]]


def _check_learnable(
    source: Path,
    names: list[str],
    photos: _Photos,
    columns: list[int],
    different: int,
    notes: list[str],
) -> None:
    """Raise an error if nothing can be learned from the images, ``different`` without similar ones, or a name is
    invalid."""
    contrasts = bool((photos.training_targets()[:, columns] == -1).any())
    if different < _FEWEST or not contrasts:
        everywhere = f", all with {few(names)}" if names and not contrasts else ""
        numbers = (
            f"images: {different}, in training: {photos.splits.count('train')}, "
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


def _labels_csv(names: list[str], photos: _Photos, columns: list[int]) -> str:
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(["file", "split", *names])
    targets = photos.targets[:, columns].tolist()
    for file, split, row in zip(photos.files, photos.splits, targets, strict=True):
        writer.writerow([file, split, *row])
    return text.getvalue()


def _configuration(
    name: str, images: Path, labels: list[str], training: int, recipe: dict[str, Any]
) -> dict[str, Any]:
    """The recipe with its data; a batch has at most half of the ``training`` images unless the recipe sets it."""
    batch = {"batch": max(1, min(32, training // 2))}
    stages = {stage: {**batch, **recipe["train"][stage]} for stage in ("head", "finetune")}
    source = {"images": str(images.resolve()), "labels": "labels.csv", "splits": ["train"]}
    data = {**recipe["data"], "holdout": "val", "sources": [source], "labels": labels}
    return {"name": name, **recipe, "data": data, "train": {**recipe["train"], **stages}}


def _size(labels: list[str], splits: list[str]) -> str:
    """Such as ``2 labels, 100 images (80 train, 20 val)``."""
    parts = [part for part in ("train", "val", "test") if part in splits]
    counts = ", ".join(f"{splits.count(part)} {part}" for part in parts)
    plural = "s" if len(labels) != 1 else ""
    return f"{len(labels)} label{plural}, {len(splits)} images ({counts})"


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


def _usable_photos(source: Path, table: Annotations, images: Path) -> tuple[_Photos, list[str]]:
    """The images of the usable rows, and sentences about the other rows and columns."""
    notes = []
    text = _text_columns(table)
    if text.any():
        names = [table.labels[column] for column in np.flatnonzero(text)]
        notes.append(f"columns that are not labels: {few(names)}")
    bad = [error.got for error in table.broken]
    rows: dict[str, int] = {}
    locate = _locator(source, images)
    for row, name in enumerate(table.files):
        file = locate(name)
        if problem := _problem(table, row, text, file, rows):
            bad.append(problem)
        elif file:
            rows.setdefault(file, row)
    total = len(table.files) + len(table.broken)
    if len(bad) > 0.5 * total:
        empty = not find.find([str(images)], lambda *_: None)
        raise wrong(
            source,
            "rows of images",
            f"{len(bad)} of {total} that cannot be used, such as {bad[0]}",
            f"{images} contains no images." if empty else f"File names are relative to {images}.",
        )
    if table.spaced:
        notes.append(
            f"tags are separated by spaces, as in {table.spaced!r}; a column 'tag' has one tag with its spaces"
        )
    if bad:
        more = "; ..." if len(bad) > 3 else ""
        notes.append(f"{len(bad)} of {total} rows are skipped: {'; '.join(bad[:3])}{more}")
    usable = list(rows.values())
    splits = [_split_of(table.splits[row]) if table.splits else "train" for row in usable]
    targets = table.targets[usable]
    targets[:, text] = INVALID
    return _Photos(list(rows), splits, targets), notes


def _text_columns(table: Annotations) -> NDArray[np.bool_]:
    """Which columns are not labels: those without a name, and those with text in most rows."""
    nameless = np.array([not label for label in table.labels], np.bool_)
    if not table.files:
        return nameless
    return nameless | ((table.targets == INVALID).mean(axis=0) > 0.5)


def _problem(
    table: Annotations, row: int, text: NDArray[np.bool_], file: str | None, rows: dict[str, int]
) -> str | None:
    """Why a row cannot be used; ``rows`` are the usable rows above it, by their files."""
    where = f" in line {table.lines[row]}" if table.lines else ""
    name = table.files[row]
    invalid = np.flatnonzero((table.targets[row] == INVALID) & ~text).tolist()
    if invalid:
        column = invalid[0]
        return f"{table.invalid[row, column]!r}{where}, column {table.labels[column]!r}"
    if file is None:
        return f"no image {name!r}{where}"
    if file in rows and (table.targets[row] != table.targets[rows[file]]).any():
        return f"{name!r} twice with different labels{where}"
    return None


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


def _with_holdout(groups: list[int], photos: _Photos, notes: list[str]) -> list[str]:
    """The splits, with ``val`` if there is none: whole groups of similar images.

    No image of ``val`` or ``test`` has a similar one in ``train``.
    """
    splits = photos.splits
    for part in ("val", "test"):
        splits = _without_copies(part, groups, photos.files, splits, notes)
    if "val" in splits:
        return splits
    held = _held_out_groups(groups, photos, splits)
    if copies := len(groups) - len(set(groups)):
        notes.append(f"{copies} images resemble others; similar images are held out together")
    return [
        "val" if split == "train" and group in held else split
        for group, split in zip(groups, splits, strict=True)
    ]


def _without_copies(
    part: str, groups: list[int], files: list[str], splits: list[str], notes: list[str]
) -> list[str]:
    """The splits, with ``copy`` for training images that resemble one of ``part``, unless most of them do."""
    held = {group for group, split in zip(groups, splits, strict=True) if split == part}
    copies = [i for i, split in enumerate(splits) if split == "train" and groups[i] in held]
    if len(copies) > splits.count("train") / 2:
        notes.append(
            f"most training images resemble images of {part}: other images will have lower metrics"
        )
        return splits
    if copies:
        names = few([files[i] for i in copies])
        notes.append(f"left out of training, because {part} has a similar image: {names}")
    left_out = set(copies)
    return ["copy" if i in left_out else split for i, split in enumerate(splits)]


def _held_out_groups(groups: list[int], photos: _Photos, splits: list[str]) -> set[int]:
    """The groups to hold out; a group has the labels of all its images and the name of its last one."""
    last = {groups[i]: i for i, split in enumerate(splits) if split == "train"}
    members = np.array(groups)
    labels = np.array([photos.targets[members == group].max(axis=0) for group in last])
    share, most, smallest = _HELD_OUT
    wanted = max(min(share * len(last), most), smallest * len(last)) / max(len(last), 1)
    chosen = _pick(labels, [photos.files[i] for i in last.values()], wanted)
    return {group for number, group in enumerate(last) if number in chosen}


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
