"""Backends run one loaded plan. The manifest names the backend; a tagger sees only the interface :class:`Backend`.

The package of each backend in :data:`pvlr_sdk.bundle.schema.BACKENDS` has a function
``load(bundle, precision, num_threads, *, device, throughput, fresh, trusted)`` that returns a :class:`Backend`.
"""

from __future__ import annotations

import os
import re
from importlib import import_module
from typing import TYPE_CHECKING, get_args

from .. import errors
from ..bundle.schema import BACKENDS, PRECISIONS, RUN_DEVICES, Optimize, PlanPrecision
from .backend import Backend, Slot

if TYPE_CHECKING:
    from ..bundle.bundle import Bundle

ALLOW_UNSIGNED = "PVLR_ALLOW_UNSIGNED"
"""Environment variable: 1 allows plans that are code without a verified signature."""

__all__ = ["Backend", "Slot", "open_backend"]


def open_backend(
    bundle: Bundle,
    device: str = "auto",
    precision: PlanPrecision | None = None,
    num_threads: int | None = None,
    optimize: Optimize = "latency",
    *,
    fresh: bool = False,
    allow_unsigned: bool | None = None,
) -> Backend:
    """Load a bundle's payload on the backend that its manifest names.

    Args:
        bundle: the verified bundle.
        device: ``auto`` (the plan's own), ``cpu`` or ``tensorrt``; for a plan for the CPU also ``gpu`` or ``npu``,
            Intel's, or OpenVINO's name of a device (``CPU``, ``GPU.1``).
        precision: ``auto``, ``fp32`` or ``bf16``, on another device than the CPU ``fp16``, for a plan with ranges
            ``int8``; None: the manifest's precision. A TensorRT plan only runs in the precision that it was built in.
        num_threads: threads of a CPU engine; None: the cores that this process may use.
        optimize: ``latency`` (all threads share each inference) or ``throughput`` (several concurrent inferences).
        fresh: compile anew and replace what the cache of compiled networks has.
        allow_unsigned: trust the plan although its signature was not verified: a TensorRT plan, which is code that
            runs in this process, is loaded, and one for a CPU has no isolated load; None: only if
            ``PVLR_ALLOW_UNSIGNED`` is 1.

    Raises:
        OptionError: an argument is invalid.
        BackendError: the plan, device or precision does not run on this machine. PlanMismatchError lists every
            mismatch between a TensorRT plan and this machine.
        ModelError: the payload is not a PVLR network.
        IsolatedLoadError: the process that loaded the plan first crashed, or exceeded a limit.
        NotSignedError: it is a TensorRT plan whose signature was not verified.
        MissingPartError: the backend's library is not installed.
    """
    kind = _kind(device)
    errors.check_choice("device", kind, ("auto", *RUN_DEVICES))
    errors.check_choice("optimize", optimize, get_args(Optimize))
    if precision is not None:
        errors.check_choice("precision", precision, ("auto", *PRECISIONS))
    if num_threads is not None and (type(num_threads) is not int or num_threads < 1):
        raise errors.OptionError(
            "num_threads",
            "an integer of at least 1, or None",
            repr(num_threads),
            "None uses all cores available to the process.",
        )
    name = bundle.manifest.backend
    target = BACKENDS[name]
    if kind not in ("auto", target.device, *target.others):
        (needed,) = (
            backend_info.device
            for backend_info in BACKENDS.values()
            if kind in (backend_info.device, *backend_info.others)
        )
        raise errors.BackendError(
            str(bundle.path),
            f"a plan for {needed}",
            f"one for {target.device}",
            f"Build one with pvlr build --device {needed}, or omit the device.",
        )
    if allow_unsigned is None:
        allow_unsigned = os.environ.get(ALLOW_UNSIGNED) == "1"
    trusted = bundle.trusted or allow_unsigned
    if target.runs_code and not trusted:
        raise errors.NotSignedError(
            str(bundle.path),
            f"a plan with a verified signature, because a {name} plan is code",
            "one whose signature was not verified",
            "Sign it and set PVLR_TRUST, or set PVLR_ALLOW_UNSIGNED=1 if you built it yourself.",
        )
    backend: Backend = import_module(f".{name}", __package__).load(
        bundle,
        precision,
        num_threads,
        device=device,
        throughput=optimize == "throughput",
        fresh=fresh,
        trusted=trusted,
    )
    return backend


def _kind(device: str) -> str:
    """``gpu`` of ``GPU.1``: OpenVINO's devices may be given as it names them; other devices as they are.

    Not its combinations of devices (``AUTO``, ``HETERO:GPU,CPU``): they may compute the frames on another device than
    the golden one of the self-test.
    """
    if isinstance(device, str) and re.fullmatch(r"CPU|(GPU|NPU)(\.[0-9]+)?", device, re.IGNORECASE):
        return device.partition(".")[0].lower()
    return device
