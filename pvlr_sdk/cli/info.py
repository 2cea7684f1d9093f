"""``pvlr info`` and ``pvlr labels``: the contents of a plan."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from . import options

if TYPE_CHECKING:
    from ..bundle.bundle import Bundle


def info(plan: options.PlanArgument = None, as_json: options.Json = False) -> None:
    """Check the files of a plan and describe it.

    \b
    [bold]Examples[/bold]
    pvlr info
    pvlr info plans/engine.plan --json
    """
    print_info(plan, as_json)


def labels(plan: options.PlanArgument = None, as_json: options.Json = False) -> None:
    """List the labels and thresholds of a plan.

    In a pipe, each line is a label, a tab and its threshold, and a tab and its
    threshold for 90 % precision where the plan has one.

    \b
    [bold]Examples[/bold]
    pvlr labels
    pvlr labels engine.plan | cut -f1
    """
    from .._util.escape import terminal
    from .screen import print_facts, print_json

    manifest = _open(plan).manifest
    if as_json:
        names = {"name": "label"}
        print_json([{names.get(k, k): v for k, v in label.model_dump().items()} for label in manifest.labels])
        return
    rows = [
        (label.name, [point for point in (label.threshold, label.precise_threshold) if point is not None])
        for label in manifest.labels
    ]
    if sys.stdout.isatty():
        title = f"{manifest.name}: thresholds f1, precise" if manifest.format > 1 else manifest.name
        print_facts(title, ((name, "  ".join(f"{point:.3f}" for point in points)) for name, points in rows))
    else:
        for name, points in rows:
            print("\t".join((terminal(name), *map(str, points))))


def print_info(plan: Path | None, as_json: bool, trust: Literal[False] | None = None) -> None:
    """Print the manifest of a plan without the golden frame, its path and who signed it; ``trust`` as for ``open``."""
    from .screen import print_facts, print_json

    bundle = _open(plan, trust)
    signature = bundle.signature.to_dict() if bundle.signature else None
    facts = {
        "plan": str(bundle.path),
        "signature": signature,
        **bundle.manifest.model_dump(mode="json", exclude={"golden"}),
    }
    if as_json:
        print_json(facts)
        return
    names = [label["name"] for label in facts["labels"]]
    size, grid, measured = facts["input"], facts["attention"], dict(facts["measured"])
    precisions = measured.pop("precisions", {})
    rows = [
        ("plan", facts["plan"]),
        ("backend", f"{facts['backend']}, precision {facts['precision']}"),
        ("input", f"{size['width']} x {size['height']}, {size['resize']}"),
        ("attention", f"{grid['rows']} x {grid['columns']}"),
        ("labels", f"{len(names)}: {', '.join(names[:6])}{', ...' if len(names) > 6 else ''}"),
        *((f"file {role}", f"{file['bytes']:,} bytes, SHA-256 verified") for role, file in facts["files"].items()),
        ("signature", f"verified, key {signature['key']}, version {signature['version']}" if signature else None),
        *((f"built: {key}", value) for key, value in facts["built"].items() if value),
        *((f"measured: {key}", value) for key, value in measured.items()),
        *((f"measured: {key}", _agreement(value)) for key, value in precisions.items()),
    ]
    print_facts(facts["name"], rows)


def _open(plan: Path | None, trust: Literal[False] | None = None) -> Bundle:
    from ..models.find import load_bundle

    return load_bundle(plan, trust=trust)


def _agreement(measured: dict[str, Any]) -> str:
    accuracy = f", mAP {measured['mAP']:.2f}" if "mAP" in measured else ""
    share = f"{100 * measured['tag_sets']:.1f} % of {measured['photos']} images"
    return f"{measured['inference_ms']:.2f} ms, same tags as fp32 on {share}{accuracy}"
