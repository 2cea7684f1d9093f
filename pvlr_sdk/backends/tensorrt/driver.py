"""Opens the CUDA interface: on pycuda, or where that is not installed on the driver's library."""

from __future__ import annotations

import importlib.util
import logging

from ... import errors
from . import libcuda
from .cuda import CudaError

_log = logging.getLogger(__name__)

_open: dict[str, libcuda.Driver] = {}


def open_cuda() -> libcuda.Driver:
    """The interface on pycuda, or without pycuda on the driver's library; every call returns the same object.

    Raises:
        MissingPartError: there is no driver or no GPU.
    """
    if "cuda" not in _open:
        try:
            _open["cuda"] = find_driver()()
        except (OSError, AttributeError, CudaError) as error:
            raise errors.MissingPartError(
                "CUDA",
                "an NVIDIA GPU with its driver",
                str(error),
                "Install NVIDIA's driver (in a container, its runtime); pvlr doctor shows what is missing.",
            ) from error
    return _open["cuda"]


def find_driver() -> type[libcuda.Driver]:
    """The class of the interface that this environment has."""
    try:
        from .on_pycuda import Driver
    except ImportError as error:
        # built for another driver or Python, or there is no driver
        if importlib.util.find_spec("pycuda") is not None:
            _log.warning(
                "pycuda cannot be imported, so the driver's library is used without it: %s", error
            )
        return libcuda.Driver
    return Driver
