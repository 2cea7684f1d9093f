"""Loads a plugin library into TensorRT's lean runtime: ``lean_check.py creators|refused LIBRARY``."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import tensorrt_lean_bindings as trt

from pvlr_sdk.backends.tensorrt import plugins


def check_creators(registry: Any, path: Path) -> dict[str, Any]:
    """Lists the creators and makes plugins from fields."""
    plugins.load(registry, path)
    plugins.load(registry, path)

    def create(name: str, **values: np.ndarray) -> Any:
        types = {"int32": trt.PluginFieldType.INT32, "float32": trt.PluginFieldType.FLOAT32}
        fields = [
            trt.PluginField(key, value, types[value.dtype.name]) for key, value in values.items()
        ]
        creator = registry.get_creator(name, plugins.find(path), plugins.NAMESPACE)
        return creator.create_plugin(
            "node", trt.PluginFieldCollection(fields), trt.TensorRTPhase.BUILD
        )

    def number(value: float, dtype: type) -> np.ndarray:
        return np.array([value], dtype)

    ours = [one for one in registry.all_creators if one.plugin_namespace == plugins.NAMESPACE]
    attention = create("DualSoftmaxAttention", heads=number(8, np.int32))
    head = create("TagHead", scale=number(12, np.float32), alpha=number(0.5, np.float32))
    kinds = trt.PluginCapabilityType
    return {
        "creators": {
            one.name: {field.name: field.type.name for field in one.field_names} for one in ours
        },
        "versions": sorted({one.plugin_version for one in ours}),
        "capabilities": [
            type(made.get_capability_interface(kind)).__name__
            for made in (attention, head)
            for kind in (kinds.CORE, kinds.BUILD, kinds.RUNTIME)
        ],
        "refused": [
            create("DualSoftmaxAttention") is None,
            create("DualSoftmaxAttention", heads=number(0.5, np.float32)) is None,
            create("TagHead", scale=number(12, np.float32)) is None,
        ],
    }


def main(check: str, library: Path) -> None:
    logger = trt.Logger()
    registry = trt.get_plugin_registry()
    if check == "creators":
        print(json.dumps(check_creators(registry, library)))
    else:
        plugins.load(registry, library)
    del logger


main(sys.argv[1], Path(sys.argv[2]))
