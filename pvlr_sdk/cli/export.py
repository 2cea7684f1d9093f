"""``pvlr export`` and ``pvlr export-...``: a trained run as an ONNX network, a plan for other programs."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

from typer import Argument, Option

from .. import errors
from ..bundle.schema import ATTENTIONS, PRECISIONS
from . import option_groups, options
from .commands import training_module
from .options import words

if TYPE_CHECKING:
    from ..workshop.compile.calibration import CalibrationImages

_MAX_LABELS = 128


@dataclass(frozen=True)
class OpenNetwork:
    """A network whose labels are an input."""

    open_labels: Annotated[
        bool,
        Option("--open", help="Make the label bank an input that can change while the plan runs."),
    ] = False
    max_labels: Annotated[
        int | None,
        Option(
            min=1,
            metavar="N",
            help="Room for labels in an open network.",
            show_default=f"{_MAX_LABELS}",
        ),
    ] = None
    knowledge: Annotated[
        Path | None,
        Option(
            metavar="DIR",
            help="Photos without labels: also write a knowledge file for an open network.",
        ),
    ] = None
    captions: Annotated[
        Path | None,
        Option(
            metavar="CSV",
            help="Captions of photos in images/ beside the file: also learn everyday words.",
        ),
    ] = None

    def check(self) -> None:
        """Raises OptionError for an option that needs ``--open``."""
        of_open = {"--max-labels": self.max_labels, "--knowledge": self.knowledge}
        for option, value in of_open.items():
            if value is not None and not self.open_labels:
                raise errors.OptionError(option, "--open", "a closed network", "Add --open.")
        if self.captions is not None and self.knowledge is None:
            hint = "Name a folder of photos."
            raise errors.OptionError("--captions", "--knowledge", "no knowledge file", hint)


def export(
    run: Path = Argument(
        ...,
        metavar="RUN|MODEL.onnx",
        help="The folder that `pvlr train` wrote, a network that `pvlr export` wrote, or a CPU plan in fp32.",
    ),
    *,
    out: Path | None = Option(
        None,
        "--out",
        "-o",
        metavar="DIR",
        help="Folder for networks and label banks.",
        show_default="next to the input",
    ),
    size: options.Size = None,
    precision: str = Option(
        "fp32",
        help="Precision of the network: fp32, or for TensorRT fp16, bf16, int8.",
        autocompletion=words(*PRECISIONS),
    ),
    attention: str = Option(
        "native",
        help="native (ONNX operators) or fused (one node, for the TensorRT plugin).",
        autocompletion=words(*ATTENTIONS),
    ),
    open_network: OpenNetwork,
    calibration: option_groups.Calibration,
    min_agreement: float | None = Option(
        None,
        min=0,
        max=1,
        metavar="SHARE",
        help="Minimum share of images with the same tags as fp32; below it no network is written.",
        show_default="0.98; 0.9 for int8",
    ),
) -> None:
    """Export a trained model as an ONNX network.

    Writes the network and its label bank, ready for `pvlr build`. A RUN needs the
    extra \\[train]; int8, or converting a MODEL.onnx, needs \\[int8]. Keep fp32
    for a CPU: `pvlr build` selects the precision. TensorRT uses the precision of
    the network. A converted network is compared with fp32 before it is written.

    --size exports the network of a RUN for another input size than that of
    training, as model-SIZE.onnx. Choose its thresholds with `pvlr thresholds`
    after the build.

    \b
    [bold]Examples[/bold]
    pvlr export runs/my-photos
    pvlr export runs/my-photos --precision fp16
    pvlr export runs/my-photos --size 224
    pvlr export runs/my-photos --open --max-labels 128
    pvlr export runs/my-photos --open --knowledge photos/
    pvlr export model.onnx --precision int8 --calibration-images photos/
    """
    from ..errors import check_choice
    from ..workshop.compile.onnx.quantize import check_nncf

    check_choice("--precision", precision, PRECISIONS)
    check_choice("--attention", attention, ATTENTIONS)
    if precision == "int8":
        check_nncf()
    if out is not None and out.suffix == ".onnx":
        raise errors.OptionError(
            "--out", "a folder", f"{out}", "The folder contains the network as model.onnx."
        )
    sizes = [] if size is None else [options.parse_size(size)]
    if sizes:
        run = options.run_folder(run)
    open_network.check()
    exported = run.suffix in (".onnx", ".plan")
    converted = (precision, attention) != ("fp32", "native")
    if open_network.open_labels and (exported or converted):
        raise errors.OptionError(
            "--open",
            "a RUN in fp32 with native attention",
            f"{run} in {precision} with {attention} attention",
            "Name the folder that pvlr train wrote, and omit --precision and --attention.",
        )
    if exported and not converted:
        raise errors.OptionError(
            "--precision",
            "another precision, or --attention fused, for a network that is exported already",
            "fp32 and native attention",
            f"To build a plan from it, run pvlr build {run}.",
        )
    network = run if exported else _export_run(run, out, sizes, open_network)
    if converted:
        images = calibration.read(network.with_suffix(".labels.safetensors"))
        _convert(network, out or network.parent, precision, attention, images, min_agreement)


def _export_run(
    run: Path, out: Path | None, sizes: list[tuple[int, int]], open_network: OpenNetwork
) -> Path:
    """Write the network of a finished run in fp32, and print its path and that of its knowledge file."""
    folder = run.parent if run.is_file() else run  # also takes RUN/model.safetensors
    room = (open_network.max_labels or _MAX_LABELS) if open_network.open_labels else None
    exporter = training_module("export", "export")
    network: Path = exporter.export(folder, out or folder, *sizes, max_labels=room)
    print(network)
    if open_network.knowledge is not None:
        concepts = training_module("export", "concepts")
        learned = concepts.learn(
            folder, network, open_network.knowledge, *sizes, captions=open_network.captions
        )
        print(learned)
    return network


def _convert(
    network: Path,
    folder: Path,
    precision: str,
    attention: str,
    images: CalibrationImages | None,
    min_agreement: float | None,
) -> None:
    """Write a network in another precision or with fused attention, and print how it agrees with fp32."""
    from ..workshop.compile.export import export_as
    from .screen import note

    path, agreement = export_as(
        network,
        folder,
        precision=cast(Any, precision),
        attention=cast(Any, attention),
        calibration_images=images,
        min_agreement=min_agreement,
    )
    print(path)
    share = f"same tags as fp32 on {100 * agreement.tag_sets:.1f} % of {agreement.photos} images"
    accuracy = ""
    if agreement.mAP is not None:
        accuracy = f", mAP {agreement.mAP:.2f} (fp32 {agreement.mAP_fp32:.2f})"
    difference = f"largest logit difference {agreement.largest_logit_difference:.3f}"
    note(f"{precision}: {share}, {difference}{accuracy}")


def export_triton(
    plan: options.Plan,
    out: Path = Option(..., "--out", "-o", metavar="DIR", help="The model repository."),
    name: str | None = Option(
        None, metavar="NAME", help="Name of the model.", show_default="the plan's own"
    ),
    instances: int = Option(1, metavar="N", min=1, help="Processes."),
    threads: int = Option(
        0, metavar="N", min=0, help="Threads per process; 0: all cores.", rich_help_panel="Machine"
    ),
) -> None:
    """Write a plan as a model repository for NVIDIA Triton Inference Server.

    The model is one of the Python backend and needs this package in the server.
    Comments in config.pbtxt explain its values. Prints the model's folder.

    \b
    [bold]Examples[/bold]
    pvlr export-triton engine.plan --out repo/
    pvlr export-triton pvlr-lite0-open --out repo/ --instances 4 --threads 1
    """
    from ..workshop.export.triton import export_triton as export

    print(export(plan, out, name=name, instances=instances, threads=threads))


def export_openvino(
    plan: options.PlanArgument = None,
    out: Path = Option(
        ..., "--out", "-o", metavar="DIR", help="Folder of model.xml and model.bin."
    ),
    bank: options.Bank = None,
    operating_point: options.Point = "f1",
) -> None:
    """Write a plan as an OpenVINO model with its labels and preprocessing.

    OpenVINO Model API, Geti and DL Streamer read it. The labels are part of the
    network, and their thresholds are at a score of 0.5. An open plan needs the
    extra \\[int8]. Prints the path of model.xml.

    \b
    [bold]Examples[/bold]
    pvlr export-openvino --out model/
    pvlr export-openvino runs/my-photos/engine.plan --out model/
    """
    from ..workshop.export.model_api import export_openvino as export

    print(export(plan, out, bank=bank, operating_point=cast(Any, operating_point)))


def export_deepstream(
    plan: options.PlanArgument = None,
    out: Path = Option(
        ...,
        "--out",
        "-o",
        metavar="DIR",
        help="Folder of the network, its configuration and parser.",
    ),
    bank: options.Bank = None,
    operating_point: options.Point = "f1",
) -> None:
    """Write a plan as a classifier for NVIDIA DeepStream.

    The folder has model.onnx, labels.txt, nvinfer.txt for `nvinfer`, and
    parser.cpp, whose first lines say how to compile it. Needs the extra
    \\[int8]. Prints the path of nvinfer.txt.

    \b
    [bold]Examples[/bold]
    pvlr export-deepstream --out deepstream/
    """
    from ..workshop.export.deepstream import export_deepstream as export

    print(export(plan, out, bank=bank, operating_point=cast(Any, operating_point)))


def export_hub(
    plan: options.PlanArgument = None,
    out: Path = Option(..., "--out", "-o", metavar="DIR", help="The folder to push."),
    licence: str = Option(
        "other", "--license", metavar="ID", help="The Hub's identifier of the weights' licence."
    ),
) -> None:
    """Write a plan as a repository of the Hugging Face Hub.

    The folder has the plan, a model card with metadata, and config.json.
    Push it with `hf upload`; Tagger.from_pretrained opens it. Prints the folder.

    \b
    [bold]Examples[/bold]
    pvlr export-hub --out hub/ --license apache-2.0
    hf upload me/my-tagger hub/
    """
    from ..workshop.export.hugging_face import export_hub as export

    print(export(plan, out, licence=licence))


_FORMATS = ("csv", "coco", "cvat", "fiftyone", "label-studio")


def export_labels(
    results: Path = Argument(
        ..., metavar="TAGS", help="A dataset of `pvlr batch`, or lines of `pvlr tag --json`."
    ),
    out: Path = Option(..., "--out", "-o", metavar="FILE", help="The label file."),
    kind: str = Option(
        "csv", "--format", help=f"{', '.join(_FORMATS)}.", autocompletion=words(*_FORMATS)
    ),
) -> None:
    """Write tags as a label file, to correct them or to train on them.

    Label Studio shows them as predictions for choices named `tags`. `pvlr train`
    and `pvlr eval` read all formats, Label Studio's after its export.

    \b
    [bold]Examples[/bold]
    pvlr tag photos/ --json > tags.jsonl
    pvlr export-labels tags.jsonl --format cvat --out annotations.xml
    """
    from ..workshop.export.label_files import write_labels
    from ..workshop.export.results import read_results

    write_labels(read_results(results), out, kind)
    print(out)
