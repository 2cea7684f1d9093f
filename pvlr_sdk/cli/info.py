"""``pvlr info`` and ``pvlr labels``: the contents of a plan."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from . import options

if TYPE_CHECKING:
    from ..bundle.manifest import LabelSpec


def info(plan: options.PlanArgument = None, as_json: options.Json = False) -> None:
    """Check the files of a plan, or a label bank, and describe it.

    \b
    [bold]Examples[/bold]
    pvlr info
    pvlr info plans/engine.plan --json
    pvlr info bank.safetensors
    """
    if plan is not None and plan.suffix == ".safetensors":
        _print_bank(plan, as_json)
    else:
        print_info(plan, as_json)


def labels(
    plan: options.PlanArgument = None, bank: options.Bank = None, as_json: options.Json = False
) -> None:
    """List the labels and thresholds of a plan or a label bank.

    In a pipe, each line is a label, a tab and its threshold, and a tab and its
    threshold for 90 % precision where there is one.

    \b
    [bold]Examples[/bold]
    pvlr labels
    pvlr labels engine.plan | cut -f1
    pvlr labels bank.safetensors
    """
    from .._util.escape import terminal
    from ..bundle.bundle import label_fields
    from ..bundle.label_bank import LabelBank
    from ..models.find import load_bundle
    from .screen import print_facts, print_json

    if bank is None and plan is not None and plan.suffix == ".safetensors":
        bank = plan
    if bank is None:
        bundle = load_bundle(plan)
        title = bundle.manifest.name
        label_bank = bundle.labels
    else:
        title = str(bank)
        label_bank = LabelBank.load(bank)
    listed = label_fields(label_bank)["labels"]
    if as_json:
        print_json([_label_row(label) for label in listed])
        return
    if not sys.stdout.isatty():
        for label in listed:
            print("\t".join((terminal(label.name), *map(str, _thresholds(label)))))
        return
    if label_bank.precise_thresholds is not None:
        title += ": thresholds f1, precise"
    rows = {label.name: _thresholds(label) for label in listed}
    print_facts(
        title,
        ((name, "  ".join(f"{point:.3f}" for point in points)) for name, points in rows.items()),
    )


def _label_row(label: LabelSpec) -> dict[str, Any]:
    from ..labels.tree import LabelTree

    row = label.model_dump()
    tree = LabelTree.packaged()
    relations = {
        "parents": tree.ancestors(label.name),
        "synonyms": tree.synonyms.get(label.name, []),
    }
    return {"label": row.pop("name"), **row, **relations}


def _thresholds(label: LabelSpec) -> list[float]:
    """The threshold, and that for 90 % precision where there is one."""
    points = (label.threshold, label.precise_threshold)
    return [point for point in points if point is not None]


def _print_bank(path: Path, as_json: bool) -> None:
    """Print the contents, the provenance and the signature of a label bank."""
    from ..bundle.bundle import label_fields
    from ..bundle.label_bank import LabelBank
    from .screen import print_facts, print_json

    bank = LabelBank.load(path)
    signature = bank.signature.to_dict() if bank.signature else None
    source = {key: value for key, value in bank.text.items() if key != "taught"}
    labels = [
        {**label.model_dump(), "taught": bank.taught.get(label.name)}
        for label in label_fields(bank)["labels"]
    ]
    facts: dict[str, Any] = {
        "bank": str(path),
        "sha256": bank.sha256,
        "signature": signature,
        "source": source,
    }
    if as_json:
        print_json({**facts, "labels": labels})
        return
    rows = {**facts, "signature": _verified(signature), "source": None}
    rows |= {f"source: {key}": value for key, value in source.items()}
    for name, label in zip(bank.names, labels, strict=True):
        row = {**label, **(label["taught"] or {}), "taught": None, "before": None, "name": None}
        rows[f"label: {name}"] = ", ".join(
            f"{key} {value}" for key, value in row.items() if value is not None
        )
    print_facts(
        f"{path.name}: {len(bank)} labels, {len(bank.taught)} of them taught or from words",
        rows.items(),
    )


def _verified(signature: dict[str, Any] | None) -> str | None:
    return (
        f"verified, key {signature['key']}, version {signature['version']}" if signature else None
    )


def print_info(plan: Path | None, as_json: bool, trust: Literal[False] | None = None) -> None:
    """Print the manifest of a plan without the golden frame, its path and who signed it; ``trust`` as for ``open``."""
    from ..models.find import load_bundle
    from .screen import precision_row, print_facts, print_json

    bundle = load_bundle(plan, trust=trust)
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
    size = facts["input"]
    grid = facts["attention"]
    measured = dict(facts["measured"])
    precisions = measured.pop("precisions", {})
    rows = [
        ("plan", facts["plan"]),
        ("backend", f"{facts['backend']}, precision {facts['precision']}"),
        ("input", f"{size['width']} x {size['height']}, {size['resize']}"),
        ("attention", f"{grid['rows']} x {grid['columns']}"),
        ("labels", f"{len(names)}: {', '.join(names[:6])}{', ...' if len(names) > 6 else ''}"),
        ("tiles", f"thresholds for {', '.join(facts['tiles'])}" if facts["tiles"] else None),
        *(
            (f"file {role}", f"{file['bytes']:,} bytes, SHA-256 verified")
            for role, file in facts["files"].items()
        ),
        ("signature", _verified(signature)),
        *((f"built: {key}", value) for key, value in facts["built"].items() if value),
        *((f"measured: {key}", value) for key, value in measured.items()),
        *((f"measured: {key}", precision_row(value)) for key, value in precisions.items()),
    ]
    print_facts(facts["name"], rows)
