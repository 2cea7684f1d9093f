"""Backends run one loaded plan. The manifest says which one a plan needs; a tagger sees only this interface."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Protocol

from .. import errors

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from ..bundle import Bundle
    from ..device_frames import DeviceFrame
    from ..frames import Frame
    from ..preprocess import Preprocessor

DEVICES = ("auto", "cpu", "tensorrt")
GOALS = ("latency", "throughput")
PRECISIONS = ("auto", "fp32", "bf16", "int8")
"""What a CPU can compute in."""
_ALL_PRECISIONS = (*PRECISIONS, "fp16")


class Slot(Protocol):
    """The buffers of one inference. A slot belongs to one thread from ``acquire`` to ``release``."""

    input: NDArray[np.float32]
    """(3, H, W), planes or a view of packed pixels: write the preprocessed frame here, in place, before ``start``."""

    def load(self, frame: Frame | DeviceFrame, preprocess: Preprocessor) -> None:
        """Preprocess a frame into the input, wherever that is fastest; instead of writing to ``input``.

        Raises:
            FrameError: the frame can't be used here.
        """

    def start(self) -> None:
        """Begin the inference; returns before it has ended.

        Raises:
            BackendError: the inference failed.
        """

    def wait(self) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Logits (C,) and similarity (N, C), once they are there: views that the slot's next inference overwrites.

        Raises:
            BackendError: the inference failed.
        """


class Backend(Protocol):
    """A loaded plan. All methods may be called from several threads at once."""

    info: dict[str, Any]
    """Facts for people: backend, device, precision, threads, version."""

    precision: str
    """The precision it really computes in: a key of the manifest's ``golden.tolerance``."""

    parallel: int
    """How many inferences at once keep the device busy; more only wait."""

    together: int = 1
    """How many frames one inference may take."""

    def acquire(self) -> Slot:
        """A slot that nobody else uses."""

    def release(self, slot: Slot) -> None:
        """Give a slot back whose inference has ended."""

    def acquire_group(self) -> Sequence[Slot]:
        """As many slots as ``together`` says, whose one inference begins with the start of the last."""
        return [self.acquire()]

    def release_group(self, group: Sequence[Slot]) -> None:
        """Give a group back whose inference has ended."""
        self.release(*group)


def open_backend(
    bundle: Bundle,
    device: str = "auto",
    precision: str | None = None,
    num_threads: int | None = None,
    optimize: str = "latency",
) -> Backend:
    """Load a bundle's payload on the backend that its manifest names.

    Args:
        bundle: the verified bundle.
        device: ``auto`` (what the plan is for), ``cpu`` or ``tensorrt``.
        precision: ``auto``, ``fp32`` or ``bf16``, for a quantised plan ``int8``; None: what the manifest says. A
            TensorRT plan has the precision that it was built with and no other.
        num_threads: threads of a CPU engine; None: the cores that this process may use.
        optimize: ``latency`` (all threads share each inference) or ``throughput`` (several inferences at once).

    Raises:
        OptionError: an argument is none of these.
        BackendError: this plan, device or precision does not run on this machine; PlanMismatchError says what does not
            fit a TensorRT plan.
        ModelError: the payload is no PVLR network.
        MissingPartError: the backend's library is not installed.
    """
    check_choice("device", device, DEVICES)
    check_choice("optimize", optimize, GOALS)
    if precision is not None:
        check_choice("precision", precision, _ALL_PRECISIONS)
    if num_threads is not None and (type(num_threads) is not int or num_threads < 1):
        raise errors.OptionError(
            "num_threads",
            expected="a whole number of at least 1, or None",
            got=repr(num_threads),
            hint="None takes all the cores that this process may use.",
        )
    manifest = bundle.manifest
    here = {"openvino": "cpu", "tensorrt": "tensorrt"}[manifest.backend]
    if device not in ("auto", here):
        raise errors.BackendError(
            str(bundle.path),
            expected=f"a plan for {device}",
            got=f"one for {here}",
            hint=f"Build one with pvlr build --device {device}, or leave the device out.",
        )
    if manifest.backend == "tensorrt":
        if precision not in (None, "auto", manifest.precision):
            raise errors.OptionError(
                "precision",
                expected=manifest.precision,
                got=repr(precision),
                hint="A TensorRT plan has one precision: export and build another one.",
            )
        from .tensorrt import TensorRtBackend

        return TensorRtBackend(bundle, throughput=optimize == "throughput")
    precision = _resolved(precision, manifest.precision)
    from .openvino import Network, OpenVinoBackend

    network = Network(
        source=str(bundle.path),
        payload=bundle.payload,
        sha256=manifest.files["plan"].sha256,
        input_shape=(1, 3, manifest.input.height, manifest.input.width),
        tokens=manifest.attention.rows * manifest.attention.columns,
        labels=len(manifest.labels),
        fp32_until=manifest.fp32_until,
    )
    return OpenVinoBackend(network, precision, num_threads, throughput=optimize == "throughput")


def _resolved(wanted: str | None, built: str) -> str:
    """The precision to run a plan in: quantised weights have no other, and other weights can't be run in int8."""
    if wanted is None or wanted == built or (wanted == "auto" and built == "int8"):
        return built
    if built == "int8":
        hint = "This plan's weights are quantised: build another one with --precision auto."
        raise errors.OptionError("precision", expected="int8 or auto", got=repr(wanted), hint=hint)
    if wanted == "fp16":
        hint = "fp16 is for TensorRT plans."
        raise errors.OptionError("precision", expected="auto, fp32 or bf16", got="'fp16'", hint=hint)
    if wanted == "int8":
        hint = "Build a quantised plan with --precision int8 --calibrate DIR."
        raise errors.OptionError("precision", expected="auto, fp32 or bf16", got="'int8'", hint=hint)
    return wanted


def check_choice(argument: str, value: str, choices: tuple[str, ...], hint: str = "Take one of these.") -> None:
    """Raises:
    OptionError: ``value`` is none of the choices.
    """
    if value not in choices:
        raise errors.OptionError(argument, expected=f"one of {', '.join(choices)}", got=repr(value), hint=hint)
