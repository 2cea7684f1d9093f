"""What must not become worse from one kernel report to the next."""

from __future__ import annotations

from typing import Any

_GATES = {
    "registers": lambda row: row["registers"],
    "resident warps": lambda row: -row["resident_warps"],
    "instructions in a pass of the main loop": lambda row: row["main_loop"] and row["main_loop"]["issued"],
    "instructions around the main loop": lambda row: row["main_loop"] and row["main_loop"]["around"],
}
"""By name: a number of a kernel that must not rise; None: it has none."""


def regressions(committed: dict[str, Any], found: dict[str, Any]) -> list[str]:
    """One line for each number of ``found`` that is worse than the committed one.

    Kernels and calls that only one of the reports has are ignored, as are all if the compilers differ: the numbers are
    then not comparable.
    """
    if committed.get("tools", {}).get("nvcc") != found["tools"]["nvcc"]:
        return []
    known = {(row["kernel"], row["capability"]): row for row in committed["kernels"]}
    lines = []
    for row in found["kernels"]:
        before = known.get((row["kernel"], row["capability"]), {})
        for name, number in _GATES.items():
            try:
                old, new = number(before), number(row)
            except KeyError:  # a report from before the gate
                continue
            if old is not None and new is None:
                lines.append(f"{row['kernel']} on sm_{row['capability']}: no count of {name}, committed {abs(old)}")
            elif old is not None and new is not None and new > old:
                lines.append(f"{row['kernel']} on sm_{row['capability']}: {abs(new)} {name}, committed {abs(old)}")
    conflicts = {one["call"]: one["conflicts"] for one in committed.get("banks", [])}
    for one in found.get("banks", []):
        if one["conflicts"] > conflicts.get(one["call"], one["conflicts"]):
            lines.append(f"{one['call']}: {one['conflicts']} bank conflicts, committed {conflicts[one['call']]}")
    return lines
