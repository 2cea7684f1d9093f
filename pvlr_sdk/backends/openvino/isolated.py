"""The isolated load: a plan that nobody vouches for is first loaded and run in a process that may crash."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import json
import logging
import math
import mmap
import os
import socket
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ... import errors
from ..._util.escape import escaped
from ..._util.version import __version__
from ...bundle.label_bank import LabelBank
from ...bundle.manifest import parse_manifest
from ...bundle.network import check_network
from ...frames import images
from ...frames.frames import Frame
from ...frames.isolated.child import ready
from ...frames.isolated.process import (
    MAX_MESSAGE,
    IsolatedProcess,
    ProcessFailedError,
    cannot_start,
    shared_memory,
)
from ...frames.isolated.sandbox import restrict
from ...frames.preprocess import Preprocessor
from ...models.catalogue import PACKAGE
from .. import cache, runtimes
from .backend import OpenVinoBackend
from .compilation import Network, open_core, read_network
from .device import CPU
from .graph import fold_constants

if TYPE_CHECKING:
    from ...bundle.bundle import Bundle

MEMORY_BYTES = 4 * 2**30
"""Memory of the process, besides eight times the size of the plan and what each thread reserves."""
MEMORY_BYTES_PER_CORE = 96 * 2**20
"""Address space that a thread reserves: its stack, and its heap in the C library."""
SECONDS = 120.0
_LOG = logging.getLogger(__name__)
_KIND = "loaded"
_SERVE = f"{__name__}:serve"
_PORT = b"\x12\n\n\x08\x08\x01\x12\x04\n\x02\x08\x01"
_RELU = (
    b'\x08\x08B\x02\x10\x12:3\n\x0c\n\x01x\x12\x01y"\x04Relu\x12\x01gZ\x0f\n\x01x%bb\x0f\n\x01y%b'
    % (_PORT, _PORT)
)
"""An ONNX network of one operation on one float."""


def ensure(
    bundle: Bundle, network: Network, precision: str, num_threads: int | None, *, throughput: bool
) -> None:
    """Load and run a network in a process with limits, unless that was done before on this machine.

    Plans inside the installed package are as trustworthy as its code. Where no process can be started, that is logged.

    Raises:
        UnsafeNetworkError: the network is not plain data.
        IsolatedLoadError: the process crashed, took too long, or needed too much memory.
        BundleError: the plan cannot be used, as in this process.
    """
    if bundle.path.resolve().is_relative_to(PACKAGE.resolve()):
        return
    folder = cache.cache_folder()
    key = _key(network, bundle.manifest.golden.frame_png)
    if folder and cache.load(folder, key, _KIND) is not None:
        return
    check_network(network.payload, network.source)
    manifest = bundle.manifest.model_dump_json(exclude_unset=True).encode()
    options = {"precision": precision, "num_threads": num_threads, "throughput": throughput}
    try:
        _load_isolated(network, [network.payload, manifest, bundle.labels.to_bytes()], options)
    except ProcessFailedError as error:
        raise errors.IsolatedLoadError(
            network.source,
            "a plan that loads and runs in an isolated process",
            str(error),
            "It may be damaged or malicious: check where it is from. If you trust it, set PVLR_ALLOW_UNSIGNED=1.",
        ) from None
    except errors.IsolationError as error:
        _LOG.info("%s is loaded in this process only: %s", network.source, error)
        return
    record(network, bundle.manifest.golden.frame_png)


def record(network: Network, frame_png: str) -> None:
    """Note that a network ran on this machine, with this golden frame: it needs no isolated load."""
    if folder := cache.cache_folder():
        cache.store(folder, _key(network, frame_png), b"", _KIND)


def _key(network: Network, frame_png: str) -> str:
    """A digest of what the process reads, and of what reads it here."""
    cpu = open_core().get_property("CPU", "FULL_DEVICE_NAME")
    runtime = str(runtimes.openvino().get_version())
    bank = network.bank.sha256 if network.open and network.bank else None
    what = [
        network.sha256,
        network.input_shape,
        network.tokens,
        network.labels,
        network.fp32_until,
        bank,
        frame_png,
    ]
    return hashlib.sha256(json.dumps([*what, __version__, runtime, cpu]).encode()).hexdigest()[:40]


def _load_isolated(network: Network, parts: Sequence[bytes], options: Mapping[str, object]) -> None:
    """Load a plan's network, manifest and label bank in a process of their own.

    Raises:
        BundleError: the plan cannot be used.
        IsolationError: the process cannot be started.
        ProcessFailedError: it crashed, took too long or too much memory, or raised another exception.
    """
    memory_bytes = (
        MEMORY_BYTES + 8 * len(network.payload) + MEMORY_BYTES_PER_CORE * (os.cpu_count() or 1)
    )
    request = {"source": network.source, "sizes": list(map(len, parts)), "options": options}
    process = IsolatedProcess(_SERVE, memory_bytes)
    try:
        process.wait_until_ready()
        memory, descriptor = shared_memory(sum(map(len, parts)))
        try:
            for part in parts:
                memory.write(part)
            process.send(json.dumps(request).encode(), [descriptor])
        finally:
            os.close(descriptor)
        answer = process.receive(SECONDS)
    except OSError as error:  # no memory or no descriptor for the plan
        raise cannot_start(error.strerror or str(error)) from None
    finally:
        process.close()
    _check_answer(answer)


def _check_answer(message: bytes) -> None:
    """Raise the error that the process reports. The message may be anything, and nothing is unpickled."""
    try:
        answer = json.loads(message)
        if answer == "loaded":
            return
        if "failure" in answer:
            raise ProcessFailedError(escaped(str(answer["failure"])))
        kind, argument, expected, got, hint = (escaped(str(text)) for text in answer["error"])
    except (ValueError, TypeError, KeyError, RecursionError):
        raise ProcessFailedError("an answer that is not JSON") from None
    error_class = getattr(errors, kind, None)
    if not (isinstance(error_class, type) and issubclass(error_class, errors.PvlrError)):
        raise ProcessFailedError(kind)
    raise error_class(argument, expected, got, hint)


def serve(channel: socket.socket, memory_bytes: int) -> None:
    """What the process does: restrict itself, receive one plan, load it, and report the outcome."""
    cpu_seconds = math.ceil(SECONDS) * (os.cpu_count() or 1) + 1
    _load_libraries()
    ready(channel, restrict(memory_bytes, cpu_seconds, compute=True))
    message, descriptors, _, _ = socket.recv_fds(channel, MAX_MESSAGE, 1)
    request = json.loads(message)
    with mmap.mmap(descriptors[0], sum(request["sizes"])) as memory:
        payload, manifest, bank = (memory.read(size) for size in request["sizes"])
    answer: object = "loaded"
    try:
        _load_and_run(payload, manifest, bank, request["source"], **request["options"])
    except errors.PvlrError as error:
        texts = error.argument, error.expected, error.got, error.hint
        answer = {"error": [type(error).__name__, *(text[:1000] for text in texts)]}
    except Exception as error:
        answer = {"failure": f"{type(error).__name__}: {error}"[:1000]}
    channel.send(json.dumps(answer).encode())


def _load_libraries() -> None:
    """Load all that a plan needs, by running a network of one operation: later the process opens no file."""
    import cv2  # noqa: F401
    import numpy.random  # noqa: F401
    import safetensors.numpy  # noqa: F401

    model = read_network(_RELU, "relu")
    fold_constants(model)
    open_core().compile_model(model, CPU).create_infer_request().infer()


def _load_and_run(
    payload: bytes,
    manifest: bytes,
    bank: bytes,
    source: str,
    *,
    precision: str,
    num_threads: int | None,
    throughput: bool,
) -> None:
    """Compile the network, decode the golden frame, and run one on the other."""
    spec = parse_manifest(manifest, Path(source))
    network = Network.of(
        source, payload, spec.files["plan"].sha256, spec, LabelBank.from_bytes(bank)
    )
    backend = OpenVinoBackend(network, precision, num_threads, throughput=throughput, cached=False)
    slot = backend.acquire()
    # the self-test reports what is no image
    with contextlib.suppress(ValueError, errors.FrameError):
        frame = images.decode(
            base64.b64decode(spec.golden.frame_png, validate=True), formats=("png",)
        )
        slot.load(Frame(frame.pixels, "bgr"), Preprocessor(spec.input))
    slot.start()
    slot.wait()
