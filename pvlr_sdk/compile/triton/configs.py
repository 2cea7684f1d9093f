"""The text of ``config.pbtxt``: each value with its reason."""

from __future__ import annotations

from ...bundle.manifest import Manifest

_INPUTS = """\
input [
  {{
    # An encoded image: JPEG, PNG, WebP, ... Exactly one of the two inputs is given.
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
"""
_SCORES = """\
  {{
    # The score of each label, in the order of labels.txt. A client that asks for classes gets the names too.
    name: "SCORES"
    data_type: TYPE_FP32
    dims: [ {labels} ]
    label_filename: "labels.txt"
  }}"""
_TAGS = """\
  {
    # JSON: the labels at or above their thresholds, best first, as `pvlr tag --json` prints them.
    name: "TAGS"
    data_type: TYPE_STRING
    dims: [ 1 ]
  }"""
_BATCHING = """\
dynamic_batching {{
  # Requests that wait anyway go together; none waits longer than this for others. 0 would batch only what is queued
  # already, which is best for latency.
  max_queue_delay_microseconds: {delay}
}}
"""
_SOURCE = "# Written by pvlr export triton from {name}, SHA-256 {sha256}.\n"
_BATCH = "# The most images of one execution: {why}.\nmax_batch_size: {batch}\n"


def tagger(manifest: Manifest, *, instances: int, threads: int, batch: int, delay: int) -> str:
    """The configuration of a CPU plan: one model, in Triton's Python backend."""
    optimize = "latency" if threads == 1 else "throughput"
    return "".join(
        [
            _SOURCE.format(name=manifest.name, sha256=manifest.files["plan"].sha256),
            f'name: "{manifest.name}"\n# Runs 1/model.py, which needs the package pvlr-sdk in the server.\n'
            'backend: "python"\n',
            _BATCH.format(batch=batch, why="more keeps the cores busy for longer at once, and adds to the latency"),
            _INPUTS.format(),
            f"output [\n{_SCORES.format(labels=len(manifest.labels))},\n{_TAGS}\n]\n",
            _BATCHING.format(delay=delay),
            "# Each instance is a process with the model in its memory. One that uses all cores needs the least;\n"
            "# several with one core each overlap the end of one batch with the next.\n"
            f"instance_group [ {{ count: {instances}, kind: KIND_CPU }} ]\n",
            "parameters [\n"
            f'  {{ key: "threads" value: {{ string_value: "{threads}" }} }},  # of an instance; 0: all cores\n'
            f'  {{ key: "optimize" value: {{ string_value: "{optimize}" }} }}  # as for pvlr_sdk.Tagger\n]\n',
            _warmup('inputs {\n    key: "FRAME"\n    value { data_type: TYPE_UINT8, dims: [ 480, 640, 3 ], '
                    "zero_data: true }\n  }"),
        ]
    )  # fmt: skip


def ensemble(manifest: Manifest, steps: tuple[str, str, str], batch: int) -> str:
    """The configuration of the ensemble on a TensorRT engine, whose steps are other models of the repository."""
    before, engine, after = steps
    return "".join(
        [
            _SOURCE.format(name=manifest.name, sha256=manifest.files["plan"].sha256),
            f'name: "{manifest.name}"\n# Decoding, the engine and the thresholds, one after the other in the server.\n'
            'platform: "ensemble"\n',
            _BATCH.format(batch=batch, why="that of the engine"),
            _INPUTS.format(),
            f"output [\n{_SCORES.format(labels=len(manifest.labels))},\n{_TAGS}\n]\n",
            "ensemble_scheduling {\n  step [\n",
            _step(before, {"IMAGE": "IMAGE", "FRAME": "FRAME"}, {"image": "image"}) + ",\n",
            _step(engine, {"image": "image"}, {"logits": "logits"}) + ",\n",
            _step(after, {"logits": "logits"}, {"SCORES": "SCORES", "TAGS": "TAGS"}) + "\n  ]\n}\n",
        ]
    )


def engine(manifest: Manifest, name: str, batch: int, delay: int) -> str:
    """The configuration of the TensorRT engine, a step of the ensemble."""
    size = manifest.input
    tokens = manifest.attention.rows * manifest.attention.columns
    return "".join(
        [
            f'name: "{name}"\n# The engine. A plugin library beside it is loaded with LD_PRELOAD: see docs/scale.md.\n'
            'platform: "tensorrt_plan"\ndefault_model_filename: "engine.plan"\n',
            _BATCH.format(batch=batch, why="the largest batch of the engine's optimization profile"),
            f'input [ {{ name: "image", data_type: TYPE_FP32, dims: [ 3, {size.height}, {size.width} ] }} ]\n',
            "output [\n"
            f'  {{ name: "logits", data_type: TYPE_FP32, dims: [ {len(manifest.labels)} ] }},\n'
            f'  {{ name: "similarity", data_type: TYPE_FP32, dims: [ {tokens}, {len(manifest.labels)} ] }}\n]\n',
            _BATCHING.format(delay=delay),
            "# Two execution contexts: one copies while the other computes.\n"
            "instance_group [ { count: 2, kind: KIND_GPU } ]\n",
            "# A CUDA graph for each batch size saves the launches of single kernels.\n"
            "optimization { cuda { graphs: true } }\n",
            _warmup(f'inputs {{\n    key: "image"\n    value {{ data_type: TYPE_FP32, '
                    f"dims: [ 3, {size.height}, {size.width} ], zero_data: true }}\n  }}"),
        ]
    )  # fmt: skip


def step(name: str, inputs: str, outputs: str, batch: int, instances: int) -> str:
    """The configuration of a step in the Python backend."""
    return "".join(
        [
            f'name: "{name}"\nbackend: "python"\n',
            _BATCH.format(batch=batch, why="that of the engine"),
            inputs,
            f"output [\n{outputs}\n]\n",
            "# Enough processes to keep the engine busy; each has a thread per core.\n"
            f"instance_group [ {{ count: {instances}, kind: KIND_CPU }} ]\n",
        ]
    )


def preprocessing(manifest: Manifest, name: str, batch: int) -> str:
    """The configuration of the first step of the ensemble."""
    size = manifest.input
    image = f'  {{ name: "image", data_type: TYPE_FP32, dims: [ 3, {size.height}, {size.width} ] }}'
    return step(name, _INPUTS.format(), image, batch, 2)


def postprocessing(manifest: Manifest, name: str, batch: int) -> str:
    """The configuration of the last step of the ensemble."""
    logits = f'input [ {{ name: "logits", data_type: TYPE_FP32, dims: [ {len(manifest.labels)} ] }} ]\n'
    return step(name, logits, f"{_SCORES.format(labels=len(manifest.labels))},\n{_TAGS}", batch, 1)


def _step(model: str, inputs: dict[str, str], outputs: dict[str, str]) -> str:
    maps = [f'      input_map {{ key: "{key}" value: "{value}" }}' for key, value in inputs.items()]
    maps += [f'      output_map {{ key: "{key}" value: "{value}" }}' for key, value in outputs.items()]
    lines = "\n".join(maps)
    return f'    {{\n      model_name: "{model}"\n      model_version: -1\n{lines}\n    }}'


def _warmup(inputs: str) -> str:
    return (
        "# The first inference allocates memory: let none of a client's requests wait for it.\n"
        f'model_warmup [ {{\n  name: "one image"\n  batch_size: 1\n  {inputs}\n}} ]\n'
    )
