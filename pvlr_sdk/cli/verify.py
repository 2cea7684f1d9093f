"""``pvlr verify``: a comparison of a plan with its network."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import typer
from typer import Option

from .. import errors
from . import option_groups, options

if TYPE_CHECKING:
    from ..workshop.compile.verify import Verification


def verify(
    plan: options.Plan,
    *,
    images: options.Images,
    against: Path = Option(..., metavar="MODEL.onnx", help="The fp32 network behind the plan."),
    labels: options.OptionalLabels = None,
    split: options.Split = None,
    rename: options.Map = None,
    min_agreement: float | None = Option(
        None,
        metavar="SHARE",
        min=0,
        max=1,
        help="Minimum share of images with the same tags as fp32.",
        show_default="that of the plan's build; 0.98",
    ),
    as_json: options.Json = False,
    machine: option_groups.Machine,
) -> None:
    """Compare a plan with its fp32 network.

    Compares logits, tags and, with --labels, the mAP. The plan runs as it is
    deployed on this machine, the network in OpenVINO on the CPU. The exit status
    is 1 if too few images keep their tags.

    \b
    [bold]Examples[/bold]
    pvlr verify engine.plan --against model.onnx --images photos/
    pvlr verify engine.plan --against model.onnx --images photos/ \\
      --labels labels.csv --split val --json
    """
    from ..tagger import Tagger
    from ..workshop.compile.calibration import CalibrationImages
    from ..workshop.compile.gate import least_agreement
    from ..workshop.compile.verify import verify as measure
    from ..workshop.evaluation.labels_csv import parse_renames, read_labels
    from .screen import Screen, complain, print_json, report_failed

    with Tagger(plan, **machine.arguments) as tagger:
        if labels is None:
            photos = CalibrationImages.below(images, "--images")
        else:
            table = read_labels(labels, split, tagger.labels, parse_renames(rename or []))
            photos = CalibrationImages.listed(images, table, "--images")
        with Screen(len(photos.frames), "Verifying") as screen:
            result = measure(tagger, against, photos.frames, photos.targets, screen.step)
        if min_agreement is None:
            limit = tagger.info["measured"].get(
                "min_agreement", least_agreement(tagger.info["precision"])
            )
        else:
            limit = min_agreement
        if as_json:
            print_json(
                {**result.to_dict(), "precision": tagger.info["precision"], "min_agreement": limit}
            )
        else:
            _print(
                result,
                f"{tagger.info['name']} ({tagger.info['precision']}) compared with {against.name}",
            )
    failed = report_failed(result.failed_images, len(photos.frames))
    try:
        result.agreement.check(limit, str(plan))
    except errors.AccuracyError as error:
        complain(error)
        raise typer.Exit(1) from None
    if failed:
        raise typer.Exit(2)


def _print(result: Verification, title: str) -> None:
    from .screen import print_facts

    measured = result.agreement
    average = None
    if measured.mAP is not None and measured.mAP_fp32 is not None:
        difference = measured.mAP - measured.mAP_fp32
        average = f"{measured.mAP:.2f}, fp32 {measured.mAP_fp32:.2f}, difference {difference:+.2f}"
    print_facts(
        title,
        [
            ("images", measured.photos),
            ("same tags", f"{100 * measured.tag_sets:.2f} %"),
            ("largest logit difference", f"{measured.largest_logit_difference:.4f}"),
            ("mean logit difference", f"{measured.mean_logit_difference:.4f}"),
            ("mAP", average),
        ],
    )
