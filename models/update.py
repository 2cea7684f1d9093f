"""Write the catalogue of models and the measured part of each model's card, from the bundles and the results.

    python models/update.py [--url URL] [--assets DIR] [--count PVLR_DATA]

Run it after a bundle or a result in ``benchmarks/results/`` has changed; a test compares what it writes.
"""

from __future__ import annotations

import argparse
import csv
import hashlib
import json
import re
import shutil
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
CATALOGUE = ROOT / "pvlr_sdk/models/catalogue.json"
COUNTS = ROOT / "models/testdev.json"
"""How many images of each testdev split show a label."""
ENDS = (".sig", ".labels.safetensors", ".plan", ".json")  # the manifest is written last
KNOWLEDGE = ".knowledge.safetensors"
"""The end of a further file of open models."""
BLOCK = re.compile(
    r"(<!-- python models/update\.py writes this part -->\n).*(<!-- end -->\n)", re.DOTALL
)


def bundles() -> list[Path]:
    """The folders of all released models, the one in the wheel first."""
    plans = [
        *sorted(ROOT.glob("pvlr_sdk/models/*/engine.plan")),
        *sorted(ROOT.glob("models/*/engine.plan")),
    ]
    return [plan.parent for plan in plans]


def entry(folder: Path) -> dict[str, Any]:
    """The catalogue's entry of a model."""
    manifest = json.loads((folder / "engine.json").read_text())
    ends = [KNOWLEDGE, *ENDS] if (folder / f"engine{KNOWLEDGE}").exists() else ENDS
    return {
        "name": manifest["name"],
        "labels": len(manifest["labels"]),
        "label_set": "COCO",
        "input": [manifest["input"]["width"], manifest["input"]["height"]],
        "accuracy": [
            {"data": data, "images": result["images"], "mAP": round(result["mAP"], 3)}
            for data, result in results(manifest["name"])
        ],
        "ms": None,
        "trained_on": "COCO + VOC",
        "licence": "Apache-2.0",
        "files": {end: described((folder / f"engine{end}").read_bytes()) for end in ends},
    }


def described(data: bytes) -> dict[str, Any]:
    """Size and hash of a file."""
    return {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}


def results(name: str) -> list[tuple[str, dict[str, Any]]]:
    """The committed results of `pvlr eval` for a model by data set, COCO first."""
    found = []
    for path in sorted(ROOT.glob("benchmarks/results/**/eval-*.json")):
        result = json.loads(path.read_text())
        if result["model"] == name:
            found.append(
                ("COCO testdev" if "COCO_testdev" in path.name else "VOC 2007 testdev", result)
            )
    return sorted(found, key=lambda pair: pair[0])


def measured(folder: Path) -> str:
    """The measured part of a card."""
    model, manifest = entry(folder), json.loads((folder / "engine.json").read_text())
    (data, own), *others = results(model["name"])
    size, pixels = (
        sum(file["bytes"] for file in model["files"].values()),
        " x ".join(map(str, model["input"])),
    )
    lines = [
        f"{model['labels']} labels, {pixels} pixels, {size / 1e6:.1f} MB. All figures are in percent; precision (P),",
        "recall (R) and F1 of all tags (O) and as the mean of the labels (C) are at the thresholds of the plan; ECE is",
        "the expected calibration error of the scores.",
        "",
        "| Images | Number | mAP | CP | CR | CF1 | OP | OR | OF1 | ECE |",
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for name, result in [(data, own), *others]:
        figures = [f"{result[key]:.1f}" for key in ("mAP", "CP", "CR", "CF1", "OP", "OR", "OF1")]
        figures.append(f"{result['ECE']:.1f}" if "ECE" in result else "-")
        lines.append(f"| {name} | {result['images']:,} | {' | '.join(figures)} |")
    counts, columns = json.loads(COUNTS.read_text())[data], 4
    lines += [
        "",
        f"Average precision per label on {data}, the images that show it, and its threshold:",
        "",
        "|" + " Label | AP | Images | Threshold |" * columns,
        "|" + " --- | --- | --- | --- |" * columns,
    ]
    cells = []
    for label in manifest["labels"]:
        score, count = own["per_class"].get(label["name"]), counts[label["name"]]
        shown = "-" if score is None else f"{score:.1f}"
        cells.append(f" {label['name']} | {shown} | {count} | {label['threshold']:.2f} |")
    rows = -(-len(cells) // columns)
    cells += [" | | | |"] * (columns * rows - len(cells))
    lines += ["|" + "".join(cells[row::rows]) for row in range(rows)]
    return "\n".join(lines) + "\n"


def outputs(url: str | None) -> dict[Path, str]:
    """What the catalogue and the cards contain."""
    table = {"url": url, "models": [entry(folder) for folder in bundles()]}
    written = {CATALOGUE: json.dumps(table, indent=1) + "\n"}
    for folder in bundles():
        card = folder / "README.md"
        written[card] = BLOCK.sub(
            lambda block, folder=folder: block[1] + measured(folder) + block[2], card.read_text()
        )
    return written


def count(data: Path) -> dict[str, dict[str, int]]:
    """How many images of each testdev split show a label."""
    counts = {}
    for name, folder in (("COCO testdev", "coco"), ("VOC 2007 testdev", "voc2007")):
        with (data / folder / "labels.csv").open(newline="") as file:
            rows = [row for row in csv.DictReader(file) if row["split"] == "testdev"]
        labels = [label for label in rows[0] if label not in ("file", "split", "person_biased")]
        counts[name] = {label: sum(row[label] == "1" for row in rows) for label in labels}
    return counts


def main() -> None:
    """Write the files."""
    options = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    options.add_argument("--url", help="the address below which a release has the files")
    options.add_argument(
        "--assets",
        type=Path,
        metavar="DIR",
        help="also copy the files there, named for that address",
    )
    options.add_argument(
        "--count",
        type=Path,
        metavar="DIR",
        help="also count the labels of the images in $PVLR_DATA",
    )
    given = options.parse_args()
    if given.count:
        COUNTS.write_text(json.dumps(count(given.count), indent=1) + "\n")
    old = json.loads(CATALOGUE.read_text())["url"] if CATALOGUE.exists() else None
    for path, text in outputs(given.url or old).items():
        path.write_text(text)
    if given.assets:
        given.assets.mkdir(parents=True, exist_ok=True)
        for folder in bundles():
            for end in entry(folder)["files"]:
                shutil.copyfile(
                    folder / f"engine{end}", given.assets / f"{entry(folder)['name']}{end}"
                )


if __name__ == "__main__":
    main()
