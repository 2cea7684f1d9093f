"""Tables of the results of each CPU benchmark, for the terminal and for docs/performance.md."""

from __future__ import annotations

from typing import Any

from ..common import Table

ALONE = "OpenVINO alone, best batch and streams"
STREAM = "predict_stream, optimize=throughput"
SIMPLE = "read and predict, one image at a time"

Data = dict[str, Any]


def peers(data: Data) -> Table:
    """Times of a frame, relative to ``predict()``, and the agreement with fp32."""
    conditions, agreement = data["conditions"], data["agreement"]
    base = next(iter(data["figures"].values()))["median_ms"]
    rows = [
        [
            name,
            *(f"{values[key]:.2f}" for key in ("median_ms", "p99_ms", "min_ms")),
            f"{values['median_ms'] / base:.2f}",
            f"{100 * agreement[name]['same_tag_sets']:.0f} %" if name in agreement else "",
            f"{agreement[name]['largest_score_difference']:.3f}" if name in agreement else "",
        ]
        for name, values in data["figures"].items()
    ]
    columns = ["", "Median, ms", "p99, ms", "Min, ms", "/ predict()", "Same tags", "Score difference"]
    title = f"{conditions['plan']}, {conditions['threads']} threads per engine, {conditions['photos']} images compared"
    return Table(title, columns, rows)


def folder(data: Data) -> dict[str, Table]:
    """Images per second of each way, by set of images."""
    tables = {}
    for name, rates in data["images_per_second"].items():
        bases = [rates[way] for way in (ALONE, SIMPLE)]
        rows = [[way, f"{rate:.1f}", *(f"{rate / base:.2f}" for base in bases)] for way, rate in rates.items()]
        columns = [name, "Images/s", "/ OpenVINO alone", "/ one at a time"]
        tables[name] = Table(name, columns, rows)
    return tables


def reduced_jpeg(data: Data) -> Table:
    """What decoding at reduced size gains and changes."""
    rows = [[name, _number(value)] for name, value in data["reduced_jpeg"].items()]
    return Table("Images of 12 megapixels", ["", ""], rows)


def preprocess(data: Data) -> Table:
    """Times of each frame size and pixel layout."""
    rows = []
    for row in data["medians"]:
        ours, by_hand = row["ours_ms"], row["by_hand_ms"]
        numbers = f"{ours:.2f}", f"{by_hand:.2f}", f"{by_hand / ours:.1f}"
        rows.append([f"{row['width']}x{row['height']}", row["layout"], *numbers])
    columns = ["Frame", "Layout", "pvlr_sdk, ms", "OpenCV and NumPy, ms", "Speedup"]
    return Table(f"To {data['conditions']['size']} pixels, one thread", columns, rows)


def _number(value: float) -> str:
    """One decimal of what is counted in tens or more, three of a share or a second."""
    return f"{value:.{1 if value >= 10 else 3}f}"
