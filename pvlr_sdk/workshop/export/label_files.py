"""Tags as label files, to correct or train on them: CSV, COCO, CVAT, FiftyOne and Label Studio."""

from __future__ import annotations

import csv
import io
import json
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from xml.etree import ElementTree

from ... import errors
from ..._util.files import write_files
from ...frames.header import read_header

_HEADER_BYTES = 1 << 20

Scores = Mapping[str, Mapping[str, float]]
"""The scores of the tags of each image, by its path."""


def write_labels(results: Scores, out: Path, kind: str) -> None:
    """Write the tags of images as a label file, which :func:`..evaluation.label_formats.read_annotations` reads.

    Args:
        kind: one of :data:`FORMATS`: ``csv`` (a column for each label), ``coco`` (a box around the whole image),
            ``cvat`` (CVAT for images 1.1), ``fiftyone`` (``FiftyOneImageClassificationDataset``), or ``label-studio``
            (tasks with predictions, for choices named ``tags``).

    Raises:
        OptionError: another format, or no images.
        OutputError: the file cannot be written, or the size of an image, which ``coco`` and ``cvat`` need, not be read.
    """
    errors.check_choice("--format", kind, tuple(FORMATS))
    if not results:
        raise errors.OptionError("results", "at least one image", "none", "Tag images first.")
    labels = sorted({label for scores in results.values() for label in scores})
    write_files({out: FORMATS[kind](results, labels).encode()})


def _csv(results: Scores, labels: Sequence[str]) -> str:
    text = io.StringIO()
    table = csv.writer(text)
    table.writerow(["file", *labels])
    table.writerows(
        [file, *(int(label in scores) for label in labels)] for file, scores in results.items()
    )
    return text.getvalue()


def _coco(results: Scores, labels: Sequence[str]) -> str:
    ids = {label: number for number, label in enumerate(labels, 1)}
    images = []
    annotations = list[dict[str, object]]()
    for number, (file, scores) in enumerate(results.items(), 1):
        width, height = _size(file)
        images.append({"id": number, "file_name": file, "width": width, "height": height})
        shape = {"bbox": [0, 0, width, height], "area": width * height, "iscrowd": 0}
        for label, score in scores.items():
            entry = {
                "id": len(annotations) + 1,
                "image_id": number,
                "category_id": ids[label],
                "score": score,
            }
            annotations.append({**entry, **shape})
    categories = [{"id": number, "name": label} for label, number in ids.items()]
    return json.dumps({"images": images, "categories": categories, "annotations": annotations})


def _cvat(results: Scores, labels: Sequence[str]) -> str:
    root = ElementTree.Element("annotations")
    ElementTree.SubElement(root, "version").text = "1.1"
    labels_element = ElementTree.SubElement(
        ElementTree.SubElement(ElementTree.SubElement(root, "meta"), "task"), "labels"
    )
    for label in labels:
        ElementTree.SubElement(ElementTree.SubElement(labels_element, "label"), "name").text = label
    for number, (file, scores) in enumerate(results.items()):
        width, height = _size(file)
        size = {"width": str(width), "height": str(height)}
        image = ElementTree.SubElement(root, "image", {"id": str(number), "name": file, **size})
        for label in scores:
            ElementTree.SubElement(image, "tag", {"label": label, "source": "auto"})
    return ElementTree.tostring(root, encoding="unicode")


def _fiftyone(results: Scores, labels: Sequence[str]) -> str:
    by_file = {
        os.path.abspath(file): [
            {"label": label, "confidence": score} for label, score in scores.items()
        ]
        for file, scores in results.items()
    }
    return json.dumps({"classes": None, "labels": by_file}, ensure_ascii=False)


def _label_studio(results: Scores, labels: Sequence[str]) -> str:
    tasks = []
    for file, scores in results.items():
        choices = {
            "from_name": "tags",
            "to_name": "image",
            "type": "choices",
            "value": {"choices": list(scores)},
        }
        # Label Studio sorts tasks by their least certain tag.
        prediction = {
            "model_version": "pvlr",
            "score": min(scores.values(), default=0.0),
            "result": [choices],
        }
        tasks.append({"data": {"image": file}, "predictions": [prediction] if scores else []})
    return json.dumps(tasks, ensure_ascii=False)


def _size(file: str) -> tuple[int, int]:
    """Width and height, as stored."""
    header = None
    try:
        with open(file, "rb") as image:
            header = read_header(image.read(_HEADER_BYTES))
    except OSError:
        pass
    if header is None:
        raise errors.OutputError(
            file,
            "an image whose size can be read",
            "another file",
            "Name the images that were tagged, or use the format csv or label-studio.",
        )
    return header.width, header.height


FORMATS: dict[str, Callable[[Scores, Sequence[str]], str]] = {
    "csv": _csv,
    "coco": _coco,
    "cvat": _cvat,
    "fiftyone": _fiftyone,
    "label-studio": _label_studio,
}
"""The writers by the names of their formats."""
