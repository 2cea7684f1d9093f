"""Intervals of taught labels: how often they contain what a thousand other photos show.

    python -m benchmarks.accuracy.open.taught --json benchmarks/results/open-taught.json

Horses and boats of VOC 2007, which the bundled model was not trained on, are taught from 10 photos that show them and
60 that do not, without words, as often as --draws. Takes ten minutes. Needs $PVLR_DATA.
"""

from __future__ import annotations

from typing import Annotated

import numpy as np
import typer
from numpy.typing import NDArray

from pvlr_sdk import Tagger
from pvlr_sdk.labels import learn
from pvlr_sdk.labels.edit import add_labels
from pvlr_sdk.labels.thresholds import sigmoid
from pvlr_sdk.models.find import load_bundle
from pvlr_sdk.workshop.evaluation.metrics import f1_scores

from ...common import Json, Table, conditions, run, save
from ..data import Data, check_outputs, data_folder, read_split

NAMES = {"steed": "horse", "tub": "boat"}
POSITIVES = 10
NEGATIVES = 60
OTHERS = 1000
Draws = Annotated[int, typer.Option(min=1, help="Draws of the photos of a label.")]


def main(data: Data = None, draws: Draws = 200, out: Json = None) -> None:
    """Measure the intervals of taught labels."""
    check_outputs(out)
    features = []
    targets = []
    taught = {}
    with Tagger(optimize="throughput") as tagger:
        for split in ("testdev", "val"):
            images, table = read_split(data_folder(data), "voc", split, list(NAMES.values()))
            features += [
                one.features
                for one in tagger.predict_batch([images / file for file in table.files])
            ]
            targets += table.targets.tolist()
    for name, target in zip(NAMES, np.array(targets).T, strict=True):
        known = np.array(features, np.float64)[target != 0], target[target != 0]
        for share in (POSITIVES / (POSITIVES + NEGATIVES), float((known[1] == 1).mean())):
            taught[f"{name}, {100 * share:.1f} %"] = measure(
                name, *known, round(share * OTHERS), draws
            )
    taught_table(taught).print(width=80)
    save(out, {"draws": draws, "taught": taught, "conditions": conditions(None)})


def measure(
    name: str, features: NDArray[np.float64], target: NDArray[np.int64], count: int, draws: int
) -> dict[str, list[float]]:
    """Medians of precision and recall, and how often they are inside; ``count`` of the other photos show the label."""
    bundle = load_bundle(None)
    random = np.random.default_rng(0)
    found = []
    other = []
    assert bundle.manifest.open is not None
    room = add_labels(bundle.labels, [name], bundle.manifest.open, words=False)
    for _ in range(draws):
        shows, not_ = (random.permutation(np.flatnonzero(target == of)) for of in (1, -1))
        own = np.concatenate([shows[:POSITIVES], not_[:NEGATIVES]])
        rest = np.concatenate([shows[POSITIVES:][:count], not_[NEGATIVES:][: OTHERS - count]])
        given = [name], own.astype(str).tolist(), features[own], target[own, None].astype(np.int8)
        bank, (report,) = learn(room, *given, plan="", prevalence=count / OTHERS)
        arrays = bank.arrays()
        scores = sigmoid(
            features[rest] @ arrays["weights"][-1].astype(np.float64) + float(arrays["biases"][-1])
        )
        shown = f1_scores(scores[:, None] >= report.threshold, target[rest, None])
        measures = (
            (report.precision, report.precision_interval),
            (report.recall, report.recall_interval),
        )
        found.append([[value, *interval] for value, interval in measures if interval is not None])
        other.append([100 * shown["OP"], 100 * shown["OR"]])
    reported = np.array(found, np.float64)
    others = np.array(other)
    inside = 100 * ((reported[..., 1] < others + 1e-6) & (others - 1e-6 < reported[..., 2])).mean(0)
    figures = {
        "reported": np.median(reported, axis=0),
        "others": np.median(others, axis=0),
        "inside": inside,
    }
    return {key: value.round(1).ravel().tolist() for key, value in figures.items()}


def taught_table(taught: dict[str, dict[str, list[float]]]) -> Table:
    """How often the intervals of precision and recall contain what other photos show, by the labels' frequency."""

    def cells(of: dict[str, list[float]], row: int) -> list[str]:
        value, low, high = of["reported"][3 * row :][:3]
        return [
            f"{value:.0f} ({low:.0f} to {high:.0f})",
            f"{of['others'][row]:.0f}",
            f"{of['inside'][row]:.1f} %",
        ]

    columns = ["Label, prevalence", "Precision", "others", "inside", "Recall", "others", "inside"]
    rows = [[name, *cells(of, 0), *cells(of, 1)] for name, of in taught.items()]
    return Table("Intervals of taught labels, in percent", columns, rows)


if __name__ == "__main__":
    run(main)
