"""``pvlr build``: a plan from an exported network."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

from typer import Argument, Option

from ..bundle.schema import ATTENTIONS, DEVICES, HARDWARE, PRECISIONS
from . import option_groups, options
from .commands import training_module
from .info import print_info
from .options import models, words

if TYPE_CHECKING:
    from ..workshop.compile.tensorrt_options import BuildOptions

_tensorrt = partial(Option, rich_help_panel="TensorRT")


@dataclass(frozen=True)
class TensorRt:
    """How TensorRT builds a plan."""

    batch: Annotated[
        str | None,
        _tensorrt(
            metavar="MIN:OPT:MAX", help="Batch sizes of the plan; 1:1:8 by default, 1 with --dla."
        ),
    ] = None
    attention: Annotated[
        str,
        _tensorrt(
            help="native, fused (plugin), or auto: the faster one that passes the accuracy gate.",
            autocompletion=words("auto", *ATTENTIONS),
        ),
    ] = "auto"
    workspace: Annotated[
        int | None, _tensorrt(metavar="MIB", help="Limit of the scratch memory of a layer.")
    ] = None
    hardware: Annotated[
        str,
        _tensorrt(
            help="GPUs that run the plan: this (model), capability (same compute capability) or ampere+.",
            autocompletion=words(*HARDWARE),
        ),
    ] = "this"
    version_compatible: Annotated[
        bool,
        _tensorrt(
            "--version-compatible",
            help="Also run with newer TensorRT, in this version's lean runtime.",
        ),
    ] = False
    dla: Annotated[
        int | None,
        _tensorrt(metavar="CORE", help="DLA core of a Jetson (experimental); int8 or fp16."),
    ] = None
    maps: Annotated[
        bool,
        _tensorrt("--maps/--no-maps", help="Without attention maps less is computed and copied."),
    ] = True
    verbose: Annotated[bool, _tensorrt("--verbose", help="Log all messages of TensorRT.")] = False

    def build_options(self) -> BuildOptions:
        """The settings of the builder. Raises OptionError."""
        from ..workshop.compile.tensorrt_options import Batch, BuildOptions

        return BuildOptions(
            Batch.parse(self.batch or ("1:1:8" if self.dla is None else "1")),
            cast(Any, self.attention),
            self.workspace,
            cast(Any, self.hardware),
            self.version_compatible,
            self.dla,
            self.verbose,
            self.maps,
        )


def build(
    onnx: Path = Argument(
        ...,
        metavar="MODEL.onnx|PLAN|RUN",
        help="An exported network, a plan for the CPU, the name of a model, or with --size the folder of `pvlr train`.",
        autocompletion=models,
    ),
    out: Path | None = Option(
        None,
        "--out",
        "-o",
        metavar="PLAN",
        help="The plan to write.",
        show_default="engine.plan next to MODEL",
    ),
    *,
    size: options.Size = None,
    bank: Path | None = Option(
        None,
        metavar="FILE",
        help="The label bank. Of an open model, it becomes part of the plan.",
        show_default="MODEL.labels.safetensors beside MODEL",
    ),
    device: str = Option(
        "cpu", help="cpu, or tensorrt for the GPU of this machine.", autocompletion=words(*DEVICES)
    ),
    precision: str = Option(
        "auto",
        help="auto, fp32, bf16, int8, or fp16 (TensorRT).",
        autocompletion=words("auto", *PRECISIONS),
    ),
    calibration: option_groups.Calibration,
    min_agreement: float | None = Option(
        None,
        help="Minimum share of images with the same tags as fp32; below it no plan is written.",
        show_default="0.9; 0.98 for TensorRT except in int8",
    ),
    tensorrt: TensorRt,
    as_json: options.Json = False,
) -> None:
    """Build a plan from an exported network and its label bank.

    Writes the plan, its manifest (.json) and its label bank
    (.labels.safetensors). Keep the three files together.

    A TensorRT plan is built on the GPU that will run it; the log of TensorRT is
    written beside it as .build.log, and for an open model the part for labels as
    .labels.onnx, which belongs to the plan.

    With --calibration-images, the plan serves every CPU in half the bytes: its
    weights have 8 bits, and it runs in int8 where the CPU lacks bf16. Every
    precision is compared with fp32 on images that the quantisation did not see,
    and the plan runs in those that pass. Needs the extra \\[int8].

    An open model becomes an open plan. With --bank, it becomes a closed plan,
    with the same scores. All backends and runtimes run it. Needs the package
    onnx, as in \\[int8].

    With --size, RUN is exported at another input size than in its training (needs
    the extra \\[train]); the plan is engine-SIZE.plan. [bold]pvlr eval[/bold] measures it.

    \b
    [bold]Examples[/bold]
    pvlr build model.onnx
    pvlr build model.onnx --out plans/engine.plan --precision fp32
    pvlr build model.onnx --precision int8 --calibration-images photos/
    pvlr build model.onnx --calibration-images photos/ --labels labels.csv
    pvlr build model.onnx --device tensorrt --batch 1:1:8
    pvlr build pvlr-lite2-open --bank bank.safetensors --out plans/engine.plan
    pvlr build runs/my-photos --size 224
    """
    from ..models.find import find_plan
    from ..workshop.compile.build import build as build_plan
    from .screen import Phases

    build_options = tensorrt.build_options()
    if size is not None:
        wanted = options.parse_size(size)
        run = options.run_folder(onnx)
        onnx = training_module("build", "export").export(run, run, wanted)
    elif not (onnx.is_file() or onnx.suffix):
        onnx = find_plan(onnx)
        out = out or Path("engine.plan")  # beside the model it would replace its plan
    plan = out or onnx.with_name(
        "engine.plan" if size is None else f"{onnx.stem.replace('model', 'engine', 1)}.plan"
    )
    beside = bank or onnx.with_suffix(".labels.safetensors")
    with Phases() as phases:
        build_plan(
            onnx,
            plan,
            device=cast(Any, device),
            precision=cast(Any, precision),
            bank=bank,
            calibration_images=calibration.read(beside),
            min_agreement=min_agreement,
            options=build_options,
            watcher=phases,
        )
    print_info(plan, as_json, trust=False)  # a new plan has no signature yet
