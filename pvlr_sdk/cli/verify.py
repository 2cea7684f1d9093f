"""``pvlr verify``: does a plan still say what its network says?"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from .. import errors
from .options import DeviceOption, JsonOption, MapOption, PrecisionOption, ThreadsOption

if TYPE_CHECKING:
    from ..verify import Verification


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(name="verify", no_args_is_help=True)(verify)


def verify(
    plan: Annotated[Path, typer.Argument(metavar="PLAN", help="The plan.")],
    against: Annotated[Path, typer.Option(metavar="MODEL.onnx", help="The network that it was built from, in fp32.")],
    images: Annotated[Path, typer.Option(metavar="DIR", help="A folder of typical photos.")],
    labels: Annotated[
        Path | None,
        typer.Option(metavar="CSV", help="What they show, as for `pvlr eval`: measures the mAP as well."),
    ] = None,
    split: Annotated[str | None, typer.Option(help="Only the rows of this split of the CSV.")] = None,
    rename: MapOption = None,
    limit: Annotated[int | None, typer.Option(min=1, help="At most so many photos, taken evenly.")] = None,
    min_agreement: Annotated[
        float, typer.Option(min=0, max=1, help="The share of photos whose tags must be those of fp32.")
    ] = 0.98,
    as_json: JsonOption = False,
    device: DeviceOption = "auto",
    threads: ThreadsOption = None,
    precision: PrecisionOption = None,
) -> None:
    """Hold a plan against its network in fp32: logits, tags at the deployed thresholds and, with labels, the mAP.

    The plan runs where and as it would on this machine; the network runs in OpenVINO on the CPU. Ends with status 1
    if too few photos keep their tags.

    \b
    [bold]Examples[/bold]
    pvlr verify engine.plan --against model.onnx --images photos/
    pvlr verify engine.plan --against model.onnx --images photos/ --labels labels.csv --split val --json
    """
    from ..labels_csv import parse_renames, read_labels
    from ..precision import Photos
    from ..tagger import Tagger
    from ..verify import verify as measure
    from .screen import Screen, complain, note, print_json

    with Tagger(plan, device=device, num_threads=threads, precision=precision) as tagger:
        if labels is None:
            photos = Photos.below(images, "--images")
        else:
            table = read_labels(labels, split, tagger.labels, parse_renames(rename or []))
            photos = Photos.listed(images, table, "--images")
        photos = photos.evenly(limit)
        with Screen(len(photos.frames), "Verifying") as screen:
            result = measure(tagger, against, photos.frames, photos.targets, screen.step)
        if as_json:
            print_json({**result.to_dict(), "precision": tagger.info["precision"], "min_agreement": min_agreement})
        else:
            _print(result, f"{tagger.info['name']} ({tagger.info['precision']}) against {against.name}")
    for failed in result.failed_images:
        note(f"{failed['error']}: {failed['message']}")
    try:
        result.agreement.check(min_agreement, str(plan))
    except errors.AccuracyError as error:
        complain(error)
        raise typer.Exit(1) from None
    if result.failed_images:
        note(f"{len(result.failed_images)} of {len(photos.frames)} photos failed; the measures leave them out.")
        raise typer.Exit(2)


def _print(result: Verification, title: str) -> None:
    from .screen import print_facts

    figures = result.agreement
    average = None
    if figures.mAP is not None and figures.mAP_fp32 is not None:
        average = f"{figures.mAP:.2f}, fp32 {figures.mAP_fp32:.2f}, difference {figures.mAP - figures.mAP_fp32:+.2f}"
    print_facts(
        title,
        [
            ("photos", figures.photos),
            ("same tags", f"{100 * figures.tag_sets:.2f} %"),
            ("largest logit difference", f"{figures.largest_logit_difference:.4f}"),
            ("mean logit difference", f"{figures.mean_logit_difference:.4f}"),
            ("mAP", average),
        ],
    )
