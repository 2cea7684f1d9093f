"""The precisions that a plan for the CPU runs in: the time of each on this machine, and its cost from the manifest."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import Any

import numpy as np

from ... import errors
from ...bundle.bundle import read_manifest
from ...inference import golden
from ...models.find import find_plan
from ...tagger import Tagger

_ROUNDS = 15
_CALLS = 3


def precisions(
    plan: str | os.PathLike[str] | None, num_threads: int | None = None
) -> dict[str, dict[str, Any]]:
    """Measure each precision in turn, so that a change in the machine's speed affects all.

    Returns:
        by precision, the fastest first: ``inference_ms`` (median), and of the accuracy gate of ``pvlr build``, if it
        ran, ``photos``, ``tag_sets``, ``mAP`` and ``mAP_fp32``. Empty for a TensorRT plan, which has one precision.

    Raises: the errors of :class:`Tagger`.
    """
    path = Path(find_plan(plan))
    manifest = read_manifest(path)
    if manifest.backend != "openvino":
        return {}
    frame = golden.default_frame()
    gate = manifest.measured.get("precisions", {})
    with contextlib.ExitStack() as stack:
        taggers = {}
        for name in manifest.golden.tolerance:
            with contextlib.suppress(errors.BackendError):  # this CPU does not compute in it
                taggers[name] = stack.enter_context(
                    Tagger(path, precision=name, num_threads=num_threads)
                )
        times: dict[str, list[float]] = {name: [] for name in taggers}
        for name, tagger in [*taggers.items()] * _ROUNDS:
            times[name] += [tagger.predict(frame).timing["inference"] for _ in range(_CALLS)][1:]
    medians = {name: round(float(np.median(values)), 2) for name, values in times.items()}
    kept = ("photos", "tag_sets", "mAP", "mAP_fp32")
    return {
        name: {
            "inference_ms": medians[name],
            **{key: gate[name][key] for key in kept if key in gate.get(name, {})},
        }
        for name in sorted(medians, key=medians.__getitem__)
    }
