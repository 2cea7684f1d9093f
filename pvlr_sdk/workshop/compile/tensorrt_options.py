"""Build options of TensorRT plans."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Literal

from ... import errors
from ...bundle.schema import ATTENTIONS, HARDWARE, Attention, Hardware

_LARGEST_BATCH = 1024


@dataclass(frozen=True)
class Batch:
    """The smallest and the largest batch of a plan, which have kernels of their own; ``opt`` is recorded only."""

    min: int = 1
    opt: int = 1
    max: int = 1

    @classmethod
    def parse(cls, text: str) -> Batch:
        """Parse ``1:4:8`` (min, opt, max), or one number for all three.

        Raises:
            OptionError: it is neither, or the numbers do not increase from at least 1 to at most 1024.
        """
        parts = text.split(":")
        numbers = [int(part) for part in parts if part.isascii() and part.isdigit()]
        if len(numbers) == len(parts) in (1, 3):
            smallest, opt, largest = numbers if len(numbers) == 3 else numbers * 3
            if 1 <= smallest <= opt <= largest <= _LARGEST_BATCH:
                return cls(smallest, opt, largest)
        raise errors.OptionError(
            "batch",
            f"MIN:OPT:MAX, increasing, from 1 to {_LARGEST_BATCH}, or one number",
            repr(text),
            "--batch 1:1:8 is for single frames and for batches of up to 8.",
        )

    def __str__(self) -> str:
        return f"{self.min}:{self.opt}:{self.max}"


@dataclass(frozen=True)
class BuildOptions:
    """How TensorRT builds a plan.

    Args:
        batch: batch sizes of the plan.
        attention: ``native`` (TensorRT's own layers), ``fused`` (the plugins), or ``auto``: builds both and keeps the
            faster one that passes the accuracy gate.
        workspace: scratch memory per layer in MiB; None: no limit.
        hardware: GPUs that the plan runs on: ``this`` model, all of the same compute ``capability``, or ``ampere+``.
            A wider choice is slower, and Jetson boards only support ``this``.
        version_compatible: newer versions of TensorRT can run the plan too, with this version's lean runtime.
        dla: the core of a Jetson's deep learning accelerator for the layers that it supports (fp16, int8); None: GPU.
            Experimental.
        verbose: include TensorRT's detailed messages in the log, which can be many megabytes, and the description of
            the layers in the plan, for TensorRT's engine inspector.
        maps: compute what attention maps need. Without it, ``TagResult.attention`` is an error.

    Raises:
        OptionError: a value is invalid.
    """

    batch: Batch = Batch(1, 1, 8)
    attention: Literal["auto", Attention] = "auto"
    workspace: int | None = None
    hardware: Hardware = "this"
    version_compatible: bool = False
    dla: int | None = None
    verbose: bool = False
    maps: bool = True

    def chosen(self) -> list[str]:
        """The names of the options that differ from their defaults."""
        return [field.name for field in fields(self) if getattr(self, field.name) != field.default]

    def __post_init__(self) -> None:
        errors.check_choice("attention", self.attention, ("auto", *ATTENTIONS))
        errors.check_choice("hardware", self.hardware, HARDWARE)
        if self.workspace is not None and self.workspace < 1:
            raise errors.OptionError(
                "workspace", "at least 1 MiB", str(self.workspace), "Omit it for no limit."
            )
        if self.dla is not None and self.dla < 0:
            raise errors.OptionError(
                "dla", "a core, 0 or 1", str(self.dla), "Omit it to use the GPU."
            )
        if self.dla is not None and self.batch.min != self.batch.max:
            raise errors.OptionError(
                "batch", "a single size for the DLA", str(self.batch), "For example --batch 1."
            )
