"""A compiled network that threads share, each inference with a request of its own."""

from __future__ import annotations

import hashlib
import json
from collections import deque
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ... import __version__, errors
from ...cores import available_cores
from ...device_frames import DeviceFrame
from .. import Backend, Slot, cache
from .network import (
    INPUT,
    LOGITS,
    SIMILARITY,
    Network,
    check_outputs,
    compile_network,
    engine_options,
    open_core,
    precision_hint,
    reason,
    supports_bf16,
)

if TYPE_CHECKING:
    import openvino
    from numpy.typing import NDArray

    from ...frames import Frame
    from ...preprocess import Preprocessor


_TOGETHER = 2
"""Frames of one inference when it is throughput that counts. On two cores with 1 MB of L2 each, Lite2 in bf16 made 6 %
more frames a second by two than one by one, as weights are read half as often; by four the pixels leave the cache."""


class OpenVinoBackend(Backend):
    """A network compiled for one frame and perhaps for several; threads share it, each inference has its own request.

    Args:
        network: the network.
        precision: ``fp32``, ``bf16``, ``auto`` (bf16 where the CPU computes in it, else fp32) or, for a quantised
            network, ``int8``: what is not quantised then runs as with ``auto``.
        num_threads: threads of all inferences together; None: the cores that this process may use.
        throughput: run several inferences at once, each on fewer threads; else one at a time on all threads.
        cached: use the cache on disk.

    Raises:
        ModelError: the payload can't be read or is no PVLR network.
        BackendError: this CPU does not run it (for example bf16 without hardware for it).
        MissingPartError: OpenVINO is not installed.
    """

    def __init__(
        self,
        network: Network,
        precision: str,
        num_threads: int | None = None,
        *,
        throughput: bool = False,
        cached: bool = True,
    ) -> None:
        core = open_core()
        self.precision = _resolve_precision(core, precision, network.source)
        threads = num_threads or available_cores()
        behind = network.fp32_until if self.precision == "bf16" else None
        options = engine_options("f32" if behind else precision_hint(core, self.precision), threads, throughput)
        self.together = _TOGETHER if throughput else 1
        networks = {count: network.with_batch(count) for count in {1, self.together}}
        with ThreadPoolExecutor(len(networks)) as pool:  # as long as one of them takes
            load = partial(_load, core, options=options, behind=behind, folder=cache.cache_folder() if cached else None)
            loaded = dict(zip(networks, pool.map(load, networks.values()), strict=True))
        self._compiled = {count: compiled for count, (compiled, _) in loaded.items()}
        """By the number of frames."""
        self.parallel = int(self._compiled[1].get_property("OPTIMAL_NUMBER_OF_INFER_REQUESTS"))
        self._free: deque[Slot] = deque()
        self._free_groups: deque[Sequence[Slot]] = deque()
        self.info: dict[str, Any] = {
            "backend": "openvino",
            "version": _version(),
            "device": core.get_property("CPU", "FULL_DEVICE_NAME"),
            "precision": self.precision,
            "threads": threads,
            "parallel": self.parallel,
            "from_cache": all(from_cache for _, from_cache in loaded.values()),
        }
        self.release(self.acquire())
        if self.together > 1 and not self._group_agrees():
            self.together = 1  # a stream's results are to be those of single frames, bit for bit
            self._free_groups.clear()
            del self._compiled[_TOGETHER]
        self.info["together"] = self.together

    def acquire(self) -> Slot:
        try:
            return self._free.pop()  # a deque's pop and append are atomic: no lock needed
        except IndexError:
            return _Request(self._compiled[1].create_infer_request())

    def release(self, slot: Slot) -> None:
        self._free.append(slot)

    def acquire_group(self) -> Sequence[Slot]:
        try:
            return self._free_groups.pop()
        except IndexError:
            request = self._compiled[self.together].create_infer_request()
            return [_Request(request, position, self.together) for position in range(self.together)]

    def release_group(self, group: Sequence[Slot]) -> None:
        self._free_groups.append(group)

    def _group_agrees(self) -> bool:
        """Whether noise gives the same bits in a group as alone; kernels may add up in another order."""
        single, group = self.acquire(), self.acquire_group()
        noise = np.random.default_rng(0).standard_normal(single.input.shape, np.float32)
        for slot in (single, *group):
            slot.input[:] = noise
            slot.start()
        answers = [tuple(array.tobytes() for array in slot.wait()) for slot in (single, *group)]
        self.release(single)
        self.release_group(group)
        return len(set(answers)) == 1


class _Request:
    """One frame of an OpenVINO request; its arrays are views of the request's own tensors."""

    __slots__ = ("_is_last", "_logits", "_request", "_similarity", "input")

    def __init__(self, request: openvino.InferRequest, position: int = 0, count: int = 1) -> None:
        self._request = request
        self._is_last = position == count - 1
        self.input: NDArray[np.float32] = request.get_tensor(INPUT).data[position].transpose(2, 0, 1)
        self._logits: NDArray[np.float32] = request.get_tensor(LOGITS).data[position]
        self._similarity: NDArray[np.float32] = request.get_tensor(SIMILARITY).data[position]

    def load(self, frame: Frame | DeviceFrame, preprocess: Preprocessor) -> None:
        if isinstance(frame, DeviceFrame):
            raise errors.FrameTypeError(
                "frame",
                expected="a frame in the CPU's memory, where this plan runs",
                got="one on a GPU",
                hint="Copy it first (for example frame.cpu().numpy()), or build a plan with --device tensorrt.",
            )
        preprocess(frame.pixels, frame.order, self.input)

    def start(self) -> None:
        try:
            if self._is_last:
                self._request.start_async()
        except RuntimeError as error:
            raise _failed(error) from error

    def wait(self) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        try:
            self._request.wait()
        except RuntimeError as error:
            raise _failed(error) from error
        return self._logits, self._similarity


def _resolve_precision(core: openvino.Core, precision: str, source: str) -> str:
    if precision == "auto":
        return "bf16" if supports_bf16(core) else "fp32"
    if precision == "bf16" and not supports_bf16(core):
        raise errors.BackendError(
            source,
            expected="a CPU that computes in bf16",
            got=str(core.get_property("CPU", "FULL_DEVICE_NAME")),
            hint='Use precision="auto" or "fp32".',
        )
    return precision


def _failed(error: RuntimeError) -> errors.BackendError:
    return errors.BackendError("inference", expected="a finished inference", got=reason(error), hint="See pvlr doctor.")


def _load(
    core: openvino.Core, network: Network, *, options: dict[str, Any], behind: str | None, folder: Path | None
) -> tuple[openvino.CompiledModel, bool]:
    """The compiled network, and whether it was compiled earlier."""
    key = _cache_key(core, network, behind, options)
    compiled = _imported(core, cache.load(folder, key), options) if folder else None
    from_cache = compiled is not None
    if compiled is None:
        compiled = compile_network(core, network, options, bf16_behind=behind)
        if folder:
            cache.store(folder, key, compiled.export_model().getvalue())
    check_outputs(compiled, network)
    return compiled, from_cache


def _imported(core: openvino.Core, blob: bytes | None, options: dict[str, Any]) -> openvino.CompiledModel | None:
    """What was compiled earlier; None: it is not there, or no longer good."""
    try:
        return core.import_model(blob, "CPU", options) if blob else None
    except RuntimeError:
        return None  # an entry that this OpenVINO does not like is compiled anew


_RECIPE = 2
"""Count this up when the same network and options are compiled into something else."""


def _cache_key(core: openvino.Core, network: Network, behind: str | None, options: dict[str, Any]) -> str:
    """Everything that decides what the compiler makes of a payload."""
    cpu = [core.get_property("CPU", name) for name in ("FULL_DEVICE_NAME", "OPTIMIZATION_CAPABILITIES")]
    what = [network.sha256, _RECIPE, network.input_shape, behind, __version__, _version(), cpu, options]
    return hashlib.sha256(json.dumps(what, sort_keys=True).encode()).hexdigest()[:40]


def _version() -> str:
    import openvino

    return str(openvino.get_version())
