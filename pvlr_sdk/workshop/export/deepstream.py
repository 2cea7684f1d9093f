"""A plan as a folder for NVIDIA DeepStream: a network, its labels, a configuration of nvinfer and a parser."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, Literal

import numpy as np

from ... import errors
from ..._util.files import write_files
from ...bundle.manifest import InputSpec
from ...bundle.schema import IMAGE, LOGITS
from ..compile.onnx import edit
from .model_api import read_plan

_CONFIG = """\
# Written by pvlr export-deepstream from {name}, SHA-256 {sha256}.
[property]
gie-unique-id=1
# 1: whole frames. 2: objects of a detector; then also set operate-on-gie-id.
process-mode=1
# The number of sources; the name of the engine has it after _b.
batch-size=1
onnx-file=model.onnx
model-engine-file=model.onnx_b1_gpu0_fp32.engine
# fp32. 2 is fp16: compare its tags before use.
network-mode=0
# A classifier. The parser has the thresholds; classifier-threshold is a minimum for all of them.
network-type=1
classifier-threshold=0
labelfile-path=labels.txt
custom-lib-path=libpvlr_parser.so
parse-classifier-func-name=NvDsInferParsePvlr
# RGB, net-scale-factor * (pixel - offset)
infer-dims=3;{height};{width}
model-color-format=0
net-scale-factor={scale:.9g}
offsets={offsets}
"""
_PARSER = """\
// The labels of {name} whose scores reach their thresholds, for nvinfer. Written by pvlr export-deepstream.
//
//   DEEPSTREAM=/opt/nvidia/deepstream/deepstream/sources/includes
//   g++ -O2 -shared -fPIC -I$DEEPSTREAM -I/usr/local/cuda/include parser.cpp -o libpvlr_parser.so
#include <cstring>

#include "nvdsinfer_custom_impl.h"

static const struct {{
    const char *name;
    float threshold;
}} kLabels[] = {{
{table}
}};

extern "C" bool NvDsInferParsePvlr(std::vector<NvDsInferLayerInfo> const &layers, NvDsInferNetworkInfo const &,
                                   float least, std::vector<NvDsInferAttribute> &attributes, std::string &text) {{
    const unsigned int count = sizeof(kLabels) / sizeof(kLabels[0]);
    if (layers.size() != 1 || layers[0].dataType != FLOAT || layers[0].inferDims.numElements != count) return false;
    const float *scores = static_cast<const float *>(layers[0].buffer);
    for (unsigned int index = 0; index < count; ++index) {{
        if (!(scores[index] >= kLabels[index].threshold && scores[index] >= least)) continue;
        char *name = strdup(kLabels[index].name);  // which nvinfer frees
        attributes.push_back(NvDsInferAttribute{{0, index, scores[index], name}});
        text.append(name).append(" ");
    }}
    return true;
}}

CHECK_CUSTOM_CLASSIFIER_PARSE_FUNC_PROTOTYPE(NvDsInferParsePvlr);
"""


def export_deepstream(
    plan: str | os.PathLike[str] | None,
    out: Path,
    *,
    bank: str | os.PathLike[str] | None = None,
    operating_point: Literal["f1", "precise"] = "f1",
) -> Path:
    """Write a plan for the CPU as ``model.onnx``, ``labels.txt``, ``parser.cpp`` and ``nvinfer.txt``; returns the last.

    The network's input is what nvinfer makes of a frame; its only output is ``scores`` (N, C). The tags are ours in
    fp32, except for the resize: nvinfer interpolates, and does not average pixels.

    Raises: as :func:`pvlr_sdk.workshop.export.model_api.read_plan`, and
        BackendError: the plan letterboxes images; nvinfer would pad them with another colour.
        OutputError: the files cannot be written.
    """
    manifest, exported, thresholds = read_plan(plan, bank, operating_point)
    spec = manifest.input
    if spec.resize == "letterbox":
        raise errors.BackendError(
            "plan",
            "stretched images",
            "letterboxed ones",
            "Use one that was trained with resize: stretch.",
        )
    texts: dict[str, Any] = {
        "name": ascii(manifest.name)[1:-1],
        "sha256": manifest.files["plan"].sha256,
        "width": spec.width,
        "height": spec.height,
        "scale": 1 / spec.std[0],
        "offsets": ";".join(map(str, spec.mean)),
        "table": "\n".join(
            f'    {{"{_escaped(name)}", {threshold:#.9g}f}},'
            for name, threshold in zip(exported.bank.names, thresholds, strict=True)
        ),
    }
    contents = {
        "labels.txt": ";".join(name.replace(";", ",") for name in exported.bank.names) + "\n",
        "parser.cpp": _PARSER.format(**texts),
        "nvinfer.txt": _CONFIG.format(**texts),
    }
    network = _network(exported.network.payload, spec, exported.network.source)
    write_files(
        {
            out / "model.onnx": network,
            **{out / name: text.encode() for name, text in contents.items()},
        }
    )
    return out / "nvinfer.txt"


def _network(payload: bytes, spec: InputSpec, source: str) -> bytes:
    """The network with the one output ``scores``. It scales channels where nvinfer, with one scale, cannot."""
    model = edit.load(payload, source)
    from onnx import helper, numpy_helper

    graph = model.graph
    nodes = list(model.graph.node)
    if len(set(spec.std)) > 1:
        for node in nodes:
            node.input[:] = [f"{IMAGE}/scaled" if name == IMAGE else name for name in node.input]
        share = (spec.std[0] / np.array(spec.std)).astype(np.float32).reshape(1, 3, 1, 1)
        graph.initializer.append(numpy_helper.from_array(share, f"{IMAGE}/share"))
        nodes.append(helper.make_node("Mul", [IMAGE, f"{IMAGE}/share"], [f"{IMAGE}/scaled"]))
    output = next(port for port in graph.output if port.name == LOGITS)
    del graph.output[:]
    output.name = "scores"
    graph.output.append(output)
    edit.replace_nodes(graph, [*nodes, helper.make_node("Sigmoid", [LOGITS], ["scores"])])
    scored: bytes = model.SerializeToString()
    return scored


def _escaped(name: str) -> str:
    """A label in a literal of C++, which is read in any encoding; a ? would begin a trigraph."""
    return "".join(
        chr(byte) if 32 <= byte < 127 and byte not in b'"\\?' else f"\\{byte:03o}"
        for byte in name.encode()
    )
