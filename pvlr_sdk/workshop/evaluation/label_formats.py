"""Readers of label files: a CSV (see :mod:`.label_table`), COCO, FiftyOne, Label Studio, CVAT, one folder per label."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from itertools import repeat
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlparse
from xml.etree import ElementTree

from ... import errors
from ..._util.plain_json import read_json
from ...frames import find
from .annotations import LIMITS, Annotations, annotations_of_tags, read_text, wrong
from .label_table import read_table

_SPLITS = {"train", "training", "val", "valid", "validation", "test"}


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
            return read_json(text, LIMITS, printable=False)
        return ElementTree.fromstring(text) if text.lstrip()[:1] == "<" else text
    except (ValueError, ElementTree.ParseError) as error:
        raise wrong(path, _KNOWN, f"a damaged file ({error})", "Export it again.") from None


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
    return annotations_of_tags(path, tags, labels=names.values())


def _read_fiftyone(path: Path, content: dict[str, Any]) -> Annotations:
    """FiftyOneImageClassificationDataset: an image's class or a list of them, each a name, a number or an object."""
    classes = content["classes"] or []
    tags = dict[str, list[str]]()
    for file, value in content["labels"].items():
        listed = value if isinstance(value, list) else [value]
        names = [
            item["label"] if isinstance(item, dict) else item for item in listed if item is not None
        ]
        tags[file] = [classes[name] if isinstance(name, int) else name for name in names]
    return annotations_of_tags(path, tags, labels=classes)


def _read_label_studio(path: Path, content: list[Any]) -> Annotations:
    """A JSON or JSON-MIN export: choices, and the labels of boxes, polygons and brushes."""
    tags: dict[str, set[str]] = {}
    for task in content:
        image = _task_image(task)
        results = None if image is None else _task_results(task)
        if image is not None and results is not None:
            labels = {text for key, text in _strings(results) if re.search("choice|label", key)}
            tags.setdefault(image, set()).update(labels)
    if not tags:
        raise wrong(
            path,
            "labelled images",
            f"none in {len(content)} tasks",
            "Export from Label Studio as JSON.",
        )
    return annotations_of_tags(path, tags)


def _task_image(task: Any) -> str | None:
    """The path of a task's image, without the address of the server or its local storage (``?d=PATH``)."""
    data = task.get("data", task) if isinstance(task, dict) else task
    for _, text in _strings(data):
        url = urlparse(text)
        if _is_image(url.path) or "?d=" in text:
            return parse_qs(url.query).get("d", [unquote(url.path)])[0]
    return None


def _task_results(task: dict[str, Any]) -> Any:
    """The value that has the labels of a task; None: it is not labelled yet."""
    annotations = task.get("annotations", ())
    results = [item["result"] for item in annotations if not item.get("was_cancelled")]
    if "annotations" not in task:
        return task  # JSON-MIN
    return results or None


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
    return annotations_of_tags(path, tags, splits if any(splits) else None, labels)


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
    return annotations_of_tags(path, tags, splits if below_splits else None)


_READERS: tuple[tuple[Callable[[Any], bool], Callable[[Path, Any], Annotations]], ...] = (
    (lambda content: isinstance(content, Path), _read_folders),
    (lambda content: isinstance(content, str), read_table),
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
