"""Names that the exporter, the compiler, the backends and the manifest share. Each is defined here and nowhere else."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, NamedTuple, TypeAlias, get_args

IMAGE = "image"
LOGITS = "logits"
SIMILARITY = "similarity"
"""An exported network's input and its two outputs."""
LABELS = "labels"
LABEL_BIASES = "label_biases"
LABEL_MASK = "label_mask"
LABEL_GAINS = "label_gains"
LABEL_WEIGHTS = "label_weights"
"""The further inputs of an open network: its label bank."""
FEATURES = "features"
"""The further output of an open network: what labels are taught on."""
PROJECTION = "label_projection."
"""Begin of the names of the tensors between the part of an open network for labels and its part for frames."""

Precision: TypeAlias = Literal["fp32", "fp16", "bf16", "int8"]
PlanPrecision: TypeAlias = Literal["auto", Precision]
Attention: TypeAlias = Literal["native", "fused"]
"""ONNX operators, or the operators of the plugin library."""
OperatingPoint: TypeAlias = Literal["f1", "precise"]
"""The thresholds of a plan: those chosen for the best F1, and those at which at least 90 % of the tags are correct."""
Optimize: TypeAlias = Literal["latency", "throughput"]
Hardware: TypeAlias = Literal["this", "capability", "ampere+"]
"""GPUs that a TensorRT plan runs on: one model, one compute capability, or Ampere and newer."""
PRECISIONS: tuple[Precision, ...] = get_args(Precision)
ATTENTIONS: tuple[Attention, ...] = get_args(Attention)
OPERATING_POINTS: tuple[OperatingPoint, ...] = get_args(OperatingPoint)
HARDWARE: tuple[Hardware, ...] = get_args(Hardware)
MAX_LABEL_LENGTH = 1000
"""Characters of a label."""


class Target(NamedTuple):
    """The device that a backend runs on, as users name it, and the precisions of its plans.

    ``runs_code``: its plans are code, which only a signature or the user can vouch for. ``others``: further kinds of
    device that run the same plans.
    """

    device: str
    precisions: tuple[str, ...]
    runs_code: bool = False
    others: tuple[str, ...] = ()


BACKENDS = {
    "openvino": Target("cpu", ("fp32", "bf16", "int8"), others=("gpu", "npu")),
    "tensorrt": Target("tensorrt", PRECISIONS, runs_code=True),
}
"""A new backend is a line here, a package of this name in ``backends`` and a builder in ``compile.build.BUILDERS``."""
DEVICES = tuple(target.device for target in BACKENDS.values())
"""What a plan is built for."""
RUN_DEVICES = (*DEVICES, *(other for target in BACKENDS.values() for other in target.others))
"""What a plan runs on."""

if TYPE_CHECKING:  # a static type cannot be derived from a tuple
    Backend: TypeAlias = str
else:
    Backend = Literal[tuple(BACKENDS)]
