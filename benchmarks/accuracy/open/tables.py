"""The tables of open labels, for the terminal and for docs/open_labels.md."""

from __future__ import annotations

from typing import Any

from ...common import Table


def words_table(words: dict[str, float]) -> Table:
    """Words alone, in the order of the rows."""
    rows = [[name, f"{value:.1f}"] for name, value in words.items()]
    return Table("Words alone: mAP on COCO testdev, 80 labels", ["", "mAP"], rows)


def grades_table(grades: dict[str, dict[str, list[float]]]) -> Table:
    """Words by their grade: number and mAP on each data set."""
    rows = [[row, *(cell for of in grades.values() for cell in _words(*of[row]))] for row in grades["coco"]]
    columns = ["Grade", *(f"{of} {name.upper()}" for name in grades for of in ("words,", "mAP,"))]
    return Table("Words by their grade, on testdev", columns, rows)


def _words(count: float, value: float) -> list[str]:
    return [str(count), f"{value:.1f}" if count else "-"]


def splits_table(splits: dict[str, Any]) -> Table:
    """The unseen labels of each split, and their mean."""
    rows = [
        [name, *(f"{value:.1f}" for value in [*values, sum(values) / len(values)])]
        for name, values in splits["unseen"].items()
    ]
    columns = ["", *(f"Split {number}" for number in range(1, 4)), "Mean"]
    return Table("20 unseen labels next to 60 trained ones: mAP on COCO testdev", columns, rows)


def trust_table(splits: dict[str, Any]) -> Table:
    """What scores of unseen labels are worth with the calibration of the others."""
    rows = [[name, *(f"{of[name]:.1f}" for of in splits["trust"])] for name in splits["trust"][0]]
    columns = ["in percent", *(f"Split {number}" for number in range(1, 4))]
    return Table("Scores of 20 unseen labels, calibrated on 60 others", columns, rows)


def few_table(few: dict[str, dict[str, float]]) -> Table:
    """K photos of a label by way of learning."""
    counts = list(few["words and photos"])
    rows = [
        [name, *(f"{of[count]:.1f}" if count in of else "-" for count in counts)]
        for name, of in few.items()
        if name != "labels"
    ]
    title = f"K photos of a label and 100 others: mAP on COCO testdev, {few['labels']['count']} labels"
    return Table(title, ["K", *counts], rows)


def taught_table(taught: dict[str, dict[str, list[float]]]) -> Table:
    """How often the intervals of precision and recall contain what other photos show, by the labels' frequency."""

    def cells(of: dict[str, list[float]], row: int) -> list[str]:
        value, low, high = of["reported"][3 * row :][:3]
        return [f"{value:.0f} ({low:.0f} to {high:.0f})", f"{of['others'][row]:.0f}", f"{of['inside'][row]:.1f} %"]

    columns = ["Label, prevalence", "Precision", "others", "inside", "Recall", "others", "inside"]
    rows = [[name, *cells(of, 0), *cells(of, 1)] for name, of in taught.items()]
    return Table("Intervals of taught labels, in percent", columns, rows)
