"""The tables of open labels, for the terminal and for docs/open_labels.md."""

from __future__ import annotations

from ...common import Table


def grades_table(grades: dict[str, dict[str, list[float]]]) -> Table:
    """Words by their grade: number and mAP on each data set."""
    rows = [[row, *(cell for of in grades.values() for cell in _words(*of[row]))] for row in grades["coco"]]
    columns = ["Grade", *(f"{of} {name.upper()}" for name in grades for of in ("words,", "mAP,"))]
    return Table("Words by their grade, on testdev", columns, rows)


def _words(count: float, value: float) -> list[str]:
    return [str(count), f"{value:.1f}" if count else "-"]


def taught_table(taught: dict[str, dict[str, list[float]]]) -> Table:
    """How often the intervals of precision and recall contain what other photos show, by the labels' frequency."""

    def cells(of: dict[str, list[float]], row: int) -> list[str]:
        value, low, high = of["reported"][3 * row :][:3]
        return [f"{value:.0f} ({low:.0f} to {high:.0f})", f"{of['others'][row]:.0f}", f"{of['inside'][row]:.1f} %"]

    columns = ["Label, prevalence", "Precision", "others", "inside", "Recall", "others", "inside"]
    rows = [[name, *cells(of, 0), *cells(of, 1)] for name, of in taught.items()]
    return Table("Intervals of taught labels, in percent", columns, rows)
