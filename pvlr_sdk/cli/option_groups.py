"""Options that commands share in groups. A group is one parameter of a command, see :func:`.commands.flattened`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from typer import Option

from .. import errors
from ..bundle.schema import PRECISIONS
from . import options

if TYPE_CHECKING:
    from ..bundle.schema import PlanPrecision
    from ..labels.tree import LabelTree
    from ..workshop.compile.calibration import CalibrationImages
    from ..workshop.evaluation.labels_csv import LabelTable
else:  # typer reads it as text, which the SDK checks
    PlanPrecision = str


@dataclass(frozen=True)
class Model:
    """A plan, and labels that it uses instead of its own."""

    plan: options.PlanOption = None
    words: options.Words = None
    bank: options.Bank = None

    @property
    def words_list(self) -> list[str] | None:
        return options.split_words(self.words)

    @property
    def arguments(self) -> dict[str, Any]:
        """Arguments of :class:`.Tagger`."""
        return {"plan": self.plan, "words": self.words_list, "bank": self.bank}


@dataclass(frozen=True)
class Naming:
    """Parents, synonyms and names of labels, besides WordNet's."""

    names: options.Names = None
    language: Annotated[
        str | None, Option(metavar="CODE", help="Language of the tags in XMP, one of --names.")
    ] = None

    def tree(self, labels: Sequence[str] | None = None) -> LabelTree:
        """Raises what :meth:`.LabelTree.load` and :meth:`.LabelTree.checked` raise."""
        from ..labels.tree import LabelTree

        tree = LabelTree.load(self.names, labels)
        tree.checked(self.language)
        return tree


@dataclass(frozen=True)
class Tagging:
    """Which labels of an image become its tags, and how images are decoded."""

    threshold: options.TagThreshold = None
    operating_point: options.Point = "f1"
    top_k: Annotated[
        int | None,
        Option(
            "--top-k", "-k", help="Keep at most this many tags per image, the highest scores first."
        ),
    ] = None
    tiles: options.Tiles = None
    fast_jpeg: Annotated[
        bool,
        Option(
            "--fast-jpeg",
            help="Decode large JPEGs at reduced size: faster, with slightly different scores.",
        ),
    ] = False
    isolate: Annotated[
        bool,
        Option("--isolate", help="Decode images in restricted processes: for untrusted images."),
    ] = False

    @property
    def arguments(self) -> dict[str, Any]:
        """Arguments of :class:`.Tagger`."""
        return {
            "threshold": self.threshold,
            "operating_point": self.operating_point,
            "top_k": self.top_k,
            "tiles": self.tiles,
            "reduced_jpeg": self.fast_jpeg,
            "isolate": self.isolate,
        }


@dataclass(frozen=True)
class Machine:
    """Where and how a plan runs."""

    device: options.Device = "auto"
    threads: Annotated[
        int | None,
        options.machine("--threads", help="Threads per image.", show_default="all cores"),
    ] = None
    precision: Annotated[
        PlanPrecision | None,
        options.machine(
            "--precision",
            help="auto, fp32, bf16, fp16 (GPU, NPU), or int8 (plans with ranges).",
            show_default="set by the plan",
            autocompletion=options.words("auto", *PRECISIONS),
        ),
    ] = None
    allow_unsigned: options.AllowUnsigned = False  # sets the environment variable

    @property
    def arguments(self) -> dict[str, Any]:
        """Arguments of :class:`.Tagger`, and of what opens one."""
        return {
            "device": self.device,
            "num_threads": self.threads,
            "precision": self.precision,
        }


@dataclass(frozen=True)
class LabelledImages:
    """Images to measure on, and how frequent their labels are in use."""

    images: options.Images
    labels: Annotated[Path, Option("--labels", metavar="CSV", help="Labels of each image.")]
    split: options.Split = None
    rename: options.Map = None
    prevalence: options.Prevalence = None

    def table(self, names: Sequence[str]) -> LabelTable:
        """The images and their targets for a plan with these labels. Raises LabelsFileError."""
        from ..workshop.evaluation.labels_csv import parse_renames, read_labels

        return read_labels(self.labels, self.split, names, parse_renames(self.rename or []))


@dataclass(frozen=True)
class Calibration:
    """Images for the ranges of int8, and for the comparison with fp32."""

    calibration_images: Annotated[
        Path | None,
        Option(
            "--calibration-images",
            metavar="DIR",
            help="A few hundred representative images, for the int8 ranges and the accuracy check.",
        ),
    ] = None
    labels: options.OptionalLabels = None
    split: options.Split = None

    def read(self, bank: Path) -> CalibrationImages | None:
        """The images, with the targets of ``--labels`` for the labels of this bank.

        Raises:
            OptionError: ``--labels`` without ``--calibration-images``.
        """
        if self.calibration_images is None:
            if self.labels is not None:
                raise errors.OptionError(
                    "--labels",
                    "--calibration-images as well",
                    "--labels alone",
                    "Give the folder of the images that it describes.",
                )
            return None
        from ..bundle.label_bank import LabelBank
        from ..workshop.compile.calibration import CalibrationImages
        from ..workshop.evaluation.labels_csv import read_labels

        if self.labels is None:
            return CalibrationImages.below(self.calibration_images)
        names = LabelBank.load(bank, trust=False).names
        table = read_labels(self.labels, self.split, names)
        return CalibrationImages.listed(self.calibration_images, table)


@dataclass(frozen=True)
class Site:
    """The file of a site, and what holds for all of its cameras."""

    config: Annotated[
        Path | None,
        Option(
            "--config",
            "-c",
            metavar="SITE.yaml",
            help="Configuration of a site; other options extend or override it.",
        ),
    ] = None
    state: options.State = None
    check: Annotated[
        bool, Option("--check", help="Check configuration, plan and sinks, then exit.")
    ] = False
    print_config: Annotated[
        bool,
        Option(
            "--print-config",
            help="Print file, options and changes as one site file, with the origin of each setting, and exit.",
        ),
    ] = False
    systemd: Annotated[
        bool, Option("--systemd", help="Print a systemd unit for this command and exit.")
    ] = False
    device: options.Device = "auto"
    loop: Annotated[
        bool, Option("--loop", help="Restart the videos given as URI at their end.")
    ] = False
    tiles: options.CameraTiles = None


_event_option = partial(Option, rich_help_panel="Events")


@dataclass(frozen=True)
class Events:
    """Which events of a site are reported, and where they are written."""

    labels: Annotated[
        list[str] | None,
        _event_option("--label", "-l", metavar="LABEL", help="Report only LABEL; repeatable."),
    ] = None
    threshold: Annotated[
        list[str] | None,
        _event_option(
            "--threshold",
            metavar="[LABEL=]X",
            help="Score that an event must reach, for all labels or for one; repeatable.",
        ),
    ] = None
    min_duration: Annotated[
        float | None,
        _event_option(
            "--min-duration",
            metavar="SECONDS",
            min=0,
            help="Shortest event that is reported, 0.5 by default.",
        ),
    ] = None
    memory: Annotated[
        Path | None,
        _event_option(
            "--memory",
            "-m",
            metavar="DIR",
            help="Remember events here, for pvlr search, why, replay and precision.",
        ),
    ] = None
    files: Annotated[
        list[str] | None,
        _event_option(
            "--events",
            "-e",
            metavar="-|FILE",
            help="JSON lines in a file, or on stdout (-) as watch does by default.",
        ),
    ] = None
