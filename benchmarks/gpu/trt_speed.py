"""Questions of trt_check about speed. The numbers belong to this GPU and its present clocks.

The first line of each docstring is the question.
"""

from __future__ import annotations

import ctypes
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import cv2
import numpy as np

from pvlr_sdk.backends.tensorrt.cuda import OUT_OF_MEMORY
from pvlr_sdk.bundle.bundle import Bundle, labels_path
from pvlr_sdk.bundle.schema import ATTENTIONS
from pvlr_sdk.workshop.diagnostics.bench.measure import bench
from pvlr_sdk.workshop.diagnostics.bench.sampling import repeat_for
from pvlr_sdk.workshop.diagnostics.probes import board

from ..common import ROOT
from .trt_lab import MODELS, Found, Lab, expect, failing, find_network, photo, replaced, require
from .trt_results import agreement, program

_LABELS = 4585
_NOT_READY = 600


def stages(lab: Lab) -> Found:
    """How fast is the fp16 plan, and where does the time of a frame go?"""
    return measured(lab, lab.plan())


def measured(lab: Lab, plan: Bundle) -> Found:
    """The network alone by CUDA events, and everything that ``pvlr bench`` measures of a plan."""
    with lab.cuda.current():
        free = lab.cuda.free_memory()
    backend = lab.backend(plan)
    network = np.median(backend.compute_times(20 + int(50 * lab.seconds))[10:])
    with lab.cuda.current():
        used = (free - lab.cuda.free_memory()) / 1e6
    info = backend.info
    del backend
    data = bench(plan.path, seconds=lab.seconds, allow_unsigned=True)
    del data["samples_ms"]
    stages = {name: one["p50"] for name, one in data["latency_ms"].items()}
    stages["network alone"] = network
    stages["copies, launch, wake-up"] = stages["inference"] - network
    words = ", ".join(f"{name} {value:.3f}" for name, value in stages.items())
    data |= {"stages_ms": stages, "gpu_memory_mb": used, "clocks": board.clocks(), "info": info}
    return f"medians in ms: {words}; GPU memory {used:.0f} MB", data


def fused(lab: Lab) -> Found:
    """Does fused attention keep the tags, and is it faster than native?"""
    return _both(lab, lab.network)


def batch(lab: Lab) -> Found:
    """Is a plan for 8:8:8 faster at 8 than one for 1:1:8?"""
    return _rates({sizes: _rate(lab, lab.plan(batch=sizes)) for sizes in ("1:1:8", "8:8:8")})


def contexts(lab: Lab) -> Found:
    """Are two contexts faster than one?"""
    plan = lab.plan()
    # of the copies and of the first context
    with failing(lab.cuda, "stream", OUT_OF_MEMORY, after=2):
        one = _rate(lab, plan, contexts=1)
    return _rates({"1": one, "2": _rate(lab, plan)})


def polling(lab: Lab) -> Found:
    """Is polling for the end of a frame faster than blocking?"""
    try:
        driver = ctypes.CDLL("libcuda.so.1")
    except OSError as error:
        require(False, str(error))

    def poll(event: int) -> None:
        while driver.cuEventQuery(ctypes.c_void_p(event)) == _NOT_READY:
            pass

    waits = {
        "polling": poll,
        "blocking": lambda event: driver.cuEventSynchronize(ctypes.c_void_p(event)),
    }
    times = {}
    frame = photo()
    with lab.tagger(lab.plan()) as tagger:
        for name, wait in {**waits, "backend": lab.cuda.wait}.items():
            with replaced(lab.cuda, "wait", wait):
                repeat_for(lab.seconds / 5, lambda: tagger.predict(frame))
                times[name] = np.median(
                    [tagger.predict(frame).timing["total"] for _ in range(int(100 * lab.seconds))]
                )
    return "; ".join(f"{name} {value:.3f} ms" for name, value in times.items()), times


def native_program(lab: Lab) -> Found:
    """Does libpvlr give the scores of Python, and how fast is it?"""
    image = lab.out / "photo.ppm"
    count = 20 + int(40 * lab.seconds)
    cv2.imwrite(str(image), photo())
    plan = lab.plan()
    command = [_example(lab), str(plan.path)]
    environment = {**os.environ, "PVLR_ALLOW_UNSIGNED": "1"}  # the example has no options
    times = []
    for images in (1, 1 + count):
        start = time.perf_counter()
        done = subprocess.run(
            [*command, *[str(image)] * images], capture_output=True, text=True, env=environment
        )
        expect(done.returncode == 0, done.stderr.strip())
        times.append(time.perf_counter() - start)
    lines = [line.removeprefix(f"{image}: ").rpartition(" ") for line in done.stdout.splitlines()]
    scores = {label: float(score) for label, _, score in lines}
    with lab.tagger(plan) as tagger:
        result = tagger.predict(image)
        expect(scores.keys() == {tag.label for tag in result}, f"other tags: {', '.join(scores)}")
        difference = max((abs(tag.score - scores[tag.label]) for tag in result), default=0.0)
        start = time.perf_counter()
        for _ in range(count):
            tagger.predict(image)
        data = {
            "libpvlr": (times[1] - times[0]) / count,
            "Python": (time.perf_counter() - start) / count,
        }
    expect(difference <= 0.01, f"scores differ by {difference:.3g}")
    return "; ".join(
        f"{name} {1e3 * value:.3f} ms per image file" for name, value in data.items()
    ), data


def _example(lab: Lab) -> str:
    """csrc/examples/tag.c, compiled with the libpvlr that pkg-config finds."""
    find = ["pkg-config", "--cflags", "--libs", "pvlr"]
    require(shutil.which("cc") and shutil.which(find[0]), "no C compiler or no pkg-config")
    found = subprocess.run(find, capture_output=True, text=True)
    require(found.returncode == 0, "no libpvlr: docs/cpp.md")
    program = str(lab.out / "tag")
    source = str(ROOT / "csrc/examples/tag.c")
    subprocess.run(["cc", source, *found.stdout.split(), "-o", program], check=True)
    return program


def labels(lab: Lab) -> Found:
    """Is a model with 4585 labels faster with fused attention?"""
    network = lab.out / "networks" / f"{_LABELS}-labels" / "model.onnx"
    if not network.exists():
        _export_random(network)
    return _both(lab, network)


def models(lab: Lab) -> Found:
    """Do the other shipped models keep their tags in fp16, and how fast are they?"""
    others = sorted(name for name in MODELS if name != lab.network.parent.name)
    return _all(lab, {name: lab.plan(network=find_network(name, lab.out)) for name in others})


def kernels(lab: Lab) -> Found:
    """Are the kernels right, and how fast are they next to PyTorch?"""
    return program(
        sys.executable,
        "-m",
        "benchmarks.gpu.kernels_gpu",
        "--json",
        str(lab.out / "kernels_gpu.json"),
    )


def _both(lab: Lab, network: Path) -> Found:
    return _all(lab, {kind: lab.plan(attention=kind, network=network) for kind in ATTENTIONS})


def _all(lab: Lab, plans: dict[str, Bundle]) -> Found:
    found = {name: (agreement(plan), measured(lab, plan)) for name, plan in plans.items()}
    return "; ".join(
        f"{name}: {tags[0]}, {speed[0]}" for name, (tags, speed) in found.items()
    ), found


def _rate(lab: Lab, plan: Bundle, contexts: int = 2) -> float:
    """Images per second of full batches."""
    frames = [photo()] * 64
    with lab.tagger(plan, optimize="throughput") as tagger:
        found = tagger.info["parallel"] // tagger.info["batch"]
        require(found == contexts, f"{found} contexts instead of {contexts}")
        repeat_for(lab.seconds / 5, lambda: tagger.predict_batch(frames))
        start = time.perf_counter()
        rounds = repeat_for(lab.seconds, lambda: tagger.predict_batch(frames))
        return len(frames) * rounds / (time.perf_counter() - start)


def _rates(rates: dict[str, float]) -> Found:
    return "; ".join(f"{name}: {rate:.1f} images/s" for name, rate in rates.items()), rates


def _export_random(path: Path) -> None:
    from pvlr_training.config import Config
    from pvlr_training.deploy import DeployedPVLR
    from pvlr_training.export import describe, label_bank, to_onnx
    from pvlr_training.model.network import PVLR

    names = [f"label {number}" for number in range(_LABELS)]
    stage = {"epochs": 1, "batch": 1, "lr": 1e-3}
    spec = {"width": 288, "height": 288, "mean": [127] * 3, "std": [128] * 3}
    data = {
        "input": spec,
        "labels": names,
        "sources": [{"images": ".", "labels": "x", "splits": ["train"]}],
    }
    model = {"pretrained": False, "text": {"encoder": "random"}}
    train = {"head": stage, "finetune": stage}
    config = Config.model_validate({"name": "random", "model": model, "data": data, "train": train})
    deployed = DeployedPVLR(PVLR(names, 288, 288, config.model).eval())
    path.parent.mkdir(parents=True)
    label_bank(deployed, config, [0.5] * _LABELS, None).save(labels_path(path))
    path.write_bytes(describe(to_onnx(deployed, config), deployed, config, {"holdout": {}}))
