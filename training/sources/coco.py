"""MS-COCO 2014 and 2017: which categories an instances JSON has in which photo."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pvlr_sdk.labels_csv import match_columns

from ..config import CocoSource
from .lists import read_text, wrong

_HINT = "Name an instances_*.json of the official annotations."


def read_coco(
    source: CocoSource, labels: Sequence[str], rename: Mapping[str, str]
) -> list[tuple[Path, NDArray[np.int8]]]:
    """Every photo of the JSON, also those without an object; a category is present if it has an instance or a crowd.

    Raises:
        LabelsFileError: the file is missing, no instances JSON, or refers to a photo or category that it doesn't list.
        UnknownLabelError: as :func:`pvlr_sdk.labels_csv.match_columns`.
    """
    path = source.annotations
    try:
        content = json.loads(read_text(path))
        names = {category["id"]: category["name"] for category in content["categories"]}
        files = {image["id"]: image["file_name"] for image in content["images"]}
        pairs = [(item["image_id"], item["category_id"]) for item in content["annotations"]]
    except json.JSONDecodeError as error:
        raise wrong(path, "a JSON file", f"text that is no JSON ({error})", _HINT) from None
    except (KeyError, TypeError) as error:
        got = f"none, or an entry without {error}" if isinstance(error, KeyError) else "another structure"
        raise wrong(path, "images, annotations and categories", got, _HINT) from None
    column = match_columns(path, list(names.values()), labels, rename)
    absent = np.zeros(len(labels), np.int8)
    absent[list(column.values())] = -1
    targets = {image: absent.copy() for image in files}
    for image, category in pairs:
        if image not in files or category not in names:
            missing = f"image {image}" if image not in files else f"category {category}"
            raise wrong(path, "annotations of its own images and categories", f"one of {missing}", _HINT)
        if names[category] in column:
            targets[image][column[names[category]]] = 1
    return [(source.images / name, targets[image]) for image, name in files.items()]
