"""Changes one place of a folder's code at a time, and lists the changes that its quick tests do not notice.

``python -m tests.mutate pvlr_sdk/labels --mutants 30`` runs ``tests/pvlr_sdk/labels`` in a copy of the tree. A survivor
is a missing test, or a change that makes no difference.
"""

from __future__ import annotations

import argparse
import ast
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).parents[1]
_UNUSED = (".git", ".venv", "build", "__pycache__", ".mypy_cache", ".ruff_cache", ".pytest_cache")
_PAIRS = (
    (ast.Lt, ast.LtE),
    (ast.Gt, ast.GtE),
    (ast.Eq, ast.NotEq),
    (ast.Is, ast.IsNot),
    (ast.In, ast.NotIn),
    (ast.And, ast.Or),
    (ast.Add, ast.Sub),
    (ast.Mult, ast.Div),
    (ast.FloorDiv, ast.Mod),
    (ast.BitAnd, ast.BitOr),
    (ast.LShift, ast.RShift),
)
_OPERATORS = {before: after for pair in _PAIRS for before, after in (pair, pair[::-1])}


class Place(NamedTuple):
    """A node in a field of its parent: ``index`` is its position if the field is a list."""

    parent: ast.AST
    field: str
    index: int | None
    node: ast.AST

    def put(self, node: ast.AST) -> None:
        if self.index is None:
            setattr(self.parent, self.field, node)
        else:
            getattr(self.parent, self.field)[self.index] = node


class Mutant(NamedTuple):
    """A change of a file: ``number`` is its position among all changes of the file."""

    file: Path
    number: int


def places(parent: ast.AST) -> Iterator[Place]:
    """All nodes below a node, except annotations, decorators, and the texts of errors and of the log."""
    for field, value in ast.iter_fields(parent):
        if field in ("annotation", "returns", "decorator_list", "exc"):
            continue
        nodes = value if isinstance(value, list) else [value]
        for index, node in enumerate(nodes):
            if not isinstance(node, ast.AST) or _is_log(node):
                continue
            yield Place(parent, field, index if isinstance(value, list) else None, node)
            yield from places(node)


def _is_log(node: ast.AST) -> bool:
    return isinstance(node, ast.Expr) and ast.unparse(node).startswith(("_LOG.", "_log."))


def change(place: Place) -> ast.AST | None:
    """What to put in a place to change what the code does; None: nothing."""
    node = place.node
    if operator := _OPERATORS.get(type(node)):
        return operator()
    match node:
        case ast.Constant(value=bool(value)):
            return ast.Constant(not value)
        case ast.Constant(value=int(value)):
            return ast.Constant(value + 1 if value < 10 else 2 * value)
        case ast.Constant(value=float(value)):
            return ast.Constant(1.5 * value if value else 1.0)
        case ast.UnaryOp(op=ast.Not(), operand=operand):
            return operand
        case ast.Name() | ast.Call() | ast.Attribute() if place.field == "test":
            return ast.UnaryOp(ast.Not(), node)
        case ast.Return(value=ast.expr() as value) if not _is_none(value):
            return ast.Return(ast.Constant(None))
        case ast.Expr(value=ast.Constant()):  # a docstring
            return None
        case ast.Expr() | ast.AugAssign() | ast.Raise() | ast.Delete() | ast.Continue():
            return ast.Pass()
    return None


def _is_none(node: ast.AST) -> bool:
    return isinstance(node, ast.Constant) and node.value is None


def mutants(file: Path) -> list[Mutant]:
    tree = ast.parse(file.read_text())
    count = sum(change(place) is not None for place in places(tree))
    return [Mutant(file, number) for number in range(count)]


def mutated(mutant: Mutant) -> tuple[str, str]:
    """The changed source, and the change in words: file, line, its text, and what was replaced by what."""
    text = mutant.file.read_text()
    tree = ast.parse(text)
    changed = [(place, new) for place in places(tree) if (new := change(place)) is not None]
    place, new = changed[mutant.number]
    is_operator = not isinstance(place.node, (ast.expr, ast.stmt))
    shown: Any = place.parent if is_operator else place.node
    before = ast.unparse(shown)
    place.put(new)
    after = ast.unparse(ast.fix_missing_locations(shown if is_operator else new))
    name = f"{mutant.file.relative_to(ROOT)}:{shown.lineno}"
    line = text.splitlines()[shown.lineno - 1].strip()
    source = ast.unparse(ast.fix_missing_locations(tree))
    return source, f"{name}: {line}   [{_short(before)} -> {_short(after)}]"


def _short(text: str) -> str:
    first = text.splitlines()[0]
    return first if len(first) <= 60 else first[:57] + "..."


def copy_tree(folder: Path) -> Path:
    """A copy of the tree for Python to import, also as ``pvlr_training``."""
    tree = folder / "tree"
    shutil.copytree(ROOT, tree, symlinks=True, ignore=shutil.ignore_patterns(*_UNUSED))
    (folder / "packages").mkdir()
    (folder / "packages/pvlr_training").symlink_to(tree / "training")
    return tree


def run_tests(tree: Path, tests: list[str], seconds: float | None = None) -> int | None:
    """The exit status of pytest; None: it took longer."""
    environment = {
        **os.environ,
        "PYTHONPATH": f"{tree}{os.pathsep}{tree.parent / 'packages'}",
    }
    if seconds is not None:
        # Compiled code of a mutant must not outlive it; that of the first run serves every other.
        environment["PYTHONDONTWRITEBYTECODE"] = "1"
    command = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", *tests]
    process = subprocess.Popen(
        command,
        cwd=tree,
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        return process.wait(seconds)
    except subprocess.TimeoutExpired:
        return None
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("room", help="a folder of pvlr_sdk or training, or a file of one")
    parser.add_argument("--mutants", type=int, default=20, help="how many changes to try")
    parser.add_argument("--seed", type=int, default=0, help="which changes are chosen")
    parser.add_argument("--tests", nargs="*", help="other tests than those of the folder")
    options = parser.parse_args()
    room = ROOT / options.room
    folder = room if room.is_dir() else room.parent
    tests = options.tests or [str(Path("tests") / folder.relative_to(ROOT))]
    every = [
        mutant
        for file in (sorted(room.rglob("*.py")) if room.is_dir() else [room])
        for mutant in mutants(file)
    ]
    chosen = random.Random(options.seed).sample(every, min(options.mutants, len(every)))
    with tempfile.TemporaryDirectory(prefix="pvlr-mutants-") as name:
        tree = copy_tree(Path(name))
        began = time.monotonic()
        if run_tests(tree, tests) != 0:
            sys.exit(f"{' '.join(tests)}: must pass without a change")
        limit = 3 * (time.monotonic() - began) + 10
        survivors = []
        for mutant in chosen:
            source, words = mutated(mutant)
            file = tree / mutant.file.relative_to(ROOT)
            original = file.read_text()
            file.write_text(source)
            status = run_tests(tree, tests, limit)
            file.write_text(original)
            survivors += [words] if status == 0 else []
            verdict = {0: "SURVIVED", None: "too slow"}.get(status, "killed  ")
            print(f"{verdict} {words}", flush=True)
    print(f"{len(chosen)} of {len(every)} changes in {options.room}: {len(survivors)} survived")


if __name__ == "__main__":
    main()
