"""The results of labelled footage as JSON values and as tables: per sequence, light, view and label, and in all."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ...common import Table
from .score import Score
from .sequences import Footage

GROUPS = ("light", "view")
LEGEND = """\
False: events of labels that are not visible, and their rate with its exact
interval. Found: appearances with an event. Precision and recall (%): tags of
single frames. Wrong: frames with at least one false tag (%)."""

_COLUMNS = (
    "False events",
    "Per hour (95 %)",
    "Found",
    "Precision",
    "Recall",
    "Frames with a false tag",
)


def summary(footage: Sequence[Footage], scores: Mapping[str, Score]) -> dict[str, Any]:
    """The scores as JSON values; ``scores``: by name of the sequence."""
    groups: dict[str, dict[str, list[Score]]] = {group: {} for group in GROUPS}
    for sequence in footage:
        for group in GROUPS:
            if value := getattr(sequence, group):
                groups[group].setdefault(value, []).append(scores[sequence.name])
    return {
        "all": Score.total([*scores.values()]).to_dict(),
        **{
            group: {value: Score.total(members).to_dict() for value, members in sorted(row.items())}
            for group, row in groups.items()
        },
        "sequences": {
            sequence.name: {
                **{group: getattr(sequence, group) for group in GROUPS},
                **scores[sequence.name].to_dict(),
            }
            for sequence in footage
        },
    }


def tables(report: Mapping[str, Any]) -> list[Table]:
    """The tables of a report for a terminal of 80 columns."""
    groups = {
        title(report): {**report["sequences"], "all": report["all"]},
        **{f"By {group}": report[group] for group in GROUPS if report[group]},
    }
    columns = ["", "False", "Per hour, 95 %", "Found", "Prec.", "Recall", "Wrong"]
    by_label = [
        [label, *(str(row[key]) for key in ("false_events", "false_frames")), _found(row)]
        for label, row in report["all"]["by_label"].items()
    ]
    return [
        *(
            Table(name, columns, [[key, *cells(row)] for key, row in rows.items()])
            for name, rows in groups.items()
        ),
        Table("By label", ["Label", "False events", "False tags", "Found"], by_label),
        failures(report),
    ]


def failures(report: Mapping[str, Any]) -> Table:
    """Each false event and each missed appearance."""
    rows = [
        [kind, row["sequence"], row["label"], f"{row['start']:.1f} to {row['end']:.1f}"]
        for kind in ("false", "missed")
        for row in report["all"][kind]
    ]
    return Table("Failures", ["", "Sequence", "Label", "Seconds"], rows)


def each(report: Mapping[str, Any]) -> Table:
    """A line per sequence, with its light and view."""
    rows = [
        [name, ", ".join(filter(None, (row["light"], row["view"]))), *cells(row)]
        for name, row in report["sequences"].items()
    ]
    return Table("", ["Sequence", "Light, view", *_COLUMNS], rows)


def overview(reports: Iterable[Mapping[str, Any]]) -> Table:
    """A line per report, for all its sequences."""
    columns = ["Model and tiles", *_COLUMNS, "False events by label"]
    rows = [
        [
            title(report),
            *cells(report["all"]),
            ", ".join(
                f"{label} {row['false_events']}"
                for label, row in report["all"]["by_label"].items()
                if row["false_events"]
            ),
        ]
        for report in reports
    ]
    return Table("", columns, rows)


def title(report: Mapping[str, Any]) -> str:
    """The model and what differs from the defaults."""
    tiles = "without tiles" if report["tiles"] == "1x1" else f"tiles {report['tiles'] or 'auto'}"
    point = report["operating_point"]
    others = [tiles, None if point == "precise" else point]
    return ", ".join([report["model"]["name"], *filter(None, others)])


def cells(row: Mapping[str, Any]) -> list[str]:
    """False events and their rate, appearances found, precision, recall, share of frames with a false tag."""
    rate = "-"
    if row["false_per_hour"] is not None:
        low, high = row["false_per_hour_95"]
        rate = f"{row['false_per_hour']:.0f} ({low:.0f}-{high:.0f})"
    shares = (row[key] for key in ("precision", "recall", "false_frames"))
    return [
        str(row["false_events"]),
        rate,
        _found(row),
        *("-" if share is None else f"{share:.1f}" for share in shares),
    ]


def _found(row: Mapping[str, Any]) -> str:
    return f"{row['found']}/{row['appearances']}"
