"""The example of docs/scale.md for Daft."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from pvlr_sdk.batch import TagBatch

os.environ["DO_NOT_TRACK"] = "1"  # read when Daft is imported
daft = pytest.importorskip("daft")
pytestmark = pytest.mark.slow

PAGE = Path(__file__).parents[3] / "docs/scale.md"


def test_the_example_tags_rows(images):
    example = PAGE.read_text().partition("```python\nimport daft\n")[2].partition("```")[0]
    names: dict[str, Any] = {"daft": daft}
    exec(example, names)
    encoded = [*images(5), b"no image"]
    found = names["tagged"](daft.from_pydict({"bytes": encoded})).to_pydict()["tags"]
    assert found == TagBatch()(pa.table({"bytes": encoded}))["tags"].to_pylist()
    assert found[-1] is None
