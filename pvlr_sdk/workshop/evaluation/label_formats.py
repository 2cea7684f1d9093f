"""Readers of label files: CSV tables and lists of tags, COCO, FiftyOne, Label Studio, CVAT, one folder per label."""

from __future__ import annotations

import csv
import json
import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import repeat
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlparse
from xml.etree import ElementTree

import numpy as np
from numpy.typing import NDArray

from ... import errors
from ..._util.files import read_file
from ..._util.validation import few
from ...frames import find

INVALID = 2
"""The target of a cell that is not a value."""

_FILE = ("file", "filename", "file_name", "image", "path", "filepath", "image_path")
_SPLIT = ("split", "subset")
_TAGS = {
    "tags": r"\s+",
    "labels": r"\s+",
    "keywords": r"\s+",
    "classes": r"\s+",
    "categories": r"\s+",
}
# one tag, which may contain spaces
_TAGS |= dict.fromkeys(("tag", "label", "keyword", "class", "category"), "$^")
_PRESENT = ("1", "1.0", "true", "yes", "y", "x")
_ABSENT = ("-1", "-1.0", "false", "no", "n")
_SPLITS = {"train", "training", "val", "valid", "validation", "test"}


@dataclass(frozen=True)
class Annotations:
    """The images of a file and their labels.

    Attributes:
        labels: C names.
        files: N paths, as the file states them.
        targets: (N, C) int8: 1 present, -1 absent, 0 unknown, INVALID.
        splits: N names; None without splits.
        lines: N line numbers, of a CSV.
        invalid: the texts of the INVALID cells, by row and column.
        broken: an error for each row that cannot be read; these are not in ``files``.
        spaced: a cell of tags that was split at its spaces, or "".
    """

    labels: list[str]
    files: list[str]
    targets: NDArray[np.int8]
    splits: list[str] | None = None
    lines: list[int] = field(default_factory=list)
    invalid: dict[tuple[int, int], str] = field(default_factory=dict)
    broken: list[errors.LabelsFileError] = field(default_factory=list)
    spaced: str = ""


def read_annotations(path: str | Path) -> Annotations:
    """Read a label file of any supported format, or a folder with one subfolder per label.

    Raises:
        LabelsFileError: the file cannot be read, or has another format.
    """
    content = _parse(path := Path(path))
    for matches, read in _READERS:
        if matches(content):
            try:
                return read(path, content)
            except errors.PvlrError:
                raise
            except (AttributeError, LookupError, RecursionError, TypeError, ValueError) as error:
                # A structure that no export has: a list where a reader expects an object, a task without its result.
                got = f"another structure ({type(error).__name__}: {error})"
                raise wrong(path, _KNOWN, got, "Export it again.") from None
    raise wrong(path, _KNOWN, "another format", "docs/training.md describes the formats.")


_KNOWN = (
    "a CSV, COCO, FiftyOne or Label Studio JSON, CVAT XML, or a folder with one subfolder per label"
)


def _parse(path: Path) -> Any:
    if path.is_dir():
        return path
    text = read_text(path)
    try:
        if text.lstrip()[:1] in ("[", "{"):
            return json.loads(text)
        return ElementTree.fromstring(text) if text.lstrip()[:1] == "<" else text
    except (ValueError, RecursionError, ElementTree.ParseError) as error:
        raise wrong(path, _KNOWN, f"a damaged file ({error})", "Export it again.") from None


def read_text(path: Path) -> str:
    """The contents of a UTF-8 file; raises LabelsFileError if it cannot be read, is not a regular file or too large."""
    try:
        # four times the annotations of COCO's training set
        return read_file(path, 2**31).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise wrong(
            path, "a UTF-8 text file", f"another encoding ({error.reason})", "Save it as UTF-8."
        ) from None
    except OSError as error:
        raise wrong(
            path, "a readable file", error.strerror or str(error), "Check the path."
        ) from None


def no_duplicates(path: Path, values: Iterable[str], expected: str, hint: str) -> None:
    """Raises LabelsFileError if a value occurs twice."""
    if twice := [value for value, count in Counter(values).items() if count > 1]:
        raise wrong(path, expected, f"{twice[0]!r} twice", hint)


def wrong(path: Path, expected: str, got: str, hint: str) -> errors.LabelsFileError:
    """The error for an invalid label file."""
    return errors.LabelsFileError(str(path), expected, got, hint)


def _of_tags(
    tags: Mapping[str, Iterable[str]], splits: list[str] | None = None, labels: Iterable[str] = ()
) -> Annotations:
    """Annotations of images with their present labels; all other labels are absent."""
    names = list(
        dict.fromkeys([*labels, *(tag for image_tags in tags.values() for tag in image_tags)])
    )
    position = {name: index for index, name in enumerate(names)}
    targets = np.full((len(tags), len(names)), -1, np.int8)
    for target, image_tags in zip(targets, tags.values(), strict=True):
        target[[position[tag] for tag in image_tags]] = 1
    return Annotations(names, list(tags), targets, splits)


def _read_csv(path: Path, text: str) -> Annotations:
    header, rows = _cells(path, text)
    lowered = [cell.lower() for cell in header]
    file = next((i for i, name in enumerate(lowered) if name in _FILE), None)
    split = next((i for i, name in enumerate(lowered) if name in _SPLIT and i != file), None)
    columns = [i for i in range(len(header)) if i not in (file, split)]
    if file is None or not columns:
        got = f"the columns {few(header)}" if header else "an empty file"
        hint = "Start the file with a line such as file,split,dog,cat or file,tags."
        raise wrong(path, "a header with 'file' and one column per label", got, hint)
    no_duplicates(
        path, (header[i] for i in columns), "each column once", "Rename or remove the second one."
    )
    present = {form for value in _PRESENT for form in (value, value.upper(), value.title())}
    absent = {form for value in _ABSENT for form in (value, value.upper(), value.title())}
    is_value = {"", "0", "0.0", "?", *present, *absent}.__contains__
    for column in columns:
        filled = [row[column] for _, row in rows if len(row) > column and row[column]]
        if lowered[column] in _TAGS and sum(map(is_value, filled)) < len(filled) / 2:
            return _read_list(path, header, rows, file, split, column)
    kept = []
    broken = []
    for line, row in rows:
        if len(row) == len(header) and row[file]:
            kept.append((line, row))
        else:
            got = (
                f"{len(row)} cells in line {line}"
                if row[file : file + 1] != [""]
                else f"no file name in line {line}"
            )
            broken.append(
                wrong(path, f"{len(header)} cells in each row", got, "Correct that line.")
            )
    cells = {row[column] for _, row in kept for column in columns}
    zero = 0 if cells & {"-1", "-1.0"} else -1
    empty = 0 if cells & {"0", "0.0", *absent} else -1  # a table of marks: 1, x or nothing
    values = {
        "": empty,
        "0": zero,
        "0.0": zero,
        "?": 0,
        **dict.fromkeys(present, 1),
        **dict.fromkeys(absent, -1),
    }
    targets = np.array([[values.get(row[i], INVALID) for i in columns] for _, row in kept], np.int8)
    targets = targets.reshape(len(kept), len(columns))
    invalid = {(int(r), int(c)): kept[r][1][columns[c]] for r, c in np.argwhere(targets == INVALID)}
    return Annotations(
        [header[i] for i in columns],
        [row[file] for _, row in kept],
        targets,
        None if split is None else [row[split] for _, row in kept],
        [line for line, _ in kept],
        invalid,
        broken,
    )


def _read_list(
    path: Path,
    header: list[str],
    rows: list[tuple[int, list[str]]],
    file: int,
    split: int | None,
    column: int,
) -> Annotations:
    """A list of tags: one row per image, or one per tag."""
    if column == len(header) - 1:  # unquoted tags with the separator of the table
        rows = [(line, [*row[:column], ",".join(row[column:])]) for line, row in rows]
    marks = "".join(
        mark for mark in ";|," if any(mark in cell for _, row in rows for cell in row[column:])
    )
    pattern = f"[{marks}]" if marks else _TAGS[header[column].lower()]
    tags: dict[str, dict[str, None]] = {}
    splits: dict[str, str] = {}
    broken = []
    spaced = ""
    for line, row in rows:
        if len(row) != len(header) or not row[file]:
            got = f"{len(row)} cells in line {line}"
            broken.append(wrong(path, f"{len(header)} cells in each row", got, "Correct it."))
            continue
        names = (tag.strip() for tag in re.split(pattern, row[column]))
        tags.setdefault(row[file], {}).update(dict.fromkeys(tag for tag in names if tag))
        splits[row[file]] = row[split] if split is not None else ""
        spaced = spaced or (row[column] if pattern == r"\s+" and " " in row[column] else "")
    read = _of_tags(tags, None if split is None else list(splits.values()))
    return replace(read, broken=broken, spaced=spaced)


def _cells(path: Path, text: str) -> tuple[list[str], list[tuple[int, list[str]]]]:
    """The header, and each row with its line number; the separator is the one that gives most columns, with a file."""
    read = partial(csv.reader, text.splitlines(keepends=True), strict=True)
    try:
        headers = {
            mark: [cell.strip().lower() for cell in next(read(delimiter=mark), [])]
            for mark in ",;\t|"
        }
        mark = max(
            headers, key=lambda mark: (not set(_FILE).isdisjoint(headers[mark]), len(headers[mark]))
        )
        reader = read(delimiter=mark)
        rows = [(reader.line_num, [cell.strip() for cell in row]) for row in reader if any(row)]
    except csv.Error as error:
        raise wrong(
            path, "a CSV file", f"invalid CSV ({error})", "Save it as CSV with commas."
        ) from None
    return (rows[0][1], rows[1:]) if rows else ([], [])


def _read_coco(path: Path, content: dict[str, Any]) -> Annotations:
    hint = "Name an instances_*.json of the official annotations, or an export in that format."
    try:
        names = {category["id"]: category["name"] for category in content["categories"]}
        files = {image["id"]: image["file_name"] for image in content["images"]}
        pairs = [(item["image_id"], item["category_id"]) for item in content["annotations"]]
    except (KeyError, TypeError) as error:
        raise wrong(
            path,
            "images, annotations and categories",
            f"none, or another structure ({error})",
            hint,
        ) from None
    tags: dict[str, set[str]] = {file: set() for file in files.values()}
    for image, category in pairs:
        if image not in files or category not in names:
            missing = f"image {image}" if image not in files else f"category {category}"
            raise wrong(
                path, "annotations of its own images and categories", f"one of {missing}", hint
            )
        tags[files[image]].add(names[category])
    return _of_tags(tags, labels=names.values())


def _read_fiftyone(_: Path, content: dict[str, Any]) -> Annotations:
    """FiftyOneImageClassificationDataset: an image's class or a list of them, each a name, a number or an object."""
    classes = content["classes"] or []
    tags = dict[str, list[str]]()
    for file, value in content["labels"].items():
        listed = value if isinstance(value, list) else [value]
        names = [
            item["label"] if isinstance(item, dict) else item for item in listed if item is not None
        ]
        tags[file] = [classes[name] if isinstance(name, int) else name for name in names]
    return _of_tags(tags, labels=classes)


def _read_label_studio(path: Path, content: list[Any]) -> Annotations:
    """A JSON or JSON-MIN export: choices, and the labels of boxes, polygons and brushes."""
    tags: dict[str, set[str]] = {}
    for task in content:
        values = list(_strings(task.get("data", task) if isinstance(task, dict) else task))
        image = next(
            (text for _, text in values if _is_image(urlparse(text).path) or "?d=" in text), None
        )
        results = (
            [
                annotation
                for annotation in task.get("annotations", [])
                if not annotation.get("was_cancelled")
            ]
            if image
            else []
        )
        if image is None or ("annotations" in task and not results):
            continue  # not labelled yet
        url = urlparse(image)
        file = parse_qs(url.query).get("d", [unquote(url.path)])[0]
        chosen = _strings(
            [annotation["result"] for annotation in results] if "annotations" in task else task
        )
        tags.setdefault(file, set()).update(
            text for key, text in chosen if re.search("choice|label", key or "")
        )
    if not tags:
        raise wrong(
            path,
            "labelled images",
            f"none in {len(content)} tasks",
            "Export from Label Studio as JSON.",
        )
    return _of_tags(tags)


def _is_image(file: str | Path) -> bool:
    return Path(file).suffix.lower() in find.IMAGES


def _strings(node: Any, key: str = "") -> Iterable[tuple[str, str]]:
    """All strings below a JSON value, each with its key."""
    if isinstance(node, str):
        yield key, node
    pairs = (
        node.items()
        if isinstance(node, dict)
        else zip(repeat(key), node if isinstance(node, list) else ())
    )
    for name, value in pairs:
        yield from _strings(value, name)


def _read_cvat(path: Path, root: ElementTree.Element) -> Annotations:
    """CVAT for images: tags, and the labels of shapes."""
    labels = [name.text or "" for name in root.iterfind("meta//labels/label/name")]
    tags = {
        image.get("name", ""): {tag.get("label", "") for tag in image}
        for image in root.iterfind("image")
    }
    splits = [image.get("subset", "") for image in root.iterfind("image")]
    return _of_tags(tags, splits if any(splits) else None, labels)


def _read_folders(path: Path, _: Path) -> Annotations:
    """One subfolder per label, possibly below train/ and val/."""
    tags = {}
    splits = []
    files = [
        Path(file).relative_to(path)
        for file in find.find([str(path)], lambda *_: None)
        if _is_image(file)
    ]
    below_splits = {file.parts[0].lower() for file in files} <= _SPLITS and all(
        len(file.parts) > 2 for file in files
    )
    for file in sorted(files):
        if len(file.parts) > 1 + below_splits:
            tags[str(file)] = [file.parts[below_splits]]
            splits.append(file.parts[0] if below_splits else "")
    if not tags:
        got = f"images without a subfolder: {len(files)}" if files else "no images"
        hint = (
            "Add the label file as the next argument."
            if files
            else "Check the path; images end in .jpg, .png, ..."
        )
        raise wrong(path, "images in one subfolder per label, or a label file", got, hint)
    return _of_tags(tags, splits if below_splits else None)


_READERS: tuple[tuple[Callable[[Any], bool], Callable[[Path, Any], Annotations]], ...] = (
    (lambda content: isinstance(content, Path), _read_folders),
    (lambda content: isinstance(content, str), _read_csv),
    (lambda content: isinstance(content, list), _read_label_studio),
    (
        lambda content: isinstance(content, dict) and content.keys() == {"classes", "labels"},
        _read_fiftyone,
    ),
    (lambda content: isinstance(content, dict), _read_coco),
    (
        lambda content: isinstance(content, ElementTree.Element) and content.tag == "annotations",
        _read_cvat,
    ),
)
"""Whether a parsed file has a format, and the format's reader."""
