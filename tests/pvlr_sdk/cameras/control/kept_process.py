"""Changes a site until it is killed: ``python -m tests.pvlr_sdk.cameras.control.kept_process FOLDER``.

A line of output for each change: before it, and when it is acknowledged.
"""

from __future__ import annotations

import itertools
import sys
import time
from pathlib import Path

from pvlr_sdk._util import files
from tests.pvlr_sdk.cameras.control.kept import start, teach


def run(folder: Path) -> None:
    files._ABANDONED = 1.0
    control = start(folder)
    value, taught = (
        round(1000 * control.changes.thresholds.get("cat", 0)),
        "my mug" in control.tagger.labels,
    )
    # a start removes these
    old = [path for path in folder.glob(".*.tmp") if path.stat().st_mtime < time.time() - 5]
    assert not old, "leftovers"
    print(f"start {value} {taught:d}", flush=True)
    for number in itertools.count():
        if number % 4:
            value = (value + 1) % 1000
        else:
            taught = not taught
        print(f"begin {value} {taught:d}", flush=True)
        if number % 4:
            control.configure({"cat": value / 1000, **({"my mug": 0.5} if taught else {})})
        elif taught:
            teach(control, "my mug")
        else:
            control.forget("my mug")
        print(f"done {value} {taught:d}", flush=True)


if __name__ == "__main__":
    run(Path(sys.argv[1]))
