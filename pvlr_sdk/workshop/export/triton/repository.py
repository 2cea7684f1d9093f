"""Writes a model repository: a plan as one model of Triton's Python backend."""

from __future__ import annotations

import os
import re
from importlib.resources import files
from pathlib import Path

from .... import errors
from ...._util.files import write_files
from ....bundle.bundle import bundle_files
from ....models.find import load_bundle

_CONFIG = """\
# Written by pvlr export-triton from {plan}, SHA-256 {sha256}.
name: "{name}"
# Runs 1/model.py, which needs the package pvlr-sdk in the server.
backend: "python"
# The most images of one execution: more keeps the cores busy for longer at once, and adds to the latency.
max_batch_size: 64
input [
  {{
    # An encoded image: JPEG, PNG, WebP, ... A request has exactly one of the two inputs.
    name: "IMAGE"
    data_type: TYPE_STRING
    dims: [ 1 ]
    optional: true
  }},
  {{
    # A raw frame, RGB, of any height and width.
    name: "FRAME"
    data_type: TYPE_UINT8
    dims: [ -1, -1, 3 ]
    optional: true
    # Frames of different sizes may share a batch: each is resized by itself.
    allow_ragged_batch: true
  }}
]
output [
  {{
    # The score of each label, in the order of labels.txt. A client that asks for classes gets the names too.
    name: "SCORES"
    data_type: TYPE_FP32
    dims: [ {labels} ]
    label_filename: "labels.txt"
  }},
  {{
    # JSON: the labels at or above their thresholds, best first, as `pvlr tag --json` prints them.
    name: "TAGS"
    data_type: TYPE_STRING
    dims: [ 1 ]
  }}
]
dynamic_batching {{
  # Requests that wait anyway go together; none waits longer than this for others: less than a CPU needs for one image.
  # 0 would batch only what is queued already, which is best for latency.
  max_queue_delay_microseconds: 2000
}}
# Each instance is a process with the model in its memory. One that uses all cores needs the least; several with one
# core each overlap the end of one batch with the next. KIND_CPU for TensorRT too: the process opens the GPU itself.
instance_group [ {{ count: {instances}, kind: KIND_CPU }} ]
parameters [
  {{ key: "threads" value: {{ string_value: "{threads}" }} }},  # of an instance; 0: all cores
  {{ key: "optimize" value: {{ string_value: "{optimize}" }} }}  # as for pvlr_sdk.Tagger
]
# The first inference allocates memory: let none of a client's requests wait for it.
model_warmup [ {{
  name: "one image"
  batch_size: 1
  inputs {{
    key: "FRAME"
    value {{ data_type: TYPE_UINT8, dims: [ 480, 640, 3 ], zero_data: true }}
  }}
}} ]
"""


def export_triton(
    plan: str | os.PathLike[str],
    out: str | os.PathLike[str],
    *,
    name: str | None = None,
    instances: int = 1,
    threads: int = 0,
) -> Path:
    """Write a plan into a model repository, which may contain other models.

    The model is one of Triton's Python backend and holds a :class:`pvlr_sdk.Tagger`, for the CPU and TensorRT alike.

    Args:
        plan: as for :class:`pvlr_sdk.Tagger`; with trusted keys (``PVLR_TRUST``), its signature is verified.
        out: the repository's folder.
        name: of the model; None: the plan's own.
        instances: processes.
        threads: of each process; 0: all cores.

    Returns:
        the folder of the model.

    Raises:
        BundleError: the plan cannot be used; each reason has its own class.
        OptionError: the name is not one that Triton accepts.
        OutputError: a file cannot be written; nothing was changed.
    """
    bundle = load_bundle(plan)
    manifest = bundle.manifest
    name = name or manifest.name
    if not re.fullmatch(r"[\w-][\w.-]*", name):  # it becomes a folder: .. would be another one
        raise errors.OptionError(
            "name",
            "letters, digits, - _ and, not first, .",
            repr(name),
            "Choose another name with --name.",
        )
    config = _CONFIG.format(
        plan=manifest.name,
        sha256=manifest.files["plan"].sha256,
        name=name,
        labels=len(manifest.labels),
        instances=instances,
        threads=threads,
        optimize="latency" if threads == 1 else "throughput",
    )
    folder = Path(out, name)
    paths = {
        f"engine{path.name.removeprefix(bundle.path.stem)}": path
        for path in bundle_files(bundle.path)
    }
    write_files(
        {
            **{folder / "1" / file: path.read_bytes() for file, path in paths.items()},
            folder / "1" / "engine.plan": bundle.payload,
            folder / "1" / "model.py": (files(__package__) / "tagger_model.py").read_bytes(),
            folder / "labels.txt": "".join(f"{label.name}\n" for label in manifest.labels).encode(),
            folder / "config.pbtxt": config.encode(),
        }
    )
    return folder
