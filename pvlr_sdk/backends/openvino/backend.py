"""A compiled network that threads share; each inference has its own request."""

from __future__ import annotations

import contextlib
import copy
import hashlib
import json
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..._util.cores import available_cores
from ..._util.version import __version__
from .. import cache, runtimes
from ..backend import Backend, Slot, closed
from .compilation import Network, check_outputs, compile_network, open_core
from .device import CPU, engine_options, find_device, has_capability, label_options
from .labels import project
from .precision import precision_hint, resolve_precision
from .request import Projections, Request, create_request

if TYPE_CHECKING:
    import openvino
    from numpy.typing import NDArray

    from ...bundle.label_bank import LabelBank
    from ...bundle.manifest import OpenSpec

    _Compiled = tuple[openvino.CompiledModel, ...]
    _Load = Callable[[Network], tuple[_Compiled, bool]]


_TOGETHER = 2
"""Frames per inference when optimising for throughput. On two cores with 1 MB of L2 each, Lite2 in bf16 ran 6 % more
frames per second at two than at one, as weights are read half as often; at four the pixels leave the cache."""


class OpenVinoBackend(Backend):
    """A network compiled for one frame and, for throughput, for two; threads share it.

    Args:
        network: the network.
        precision: ``fp32``, ``bf16``, ``fp16``, ``auto`` (the fastest of these; which precision ``auto`` is for a plan
            says :func:`.precision.plan_precision`) or, for a quantised network, ``int8``: what is not quantised then
            runs as with ``auto``.
        num_threads: threads of all inferences together, on the CPU; None: the cores that this process may use.
        device: OpenVINO's name of the device.
        throughput: run several concurrent inferences on fewer threads each, instead of one at a time on all threads.
        cached: use the cache on disk.
        fresh: compile anew and replace what the cache has.

    Raises:
        ModelError: the payload is unreadable or not a PVLR network.
        BackendError: there is no such device, or it does not run the network (for example bf16 without hardware
            support).
        MissingPartError: OpenVINO is not installed.
    """

    def __init__(
        self,
        network: Network,
        precision: str,
        num_threads: int | None = None,
        *,
        device: str = CPU,
        throughput: bool = False,
        cached: bool = True,
        fresh: bool = False,
    ) -> None:
        core = open_core()
        device = find_device(core, device, network.source)
        self.precision = resolve_precision(core, device, precision, network.source)
        threads = num_threads or available_cores()
        behind = network.fp32_until if self.precision == "bf16" else None
        options = engine_options(
            device,
            "f32" if behind else precision_hint(core, device, self.precision),
            threads,
            throughput,
        )
        folder = (
            cache.cache_folder()
            if cached and has_capability(core, device, "EXPORT_IMPORT")
            else None
        )
        load = partial(
            _load,
            core,
            device=device,
            options=options,
            behind=behind,
            quantized=self.precision == "int8",
            folder=folder,
        )
        # Other devices get single frames: whether they gain by pairs was not measured.
        together = _TOGETHER if throughput and device == CPU else 1
        self._free: deque[Any] = deque()
        self._free_groups: deque[Any] = deque()
        try:
            from_cache = self._prepare(network, together, partial(load, fresh=fresh))
        except Exception:
            if fresh or folder is None:
                raise
            # What the cache had is whole, but does not work.
            from_cache = self._prepare(network, together, partial(load, fresh=True))
        self.info: dict[str, Any] = {
            "backend": "openvino",
            "version": _version(),
            "device": core.get_property(device, "FULL_DEVICE_NAME"),
            "precision": self.precision,
            "threads": threads,
            "parallel": self.parallel,
            "from_cache": from_cache,
            "together": self.together,
        }

    def _prepare(self, network: Network, together: int, load: _Load) -> bool:
        """Load the network for one frame and for groups, and try both; returns whether any comes from the cache."""
        self._network = network
        self._projections: Projections | None = None
        self.together = together
        networks = {count: network.with_batch(count) for count in {1, self.together}}
        with ThreadPoolExecutor(len(networks)) as pool:  # in the time of the slower one
            loaded = dict(zip(networks, pool.map(load, networks.values()), strict=True))
        self._compiled = {count: compiled[0] for count, (compiled, _) in loaded.items()}
        """By the number of frames."""
        self.parallel = int(self._compiled[1].get_property("OPTIMAL_NUMBER_OF_INFER_REQUESTS"))
        self._free.clear()
        self._free_groups.clear()
        if network.open and network.bank:
            self._label_network = loaded[1][0][1]
            self._projections = self._project(network.open, network.bank)
        self.release(self.acquire())
        if self.together > 1 and not self._group_agrees():
            self.together = 1  # results of a stream must equal those of single frames, bit for bit
            self._free_groups.clear()
            del self._compiled[_TOGETHER]
        return any(from_cache for _, from_cache in loaded.values())

    def with_labels(self, bank: LabelBank) -> OpenVinoBackend:
        if self._network.open is None:
            raise closed(self._network.source)
        changed = copy.copy(self)  # they share the compiled networks and the slots
        changed._projections = self._project(self._network.open, bank)
        return changed

    def label_constants(self) -> dict[str, NDArray[np.float32]]:
        """What the part for frames of an open network reads of the bank, by the network's names of the tensors."""
        assert self._projections is not None
        ports = zip(self._label_network.outputs, self._projections.tensors, strict=True)
        return {name: tensor.data for port, tensor in ports for name in port.get_names()}

    def _project(self, spec: OpenSpec, bank: LabelBank) -> Projections:
        values = project(self._label_network, bank, spec, self._network.source).values()
        # copies
        return Projections(len(bank), [runtimes.openvino().Tensor(value) for value in values])

    def acquire(self) -> Request:
        try:
            slot = self._free.pop()  # a deque's pop and append are atomic: no lock needed
        except IndexError:
            slot = Request(create_request(self._compiled[1]))
        slot.use(self._projections)
        return slot

    def release(self, slot: Slot) -> None:
        self._free.append(slot)

    def acquire_group(self) -> Sequence[Request]:
        try:
            group = self._free_groups.pop()
        except IndexError:
            request = create_request(self._compiled[self.together])
            group = [Request(request, position, self.together) for position in range(self.together)]
        for slot in group:
            slot.use(self._projections)
        return group

    def release_group(self, group: Sequence[Slot]) -> None:
        self._free_groups.append(group)

    def _group_agrees(self) -> bool:
        """Whether noise gives the same bits in a group as alone: kernels may sum in another order.

        Labels are noise too, since a bank without weights hides what another one shows.
        """
        single = self.acquire()
        group = self.acquire_group()
        random = np.random.default_rng(0)
        labels = self._projections
        noise = random.standard_normal(single.input.shape, np.float32)
        if labels is not None:
            tensors = [
                random.standard_normal(tuple(tensor.shape), np.float32) for tensor in labels.tensors
            ]
            labels = labels._replace(
                tensors=[runtimes.openvino().Tensor(values) for values in tensors]
            )
        for slot in (single, *group):
            slot.use(labels)
            slot.input[:] = noise
            slot.start()
        answers = [tuple(array.tobytes() for array in slot.wait()) for slot in (single, *group)]
        self.release(single)
        self.release_group(group)
        return len(set(answers)) == 1


def _load(
    core: openvino.Core,
    network: Network,
    *,
    device: str,
    options: dict[str, Any],
    behind: str | None,
    quantized: bool,
    folder: Path | None,
    fresh: bool,
) -> tuple[_Compiled, bool]:
    """The compiled network, in an open one with its part for labels, and whether it comes from the cache."""
    key = _cache_key(core, network, device, behind, options, quantized)
    kinds = ["blob", "labels"] if network.open else ["blob"]
    targets = [(device, options), (CPU, label_options())]
    blobs = [cache.load(folder, key, kind) for kind in kinds] if folder and not fresh else []
    if blobs and all(blobs):
        # Code that damage or another program put there raises anything, or does not fit: then it is replaced.
        with contextlib.suppress(Exception):
            compiled = tuple(
                core.import_model(blob, *target)
                for blob, target in zip(blobs, targets, strict=False)
            )
            check_outputs(compiled[0], network)
            return compiled, True
    compiled = compile_network(
        core, network, device, options, bf16_behind=behind, quantized=quantized
    )
    check_outputs(compiled[0], network)
    if folder:
        for kind, part in zip(kinds, compiled, strict=True):
            cache.store(folder, key, part.export_model().getvalue(), kind)
    return compiled, False


_RECIPE = 3
"""Increment this when the same network and options compile to something else."""


def _cache_key(
    core: openvino.Core,
    network: Network,
    device: str,
    behind: str | None,
    options: dict[str, Any],
    quantized: bool,
) -> str:
    # Also of the CPU, which computes what reads labels.
    properties = [
        core.get_property(device_name, name)
        for device_name in dict.fromkeys((CPU, device))
        for name in ("FULL_DEVICE_NAME", "OPTIMIZATION_CAPABILITIES")
    ]
    what = [
        network.sha256,
        _RECIPE,
        network.input_shape,
        behind,
        quantized,
        __version__,
        _version(),
        device,
    ]
    what += [properties, options]
    if network.open:
        what.append(network.labels)
    return hashlib.sha256(json.dumps(what, sort_keys=True).encode()).hexdigest()[:40]


def _version() -> str:
    return str(runtimes.openvino().get_version())
