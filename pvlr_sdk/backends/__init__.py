"""Backends run one loaded plan. The manifest names the backend; a tagger sees only the interface :class:`Backend`.

The package of each backend in :data:`pvlr_sdk.bundle.schema.BACKENDS` has a function
``load(bundle, precision, num_threads, *, throughput, fresh, trusted)`` that returns a :class:`Backend`.
"""

from __future__ import annotations

import os
from importlib import import_module
from typing import TYPE_CHECKING

from .. import errors
from ..bundle.schema import BACKENDS, DEVICES, PRECISIONS
from .backend import Backend, Slot

if TYPE_CHECKING:
    from ..bundle.bundle import Bundle

ALLOW_UNSIGNED = "PVLR_ALLOW_UNSIGNED"
"""Environment variable: 1 allows plans that are code without a verified signature."""

__all__ = ["Backend", "Slot", "open_backend"]


def open_backend(
    bundle: Bundle,
    device: str = "auto",
    precision: str | None = None,
    num_threads: int | None = None,
    optimize: str = "latency",
    *,
    fresh: bool = False,
    allow_unsigned: bool | None = None,
) -> Backend:
    """Load a bundle's payload on the backend that its manifest names.

    Args:
        bundle: the verified bundle.
        device: ``auto`` (the plan's own), ``cpu`` or ``tensorrt``.
        precision: ``auto``, ``fp32`` or ``bf16``, for a quantised plan ``int8``; None: the manifest's precision. A
            TensorRT plan only runs in the precision that it was built in.
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
    errors.check_choice("device", device, ("auto", *DEVICES))
    errors.check_choice("optimize", optimize, ("latency", "throughput"))
    if precision is not None:
        errors.check_choice("precision", precision, ("auto", *PRECISIONS))
    if num_threads is not None and (type(num_threads) is not int or num_threads < 1):
        raise errors.OptionError(
            "num_threads",
            expected="an integer of at least 1, or None",
            got=repr(num_threads),
            hint="None uses all cores that this process may use.",
        )
    name = bundle.manifest.backend
    target = BACKENDS[name].device
    if device not in ("auto", target):
        hint = f"Build one with pvlr build --device {device}, or omit the device."
        raise errors.BackendError(str(bundle.path), expected=f"a plan for {device}", got=f"one for {target}", hint=hint)
    if allow_unsigned is None:
        allow_unsigned = os.environ.get(ALLOW_UNSIGNED) == "1"
    trusted = bundle.trusted or allow_unsigned
    if BACKENDS[name].runs_code and not trusted:
        raise errors.NotSignedError(
            str(bundle.path),
            expected=f"a plan with a verified signature, because a {name} plan is code",
            got="one whose signature was not verified",
            hint="Sign it and set PVLR_TRUST, or use --allow-unsigned (allow_unsigned=True) if you built it yourself.",
        )
    backend: Backend = import_module(f".{name}", __package__).load(
        bundle, precision, num_threads, throughput=optimize == "throughput", fresh=fresh, trusted=trusted
    )
    return backend
