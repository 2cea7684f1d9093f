"""The notebooks run, and their cells tagged ``compare`` print what is committed. As a script: writes fresh outputs."""

from __future__ import annotations

import importlib.util
import os
import re
import sys
from pathlib import Path
from typing import Any

import pytest

# Not imported here: nbformat takes seconds, in each worker.
if missing := [
    name for name in ("nbformat", "nbclient", "ipykernel") if not importlib.util.find_spec(name)
]:
    pytest.skip(f"no {missing[0]}", allow_module_level=True)

NOTEBOOKS = sorted((Path(__file__).parents[2] / "docs/notebooks").glob("*.ipynb"))
_NUMBER = re.compile(r"\d+\.\d+")
_TOLERANCE = 0.05
"""Of scores: other processors compute in other precisions."""


def read(path: Path) -> Any:
    import nbformat

    return nbformat.read(path, as_version=4)


def execute(path: Path) -> Any:
    """The notebook with fresh outputs. Raises CellExecutionError if a cell fails."""
    import nbclient

    notebook = read(path)
    folder = {"metadata": {"path": str(path.parent)}}
    # ``pvlr`` of this environment, also where the environment is not activated.
    search = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    client = nbclient.NotebookClient(notebook, timeout=900, record_timing=False, resources=folder)
    client.execute(env={**os.environ, "PATH": search})
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs = _joined(cell.outputs)
    return notebook


def _joined(outputs: list[Any]) -> list[Any]:
    """The outputs with consecutive pieces of one stream in one."""
    joined: list[Any] = []
    for output in outputs:
        if (
            joined
            and output.output_type == "stream" == joined[-1].output_type
            and output.name == joined[-1].name
        ):
            joined[-1].text += output.text
        else:
            joined.append(output)
    return joined


def _texts(notebook: Any) -> list[str]:
    """What the cells to compare print or show, as text."""
    cells = [cell for cell in notebook.cells if "compare" in cell.metadata.get("tags", ())]
    return [
        output.text if output.output_type == "stream" else output.data["text/plain"]
        for cell in cells
        for output in cell.outputs
    ]


@pytest.mark.slow
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_runs_and_prints_what_is_committed(path: Path) -> None:
    if path.stem.startswith("train"):
        pytest.importorskip("torch")
    committed, fresh = _texts(read(path)), _texts(execute(path))
    assert committed
    assert [_NUMBER.sub("#", text) for text in fresh] == [
        _NUMBER.sub("#", text) for text in committed
    ]
    numbers = [
        [float(number) for text in texts for number in _NUMBER.findall(text)]
        for texts in (fresh, committed)
    ]
    assert numbers[0] == pytest.approx(numbers[1], abs=_TOLERANCE)


@pytest.mark.slow
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_is_executed_and_small(path: Path) -> None:
    notebook = read(path)
    assert path.stat().st_size < 400_000
    for cell in notebook.cells:
        if cell.cell_type == "code":
            assert cell.execution_count
            for output in cell.outputs:
                assert output.output_type != "error"
                assert all(len(str(value)) < 80_000 for value in output.get("data", {}).values())


if __name__ == "__main__":
    import nbformat

    for path in NOTEBOOKS:
        nbformat.write(execute(path), path)
