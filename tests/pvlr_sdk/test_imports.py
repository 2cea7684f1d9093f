"""No circle between the files of pvlr_sdk, and layers in order: imports for type checking and by string included.

``lint-imports`` checks the layers of import statements; it sees neither imports by string nor circles between files.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FACE = "pvlr_sdk"
"""The public face, which imports from all layers, and which no file imports."""
IMPORTERS = ("import_module", "__import__")


def modules(folder: Path) -> dict[str, Path]:
    """The modules of ``pvlr_sdk`` by name, the compiled one too."""
    files = [path for path in (folder / FACE).rglob("*.py*") if path.suffix in (".py", ".pyi")]
    names = (".".join(path.relative_to(folder).with_suffix("").parts) for path in files)
    return {name.removesuffix(".__init__"): path for name, path in zip(names, files, strict=True)}


def imports(name: str, path: Path, known: dict[str, Path]) -> Iterator[tuple[str, bool]]:
    """The modules that a module imports, and whether by string.

    Each string that is the absolute name of a module counts, and what is passed to ``import_module``: where that is
    computed, such as ``f".{name}"``, all subpackages.
    """
    package = name if path.stem == "__init__" else name.rpartition(".")[0]

    for node in ast.walk(ast.parse(path.read_text())):
        found: list[str] = []
        if isinstance(node, ast.Import):
            found = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            above = (
                package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
            )
            base = ".".join([*above, *filter(None, [node.module])])
            found = [f"{base}.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.Constant) and re.fullmatch(
            rf"{FACE}(\.\w+)+(:\w+)?", str(node.value)
        ):
            found = [str(node.value).replace(":", ".")]
        elif (
            isinstance(node, ast.Call)
            and getattr(node.func, "attr", getattr(node.func, "id", "")) in IMPORTERS
        ):
            if isinstance(node.args[0], ast.Constant) and str(node.args[0].value).startswith("."):
                found = [f"{package}{node.args[0].value}"]
            elif isinstance(node.args[0], ast.JoinedStr):
                found = [
                    one
                    for one in known
                    if one.rpartition(".")[0] == package and known[one].stem == "__init__"
                ]
        for text in found:
            one = text if text in known else text.rpartition(".")[0]
            if one in known and one != name:
                yield one, not isinstance(node, (ast.Import, ast.ImportFrom))


def circle(folder: Path) -> list[str]:
    """The files of a circle, if there is one."""
    known = modules(folder)
    try:
        TopologicalSorter(
            {name: [one for one, _ in imports(name, path, known)] for name, path in known.items()}
        ).prepare()
    except CycleError as error:
        return list(error.args[1])
    return []


def test_no_circle_between_files() -> None:
    assert circle(ROOT) == []


@pytest.mark.slow
def test_imports_by_string_point_down() -> None:
    tomllib = pytest.importorskip("tomllib", reason="Python 3.11")
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"][
        "contracts"
    ]
    layers = next(contract["layers"] for contract in contracts if contract["type"] == "layers")
    floor = {
        room.strip(): len(layers) - row
        for row, layer in enumerate(layers)
        for room in layer.split("|")
    }
    floor |= {"_core": 0, "": len(layers) + 1}  # the compiled module, and the public face
    known = modules(ROOT)
    edges = {
        (name, one)
        for name, path in known.items()
        for one, by_string in imports(name, path, known)
        if by_string
    }
    rooms = {(name.split(".")[1] if "." in name else "", one.split(".")[1]) for name, one in edges}
    assert rooms
    assert {(up, down) for up, down in rooms if up != down and floor[up] <= floor[down]} == set()


def test_the_first_corridor_has_only_what_a_device_needs_and_the_two_wings() -> None:
    rooms = {name.split(".")[1] for name in modules(ROOT) if "." in name} - {
        "_core",
        "__main__",
        "_util",
    }
    device = "backends batch bundle cli errors frames inference kernels labels libpvlr models result tagger trust"
    assert rooms == {*device.split(), "cameras", "workshop"}


@pytest.mark.parametrize(
    "back",
    [
        "from . import a",
        "if TYPE_CHECKING:\n    from .a import A",
        "def late():\n    import pvlr_sdk.a",
        "import_module('.a', __package__)",
        "TABLE = {'A': 'pvlr_sdk.a'}",
    ],
)
def test_each_kind_of_import_closes_a_circle(back: str, tmp_path: Path) -> None:
    (tmp_path / FACE).mkdir()
    for name, text in {"__init__": "", "a": "from .b import B", "b": back}.items():
        (tmp_path / FACE / f"{name}.py").write_text(text)
    assert set(circle(tmp_path)) == {"pvlr_sdk.a", "pvlr_sdk.b"}
