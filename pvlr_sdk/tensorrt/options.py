"""What may be chosen about a TensorRT plan."""

from __future__ import annotations

from dataclasses import dataclass, fields

from .. import errors
from ..backends import check_choice

ATTENTIONS = ("auto", "fused", "native")
HARDWARE = ("this", "capability", "ampere+")
PRECISIONS = ("auto", "fp32", "fp16", "bf16", "int8")
_LARGEST_BATCH = 1024


@dataclass(frozen=True)
class Batch:
    """The smallest, the most usual and the largest batch of a plan; kernels are chosen for the most usual one."""

    least: int = 1
    usual: int = 1
    most: int = 1

    @classmethod
    def parse(cls, text: str) -> Batch:
        """``1:4:8`` (least, usual, most) or one number for all three.

        Raises:
            OptionError: it is neither, or the numbers don't rise from at least 1 to at most 1024.
        """
        parts = text.split(":")
        numbers = [int(part) for part in parts if part.isascii() and part.isdigit()]
        if len(numbers) == len(parts) in (1, 3):
            least, usual, most = numbers if len(numbers) == 3 else numbers * 3
            if 1 <= least <= usual <= most <= _LARGEST_BATCH:
                return cls(least, usual, most)
        raise errors.OptionError(
            "batch",
            expected=f"LEAST:USUAL:MOST, rising from 1 to at most {_LARGEST_BATCH}, or one number",
            got=repr(text),
            hint="--batch 1:1:8 runs single frames and batches of up to 8.",
        )

    def __str__(self) -> str:
        return f"{self.least}:{self.usual}:{self.most}"


@dataclass(frozen=True)
class BuildOptions:
    """How TensorRT builds a plan.

    Args:
        batch: batches that the plan takes.
        attention: ``native`` (TensorRT's own layers), ``fused`` (our plugin), or ``auto``: both are built, and the
            faster one that passes the accuracy gate is kept.
        workspace: MiB of scratch memory that a layer may take; None: all there is.
        hardware: GPUs that the plan runs on: ``this`` model, all of the same compute ``capability``, or ``ampere+``.
            Wider is slower, and a Jetson takes ``this`` alone.
        version_compatible: newer versions of TensorRT run the plan too, with this version's lean runtime beside them.
        dla: the core of a Jetson's deep learning accelerator to use for what it can do (fp16, int8); None: the GPU.
        verbose: keep TensorRT's detailed messages in the log, which may be many megabytes.

    Raises:
        OptionError: a value can't be.
    """

    batch: Batch = Batch(1, 1, 8)
    attention: str = "auto"
    workspace: int | None = None
    hardware: str = "this"
    version_compatible: bool = False
    dla: int | None = None
    verbose: bool = False

    def chosen(self) -> list[str]:
        """The names of what is not as it is by default."""
        return [field.name for field in fields(self) if getattr(self, field.name) != field.default]

    def __post_init__(self) -> None:
        check_choice("attention", self.attention, ATTENTIONS)
        check_choice("hardware", self.hardware, HARDWARE)
        if self.workspace is not None and self.workspace < 1:
            raise errors.OptionError(
                "workspace", expected="at least 1 MiB", got=str(self.workspace), hint="Leave it out for all there is."
            )
        if self.dla is not None and self.dla < 0:
            raise errors.OptionError(
                "dla", expected="a core, 0 or 1", got=str(self.dla), hint="Leave it out for the GPU."
            )
        if self.dla is not None and self.batch.least != self.batch.most:
            raise errors.OptionError(
                "batch", expected="one size, for the DLA", got=str(self.batch), hint="For example --batch 1."
            )
