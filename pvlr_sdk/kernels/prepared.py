"""Kernel calls that are checked once and run many times."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from .. import errors
from . import attention, tag_head
from .tensors import Call

_CHECKS: dict[Callable[..., Any], Callable[..., Call]] = {
    attention.dual_softmax_attention: attention.check,
    tag_head.tag_head: tag_head.check,
}


class Prepared:
    """A call of a kernel with checked arguments and allocated outputs; :func:`prepare` creates it.

    Call it without arguments to run with the arrays that it was prepared with, whose contents may have changed, or with
    other arrays of the same shapes, strides, dtypes and device in their place. Only these are compared. All other
    arguments stay, and every call writes to the same outputs, so two threads must not call it at the same time.

    Attributes:
        out: the outputs, which every call returns.
    """

    def __init__(self, call: Call) -> None:
        self._call = call
        self._run = call.arguments.run(*call.given, prepare=True)
        self.out = call.out

    def __call__(self, *arrays: Any) -> Any:
        """Run the kernel and return the outputs.

        Raises:
            OptionError: an array differs from the prepared one, or overlaps an output; the error names it.
            DeviceError: the device refused the launch.
        """
        if self._ran(arrays) or self._ran(self._tensors(arrays)):
            return self.out
        raise self._difference(arrays)

    def _ran(self, arrays: Sequence[Any]) -> bool:
        """Whether the core accepted the arrays."""
        try:
            return bool(self._run(*arrays))
        except (ValueError, RuntimeError) as error:
            raise self._call.arguments.refused(error) from error

    def _tensors(self, arrays: tuple[Any, ...]) -> list[Any]:
        """Arrays of other libraries than NumPy."""
        if len(arrays) != len(self._call.inputs):
            expected = f"no arrays, or {len(self._call.inputs)} ({', '.join(self._call.inputs)})"
            raise self._call.arguments.wrong("arrays", expected, str(len(arrays)))
        return [self._call.arguments.view(name, one) for name, one in zip(self._call.inputs, arrays, strict=True)]

    def _difference(self, arrays: tuple[Any, ...]) -> errors.OptionError:
        """Why the core did not accept the arrays."""
        for name, tensor, prepared in zip(self._call.inputs, self._tensors(arrays), self._call.given, strict=False):
            added = len(prepared.shape) - len(tensor.shape)  # the batch axis of a shared label bank
            expected = prepared.type, prepared.shape[added:], prepared.strides[added:]
            if added not in (0, 1) or (tensor.type, tensor.shape, tensor.strides) != expected:
                texts = ["{} {} with strides {}".format(*expected), f"{tensor.type} {tensor.shape}"]
                return self._call.arguments.wrong(name, texts[0], f"{texts[1]} with strides {tensor.strides}")
        return self._call.arguments.wrong("arrays", "memory apart from the outputs", "an overlap")


def prepare(kernel: Callable[..., Any], *arrays: Any, **options: Any) -> Prepared:
    """Check the arguments of a kernel call and allocate its outputs, once for many calls.

    For small arrays the checks take longer than the kernel::

        attend = prepare(dual_softmax_attention, q_x, k_t, v_x, v_t)
        o_x, o_t = attend()  # the same arrays with new contents
        o_x, o_t = attend(q, k, v, w)  # other arrays of the same layout

    Args:
        kernel: :func:`dual_softmax_attention` or :func:`tag_head`.
        arrays, options: its arguments.

    Raises:
        OptionError: the kernel is another function, or an argument is invalid.
        MissingPartError: the arrays are on a GPU and the core was built without CUDA, or the core is not installed.
    """
    check = _CHECKS.get(kernel)
    if check is None:
        names = " or ".join(one.__name__ for one in _CHECKS)
        hint = "Other kernels have no prepared call."
        raise errors.OptionError("kernel", expected=f"the function {names}", got=repr(kernel), hint=hint)
    return Prepared(check(*arrays, **options))
