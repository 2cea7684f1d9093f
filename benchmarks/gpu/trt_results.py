"""Questions of trt_check about results: precisions, CUDA graphs, contexts, batches, preprocessing, faults.

The first line of each docstring is the question. A failed assertion is the answer "no".
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from pvlr_sdk import Tagger, errors
from pvlr_sdk.backends import Backend
from pvlr_sdk.backends.tensorrt.cuda import OUT_OF_MEMORY, CudaError
from pvlr_sdk.backends.tensorrt.library import Messages, start
from pvlr_sdk.bundle.bundle import Bundle
from pvlr_sdk.bundle.schema import IMAGE, Precision
from pvlr_sdk.frames.frames import load_frame
from pvlr_sdk.frames.preprocess import Preprocessor
from pvlr_sdk.frames.yuv import ORDERS, chroma_shapes, is_yuv
from pvlr_sdk.workshop.compile.exported import read_spec
from pvlr_sdk.workshop.compile.onnx.convert import convert
from pvlr_sdk.workshop.compile.onnx.splitting import split
from pvlr_sdk.workshop.compile.tensorrt.compiler import compile_network
from pvlr_sdk.workshop.compile.tensorrt_options import Batch, BuildOptions

from .trt_lab import Found, Lab, OnDevice, expect, failing, missing, photo, require

_TESTS = ("-m", "pytest", "-q", "tests/csrc/device")
_SANITIZER = ("compute-sanitizer", "--kernel-name", "kns=pvlr", "--error-exitcode", "9", "--tool")
"""Only for the SDK's kernels; PyTorch's would take hours."""
_NO_CAPTURE = 900
"""CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED, after which the context still works."""
_BOUND = 0.02
"""Largest difference of a logit between preprocessing on the GPU and on the CPU, in fp16."""
_NOWHERE = 1 << 45
"""A device address that nobody has allocated."""
_open: list[Any] = []
"""What is still open when the process ends."""


def ahead(lab: Lab) -> Found:
    """Does TensorRT-RTX build the plans without a GPU?"""
    import tensorrt_rtx

    sys.modules["tensorrt"] = tensorrt_rtx
    data = {}
    precisions: tuple[Precision, ...] = (
        ("fp16",) if missing(lab, "nncf", "photos") else ("fp16", "int8")
    )
    for precision in precisions:
        frames = lab.photos.ranges if precision == "int8" else ()
        payload = lab.network.read_bytes()
        source = str(lab.network)
        if read_spec(payload, source).open:
            payload = split(payload, source)[1]  # the part for labels is the CPU's
        whole, without = (
            convert(payload, precision=precision, frames=frames, maps=maps)
            for maps in (True, False)
        )
        for network, batch in ((whole, "1"), (whole, "8"), (whole, "1:1:8"), (without, "1:1:8")):
            began = time.monotonic()
            options = BuildOptions(Batch.parse(batch), "native", verbose=True)
            plan = compile_network(network, source, options, Messages()).plan
            data[f"{precision} {batch}{'' if network is whole else ' without maps'}"] = {
                "mb": len(plan) / 1e6,
                "s": time.monotonic() - began,
            }
    return ", ".join(
        f"{name}: {one['mb']:.1f} MB in {one['s']:.0f} s" for name, one in data.items()
    ), data


def tests(lab: Lab) -> Found:
    """Do the kernels pass their tests on the device?"""
    return program(sys.executable, *_TESTS)


def memcheck(lab: Lab) -> Found:
    """Does compute-sanitizer see no invalid access in the kernels?"""
    return program(*_SANITIZER, "memcheck", sys.executable, *_TESTS, "-m", "sanitized")


def racecheck(lab: Lab) -> Found:
    """Does compute-sanitizer see no race in the kernels?"""
    return program(*_SANITIZER, "racecheck", sys.executable, *_TESTS, "-m", "sanitized")


def program(*command: str) -> Found:
    """The last line of a program, which must succeed; all lines are in the log."""
    # Tests that find no device fail. Each tensor has its own allocation, so that accesses out of its bounds are found.
    environment = {**os.environ, "PVLR_REQUIRE_GPU": "1", "PYTORCH_NO_CUDA_MEMORY_CACHING": "1"}
    done = subprocess.run(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment
    )
    print(done.stdout)
    last = (done.stdout.strip() or "no output").splitlines()[-1]
    expect(done.returncode == 0, f"status {done.returncode}: {last}")
    return last, {}


def fp16(lab: Lab) -> Found:
    """Does the fp16 plan keep the tags of fp32?"""
    return agreement(lab.plan())


def agreement(plan: Bundle) -> Found:
    """The comparison of a plan with fp32 at its build."""
    ((_, data),) = plan.manifest.measured["precisions"].items()
    words = (
        "{:.1f} % of {photos} images keep their tags, logits within {largest_logit_difference:.3g}"
    )
    return words.format(100 * data["tag_sets"], **data), dict(data)


def graph(lab: Lab) -> Found:
    """Is the CUDA graph in use, and are plain launches, both contexts and repeated runs bit-equal?"""
    graphed = lab.backend(lab.plan())
    inputs = _inputs(lab, 4)
    expect(graphed.info["cuda_graph"] == "in use", graphed.info["cuda_graph"])
    expect(graphed.parallel == 2, f"{graphed.parallel} context instead of 2")
    with failing(lab.cuda, "begin_capture", _NO_CAPTURE):
        plain = lab.backend(lab.plan())
    require(plain.info["cuda_graph"] != "in use", "plain launches cannot be forced")
    first = [_together(graphed, [image])[0] for image in inputs]
    for name, backend in {"graph": graphed, "plain launch": plain}.items():
        for image, expected in [*zip(inputs, first, strict=True)] * 3:
            _same([expected] * 2, _together(backend, [image] * 2), f"two contexts, {name}")
    return "in use, bit-equal", {}


def places(lab: Lab) -> Found:
    """Are the results of a frame alone and at all places in a batch bit-equal?"""
    backend = lab.backend(lab.plan(), optimize="throughput")
    size = backend.info["batch"]
    inputs = _inputs(lab, size)
    alone = [_together(backend, [image])[0] for image in inputs]
    for shift in range(size):
        # Each context starts with the first frame that comes, and the next ones form a batch.
        rows = _together(backend, [*inputs[: backend.parallel // size], *np.roll(inputs, shift, 0)])
        _same(np.roll(alone, shift, 0), rows[-size:], f"places shifted by {shift}")
    return f"{size} places, bit-equal", {}


def pixels(lab: Lab) -> Found:
    """Does the GPU preprocess like the CPU, within 0.02 of a logit?"""
    plan = lab.plan()
    worst = (0.0, "none")
    preprocess = Preprocessor(plan.manifest.input)
    backend = lab.backend(plan)
    require(
        backend.info["preprocessing"] == "GPU", "the CPU preprocesses: PVLR_CUDA=1 pip install ."
    )
    with lab.tagger(plan) as tagger:
        for color, frame in _frames():
            loaded = load_frame(frame, color)
            expected = _together(backend, [preprocess(loaded.pixels, loaded.order)])[0]
            frames = {"host": frame, "device": OnDevice(lab.cuda, frame)}
            if is_yuv(color):
                planes = _planes(frame, color)
                frames |= {
                    "host in planes": planes,
                    "device in planes": tuple(OnDevice(lab.cuda, one) for one in planes),
                }
            for place, there in frames.items():
                difference = np.abs(tagger.predict(there, color=color).logits - expected).max()
                worst = max(worst, (float(difference), f"{color} {frame.shape} on the {place}"))
    expect(worst[0] <= _BOUND, worst)
    return "largest difference {:.3g}: {}".format(*worst), {"difference": worst[0]}


def pending(lab: Lab) -> Found:
    """Is a device frame that is still being written waited for?"""
    with lab.tagger(lab.plan()) as tagger:
        expected = tagger.predict(photo()).logits
        waited, missed = (
            tagger.predict(OnDevice(lab.cuda, photo(), late=True, named=named)).logits
            for named in (True, False)
        )
    require(
        np.abs(missed - expected).max() > _BOUND, "the pixels arrived before the frame was read"
    )
    expect(np.abs(waited - expected).max() <= _BOUND, "it was read before its pixels arrived")
    return "yes; without the name of its stream it is not", {}


def memory(lab: Lab) -> Found:
    """Is memory that runs out in the middle of a batch a DeviceMemoryError, with right results before and after?"""
    frames = [np.roll(photo(), 9 * n, 1) for n in range(8)]
    found = "no error"
    with lab.tagger(lab.plan(), optimize="throughput") as tagger:
        before = [result.logits for result in tagger.predict_batch(frames)]
        with failing(lab.cuda, "to_device", OUT_OF_MEMORY, after=5):
            try:
                tagger.predict_batch(frames)
            except errors.PvlrError as error:
                found = type(error).__name__
        expect(found == "DeviceMemoryError", found)
        _same(
            before, [result.logits for result in tagger.predict_batch(frames)], "before and after"
        )
    return "DeviceMemoryError; the next batch is bit-equal", {}


def threads(lab: Lab) -> Found:
    """Are 8 threads on 2 taggers bit-equal, and does a process end that leaves frames in flight?"""
    frames = [np.roll(photo(), 5 * n, 1) for n in range(4)]
    taggers = [lab.tagger(lab.plan(), optimize=optimize) for optimize in ("latency", "throughput")]
    cases = [
        (tagger, frame, tagger.predict(frame).logits) for tagger in taggers for frame in frames
    ]
    with ThreadPoolExecutor(8) as pool:
        outcomes = Counter(pool.map(lambda case: _outcome(*case), cases * 50))
    expect(set(outcomes) == {"right"}, dict(outcomes))
    _open.extend(tagger.predict_async(frame) for tagger, frame, _ in cases)
    return f"{outcomes.total()} frames, bit-equal", {}


def illegal(lab: Lab) -> Found:
    """Is an illegal address a DeviceLostError for both taggers of the process, which then ends by itself?"""
    plan = lab.plan()
    cuda = lab.cuda
    frame = photo()
    taggers = [lab.tagger(plan) for _ in range(2)]
    expected = taggers[0].predict(frame).logits
    _open.extend(taggers)
    with suppress(CudaError), cuda.current():
        _open.append(engine := _engine(plan))
        _open.append(context := engine.create_execution_context())
        context.set_input_shape(
            IMAGE, (1, 3, plan.manifest.input.height, plan.manifest.input.width)
        )
        for index in range(engine.num_io_tensors):
            context.set_tensor_address(engine.get_tensor_name(index), _NOWHERE)
        context.execute_async_v3(stream := cuda.stream())
        cuda.synchronize(stream)
    outcomes = [_outcome(tagger, frame, expected) for tagger in taggers * 2]
    expect(set(outcomes) == {"DeviceLostError"}, outcomes)
    return "DeviceLostError for both, at each call", {}


def int8(lab: Lab) -> Found:
    """Does int8 keep the tags, and is each residual sum one layer with its convolution?"""
    import tensorrt as trt

    plan = lab.plan("int8", verbose=True)
    words, data = agreement(plan)
    with lab.cuda.current():
        text = (
            _engine(plan)
            .create_engine_inspector()
            .get_engine_information(trt.LayerInformationFormat.JSON)
        )
    plan.path.with_suffix(".layers.json").write_text(text)
    layers = [json.dumps(layer) for layer in json.loads(text)["Layers"]]
    sums = len(
        set(re.findall(rb"/backbone/[\w./]*/Add(?:_\d+)?(?=[^\w/])", lab.network.read_bytes()))
    )
    conv_add = sum(
        "conv" in layer.lower() and bool(re.search(r"Add(?!r)", layer)) for layer in layers
    )
    data |= {"layers": len(layers), "conv_add": conv_add, "residual_sums": sums}
    data |= {
        kind: sum(kind in layer.lower() for layer in layers)
        for kind in ("reformat", "int8", "half")
    }
    words += (
        f"; {conv_add} layers with Conv and Add, {sums} residual sums, {data['reformat']} reformats"
    )
    expect(conv_add >= sums, words)
    return words, data


def _engine(plan: Bundle) -> Any:
    """The plan in TensorRT, without the SDK's session."""
    import tensorrt as trt

    _open.append(runtime := start(trt.Runtime, Messages()))
    return runtime.deserialize_cuda_engine(plan.payload)


def _frames() -> Iterator[tuple[Any, NDArray[np.uint8]]]:
    """Frames in all formats, larger and smaller than the input, with odd sides and rows that no four bytes divide."""
    for width, height in ((1920, 1080), (1917, 1081), (130, 98)):
        bgr = cv2.resize(photo(), (width, height))
        yield from (("bgr", bgr), ("rgb", bgr), ("bgr", bgr[..., 1].copy()), ("bgr", bgr[3:, 5:-2]))
        yield "bgr", cv2.cvtColor(bgr, cv2.COLOR_BGR2BGRA)
        if width % 2 == 0:
            yield from (
                (order, cv2.resize(photo(), (width, height * 3 // 2))[..., 1].copy())
                for order in ORDERS
            )


def _planes(frame: NDArray[np.uint8], color: str) -> tuple[NDArray[np.uint8], ...]:
    """The planes of a packed frame, with a pitch."""
    height = frame.shape[0] * 2 // 3
    width = frame.shape[1]
    shapes = [(height, width), *chroma_shapes(color, height, width)]
    flat = np.split(frame.ravel(), np.cumsum([rows * columns for rows, columns in shapes[:-1]]))
    parts = (part.reshape(shape) for part, shape in zip(flat, shapes, strict=True))
    return tuple(np.pad(part, ((0, 0), (0, 5)))[:, : part.shape[1]] for part in parts)


def _inputs(lab: Lab, count: int) -> list[NDArray[np.float32]]:
    """Different preprocessed frames (3, H, W)."""
    preprocess = Preprocessor(lab.plan().manifest.input)
    return [preprocess(np.roll(photo(), 11 * n, 1), "bgr") for n in range(count)]


def _together(backend: Backend, inputs: Sequence[NDArray[np.float32]]) -> list[NDArray[np.float32]]:
    """The logits of preprocessed frames that are all in flight at once."""
    slots = [backend.acquire() for _ in inputs]
    for slot, image in zip(slots, inputs, strict=True):
        slot.input[:] = image
        slot.start()
    rows = [slot.wait()[0].copy() for slot in slots]
    for slot in slots:
        backend.release(slot)
    return rows


def _outcome(tagger: Tagger, frame: NDArray[np.uint8], expected: NDArray[np.float32]) -> str:
    try:
        return "right" if np.array_equal(tagger.predict(frame).logits, expected) else "wrong"
    except errors.PvlrError as error:
        return type(error).__name__


def _same(one: Any, other: Any, names: str) -> None:
    expect(
        np.array_equal(one, other),
        f"{names}: differ by up to {np.abs(np.subtract(one, other)).max():.3g}",
    )
