"""Writes docs/performance.md and its pictures from the JSON in benchmarks/results; no figure is typed by hand.

    python benchmarks/report.py [--results DIR] [--docs DIR]

A part whose JSON is missing says that it was not measured. Needs the extra [bench].
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
from common import RESULTS
from folder import ALONE, OURS, SIMPLE, STREAM
from report_pictures import draw_layers, draw_peers, draw_scaling

DOCS = Path(__file__).parents[1] / "docs"

_INTRO = """# Performance

Ratios are what counts: the machine is shared, and yours is another. Every table is written by
`benchmarks/report.py` from what the scripts measured, in interleaved rounds of one process, so that a change in the
machine's speed meets all alike. Nothing here was measured on a GPU or a Jetson.

```bash
python benchmarks/accuracy.py train pvlr                                  # a trained model, for PyTorch's rows
python -m benchmarks --checkpoint runs/accuracy/pvlr-0 --images photos/   # all of it, in under ten minutes
pvlr bench engine.plan                                                    # your plan on your machine
```
"""


def main(
    results: Annotated[Path, typer.Option(help="Where the JSON lies.")] = RESULTS,
    docs: Annotated[Path, typer.Option(help="Where the page goes.")] = DOCS,
) -> None:
    """Write the page."""
    (docs / "images").mkdir(parents=True, exist_ok=True)
    parts = [_INTRO]
    for name, section in SECTIONS.items():
        path = results / f"{name}.json"
        parts.append(section(json.loads(path.read_text()) if path.exists() else None, docs / "images"))
    (docs / "performance.md").write_text("\n".join(part.strip() + "\n" for part in parts))
    print(f"wrote {docs / 'performance.md'}")


def peers(data: dict[str, Any] | None, images: Path) -> str:
    title = "## A 1920x1080 frame in memory, from pixels to scores"
    if data is None:
        return f"{title}\n\nNot measured."
    draw_peers(data, images / "peers.svg")
    figures, agreement = data["figures"], data["agreement"]
    base = next(iter(figures.values()))["median_ms"]
    rows = [
        [
            name,
            *(f"{values[key]:.2f}" for key in ("median_ms", "p99_ms", "min_ms")),
            f"{values['median_ms'] / base:.2f}",
            f"{100 * agreement[name]['same_tag_sets']:.0f} %" if name in agreement else "",
            f"{agreement[name]['largest_score_difference']:.3f}" if name in agreement else "",
        ]
        for name, values in figures.items()
    ]
    columns = ["", "median ms", "p99", "min", "/ predict()", "same tags", "score difference"]
    inside = ", ".join(f"{part} {value:.2f} ms" for part, value in data["inside"].items())
    return f"""{title}

{_conditions(data)} Plan `{data["conditions"]["plan"]}`. The last two columns compare the tags at the deployed
thresholds and the scores with fp32 after our preprocessing, on {data["conditions"]["photos"]} photos.

![Median time of a frame through each peer](images/peers.svg)

{_table(columns, rows)}

*Hand-written* is what one writes without the SDK: `cv2.resize`, normalise and transpose in NumPy, then OpenVINO
with the same options on the same payload. It runs all of the network in one precision, a bf16 `predict()` keeps the
first block in a finer one ([accuracy.md](accuracy.md)). INTER_AREA looks at every pixel, as our filter does;
INTER_LINEAR looks at four a target pixel and aliases. Model API resizes and normalises inside the network. The
*parts* are timed alone, with the caches to themselves. Inside `predict()`, by its own clock, the medians are:
{inside}.

{_command("peers.py --checkpoint runs/accuracy/pvlr-0 --int8 int8.plan --images photos/")}"""


def layers(data: dict[str, Any] | None, images: Path) -> str:
    title = "## Where the time goes, and what int8 gains"
    if data is None:
        return f"{title}\n\nNot measured."
    draw_layers(data, images / "layers.svg")
    kinds = sorted({kind for table in data["layers"].values() for kind in table})
    rows = [
        [kind.lstrip("~ "), *(f"{t.get(kind, {}).get('ms', 0):.2f}" for t in data["layers"].values()),
         f"{max(t.get(kind, {}).get('gflop', 0) for t in data['layers'].values()):.2f}"]
        for kind in kinds
    ]  # fmt: skip
    engines = [
        [name, precision, f"{v['median_ms']:.2f}", f"{(f.get('bf16') or f['fp32'])['median_ms'] / v['median_ms']:.2f}"]
        for name, f in data["engines"].items()
        for precision, v in f.items()
    ]
    rates = {name.split()[0]: value for name, value in data["peak"].items()}
    ideal = "; ".join(f"{name} {t['~ all']['gflop'] / rates[name]:.2f} ms" for name, t in data["layers"].items())
    peak = "; ".join(f"{name} {value:.2f}" for name, value in data["peak"].items())
    return f"""{title}

{_conditions(data)} OpenVINO's performance counters, which cost some time themselves; the 10th percentile of each layer.

![Time by kind of layer](images/layers.svg)

{_table(["Layers", *(f"{name}, ms" for name in data["layers"]), "GFLOP"], rows)}

What the machine can do, measured with the same engine: {peak}. At that rate the arithmetic of the whole network would
take: {ideal}. In bf16 and int8 it is far from the limit: a mobile network's pointwise layers are small, and its
depthwise layers do few operations on each value that they read.

{_table(["Engine alone", "Precision", "Median ms", "Times as fast as bf16"], engines)}

int8 is only faster where the depthwise filters are quantised with a scale for each channel. A network whose weights
are stored in half precision behind a Cast hides them from the quantiser: it gives them a scale for each column, no
kernel fits, they run in bf16 with a conversion on either side, and int8 ends up slower than bf16. `pvlr build`
unfolds the weights first.

{_command("layers.py --int8 int8.plan --dense")}"""


def scaling(data: dict[str, Any] | None, images: Path) -> str:
    title = "## What cost grows with"
    if data is None:
        return f"{title}\n\nNot measured."
    draw_scaling(data, images / "scaling.svg")
    rows = [
        [name, ", ".join(f"{value}: {v['median_ms']:.2f}" for value, v in curve["figures"].items()),
         f"{curve['exponent']:.2f}"]
        for name, curve in data["curves"].items()
    ]  # fmt: skip
    return f"""{title}

{_conditions(data)} PVLR networks with random weights, EfficientNet-Lite2. The exponent is that of the growth
between the ends of a curve: 1 is linear, and less is better.

![Cost against labels, tokens and pixels](images/scaling.svg)

{_table(["Growing", "Median ms", "Exponent"], rows)}

{_command("scaling.py")}"""


def folder(data: dict[str, Any] | None, _: Path) -> str:
    title = "## A folder of photos"
    if data is None:
        return f"{title}\n\nNot measured."
    sets, reduced = data["images_per_second"], data["reduced_jpeg"]
    tables = []
    for name, rates in sets.items():
        bases = [rates[way] for way in (ALONE, OURS, SIMPLE)]
        rows = [[way, f"{rate:.1f}", *(f"{rate / base:.2f}" for base in bases)] for way, rate in rates.items()]
        title_row = [name, "Images/s", "/ raw inference alone", "/ our engine alone", "/ simple loop"]
        tables.append(_table(title_row, rows))
    measured = "\n\n".join(tables)
    return f"""{title}

{_conditions(data)} {data["conditions"]["photos"]} photos. Everything runs on the same cores, so decoding and
preprocessing cost throughput even where they overlap with the inference. Cameras write baseline JPEGs; the web's are
often progressive and take three times as long to decode.

{measured}

{_missing(name, data)}

Memory at the end against after the first quarter of the photos: {100 * data["memory_growth"]:+.1f} %. `predict_stream`,
`predict_batch` and `predict` of one tagger give the same bits. Taggers optimised for latency and for throughput are
two compilations of one network; on this machine they gave the same bits too.

`--fast-jpeg` (`Tagger(reduced_jpeg=True)`) lets the JPEG decoder skip what a resize would average away, as long as
twice the network's input is left in both directions. It is off by default, since the pixels are no longer quite those
of the pixel contract: on the sample photos 1.5 grey levels off on average at most, 99 of 100 values within 10 (a test
holds that). Photos of 12 megapixels, enlarged from the samples:

{_table(["", ""], [[name, f"{value:.3f}"] for name, value in reduced.items()])}

{_command("folder.py --images photos/")}"""


def _missing(name: str, data: dict[str, Any]) -> str:
    """Where the rest of raw inference's rate is, for one set of photos."""
    rates, threads = data["images_per_second"][name], data["conditions"]["threads"]
    ours, stream = rates[OURS], rates[STREAM]
    text = f"""What is missing to raw inference, of the {name}: the first block in fp32, which keeps the tags
([accuracy.md](accuracy.md)), takes {100 * (1 - ours / rates[ALONE]):.0f} % of the engine's rate; reading, decoding and
preprocessing on the same cores {100 * (1 - stream / ours):.0f} % of what is left. The simple loop has all threads at
work in each inference, so that even our engine alone is only {ours / rates[SIMPLE]:.2f} times as fast."""
    if beside := data.get("beside_inference_ms", {}).get(name):
        bound = 1 / (1 / ours + sum(beside.values()) / 1000 / threads)
        decode, rest = beside["read and decode"], beside["preprocess"]
        text += f""" Reading and
decoding a photo takes {decode:.2f} ms of one thread and preprocessing it {rest:.2f} ms: with no other cost the same
cores would tag {bound:.0f} photos a second, of which `predict_stream` makes {100 * stream / bound:.0f} %."""
    return text


def preprocess(data: dict[str, Any] | None, _: Path) -> str:
    title = "## The pixel contract alone, one thread"
    if data is None:
        return f"{title}\n\nNot measured."
    rows = [
        [f"{r['width']}x{r['height']}", r["layout"], f"{r['ours_ms']:.2f}", f"{r['by_hand_ms']:.2f}",
         f"{r['by_hand_ms'] / r['ours_ms']:.1f}"]
        for r in data["medians"]
    ]  # fmt: skip
    return f"""{title}

{_table(["Frame", "Layout", "Ours, ms", "By hand, ms", "By hand / ours"], rows)}

{_command("preprocess.py")}"""


def start(data: dict[str, Any] | None, _: Path) -> str:
    title = "## Start and memory"
    if data is None:
        return f"{title}\n\nNot measured."
    rows = [[name, f"{row['cold']:.3f}", f"{row['warm, median']:.3f}"] for name, row in data["figures"].items()]
    return f"""{title}

{_table(["", "Cold cache", f"Warm cache, median of {data['conditions']['starts']}"], rows)}

{_command("start.py")}"""


SECTIONS = {
    "peers": peers,
    "layers": layers,
    "scaling": scaling,
    "folder": folder,
    "preprocess": preprocess,
    "start": start,
}


def _conditions(data: dict[str, Any]) -> str:
    c = data["conditions"]
    versions = ", ".join(f"{name} {version}" for name, version in c["versions"].items() if version != "not installed")
    machine = f"{c['machine']}, {c['cores']} cores, {c['threads']} threads for everyone"
    return f"{machine}, {c['system']}, {c['date']}; {versions}."


def _table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [columns, ["---"] * len(columns), *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def _command(text: str) -> str:
    return f"```bash\npython benchmarks/{text}\n```"


if __name__ == "__main__":
    typer.run(main)
