"""A fuzz target for label files: python tests/pvlr_sdk/workshop/evaluation/fuzz_labels.py -max_total_time=600

Any bytes are either read as labels of images or rejected with one of the SDK's errors.
"""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["pvlr_sdk.workshop.evaluation"]):
    from pvlr_sdk import errors
    from pvlr_sdk.workshop.evaluation import labels_csv
    from pvlr_sdk.workshop.evaluation.labels_csv import read_labels, read_rename

_SEEDS = (
    "",
    "file,split,dog,cat\na.jpg,train,1,-1\nb.jpg,val,,1\n",
    "image;tags\na.jpg;dog,cat\nb.jpg;\n",
    "filename\tlabels\na.jpg\tdog cat\n",
    '{"images": [{"id": 1, "file_name": "a.jpg"}], "categories": [{"id": 1, "name": "dog"}], '
    '"annotations": [{"image_id": 1, "category_id": 1}]}',
    '[{"data": {"image": "/d/a.jpg"}, "annotations": [{"result": [{"value": {"choices": ["dog"]}}]}]}]',
    '[{"image": "http://host/data/?d=a.jpg", "choice": "dog"}]',
    "<annotations><meta><labels><label><name>dog</name></label></labels></meta><image name='a.jpg'><tag label='dog'/>"
    "</image></annotations>",
    "<!DOCTYPE a [<!ENTITY b 'c'>]><annotations>&b;</annotations>",
    '{"tvmonitor": "tv", "sofa": "couch"}',
)
_FRAGMENTS = (
    *(
        ",",
        ";",
        "\t",
        "|",
        "\n",
        "\r",
        '"',
        "'",
        "1",
        "-1",
        "0",
        "x",
        "yes",
        "a.jpg",
        "dog",
        "cat",
        "train",
        "\ufeff",
    ),
    *("{", "}", "[", "]", ": ", "null"),
    *('"id": 1', '"image_id": 1', '"category_id": 1', '"annotations": ', '"result": '),
    *(
        "<image",
        "<tag",
        " name='a.jpg'",
        " label='dog'",
        "/>",
        ">",
        "</image>",
        "</annotations>",
        "&b;",
        "1e999",
        "[]",
    ),
    *("file", "split", "http://[", "?d=", "%00", "NaN", "9" * 50, "meta", "<labels><label><name>"),
)
_PARTS = ["", *_FRAGMENTS]
_FILE = Path(tempfile.mkdtemp(dir="/dev/shm" if os.path.isdir("/dev/shm") else None)) / "labels"


def check(data: bytes) -> None:
    """One input."""
    provider = atheris.FuzzedDataProvider(data)
    text = provider.PickValueInList(list(_SEEDS))
    for _ in range(provider.ConsumeIntInRange(1, 3)):  # splices
        start, end = (provider.ConsumeIntInRange(0, len(text)) for _ in range(2))
        text = text[:start] + provider.PickValueInList(_PARTS) + text[max(start, end) :]
    text += provider.ConsumeUnicode(100)
    _FILE.write_bytes(text.encode("utf-8", "surrogatepass"))
    for read in (lambda: read_labels(_FILE, None, ["dog", "cat"]), lambda: read_rename(_FILE)):
        try:
            read()
        except errors.PvlrError as error:
            str(error)


if "PVLR_PLANTED_BUG" in os.environ:  # a file without an image ends in an IndexError
    labels_csv._rows_of_split = lambda *_: [0]

if __name__ == "__main__":
    atheris.Setup(sys.argv, check)
    try:
        atheris.Fuzz()
    finally:
        _FILE.unlink(missing_ok=True)
