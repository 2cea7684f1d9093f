"""A shipped network without its knowledge branch."""

from __future__ import annotations

from typing import Any

from tests.networks import changed


def without_knowledge(payload: bytes) -> bytes:
    """A shipped network as it is without its knowledge branch: the logits are those of PVLR's head."""

    def change(model: Any) -> None:
        graph = model.graph
        while graph.node[-1].op_type != "Add" or not graph.node[-1].name.endswith("predict/Add"):
            del graph.node[-1]
        graph.node[-1].output[0] = "logits"
        read = {name for node in graph.node for name in node.input}
        kept = [constant for constant in graph.initializer if constant.name in read]
        del graph.initializer[:]
        graph.initializer.extend(kept)
        for named in (*graph.node, *graph.initializer):
            named.name = _alone(named.name)
        for node in graph.node:
            node.input[:], node.output[:] = map(_alone, node.input), map(_alone, node.output)

    return changed(payload, change)


def _alone(name: str) -> str:
    return name.replace("/head/head/", "/head/").replace("head.head.", "head.")
