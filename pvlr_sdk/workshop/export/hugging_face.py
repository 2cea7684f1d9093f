"""A plan as a folder for the Hugging Face Hub: its files, a model card with metadata, and ``config.json``."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Any

from ..._util.files import write_files
from ...bundle.bundle import bundle_files, manifest_path
from ...models.catalogue import Model, is_released, named
from ...models.find import load_bundle

_FRONT = re.compile(r"\A---\n.*?\n---\n", re.DOTALL)
_CARD = """
# {name}

Multi-label image tagging: {count} labels, {width} x {height} pixels, for {backend}.

```python
from pvlr_sdk import Tagger

for tag in Tagger.from_pretrained("path/of/this/folder").predict("photo.jpg"):
    print(tag.label, tag.score)
```
"""


def export_hub(plan: str | os.PathLike[str] | None, out: Path, *, licence: str = "other") -> Path:
    """Write the files of a repository of the Hub into a folder; returns the folder.

    Args:
        plan: as for :class:`pvlr_sdk.Tagger`. The card next to a released model is part of the result.
        out: the folder; it is created. Push it with ``hf upload``.
        licence: the Hub's identifier of the licence of the weights, such as ``apache-2.0``.

    Raises:
        PlanNotFoundError, BundleError, SignatureError: the plan cannot be used.
        OutputError: the files cannot be written.
    """
    bundle = load_bundle(plan)
    manifest = bundle.manifest
    labels = [label.name for label in manifest.labels]
    model = named(manifest.name)
    # a copy with other thresholds
    if model and not is_released(manifest_path(bundle.path), model.files[".json"]):
        model = None
    source = bundle_files(bundle.path)
    contents = {
        out / f"engine{path.name.removeprefix(bundle.path.stem)}": path.read_bytes()
        for path in source
    }
    config = {
        "model_type": "pvlr",
        "problem_type": "multi_label_classification",
        "id2label": dict(enumerate(labels)),
        "label2id": {label: index for index, label in enumerate(labels)},
        "thresholds": {label.name: label.threshold for label in manifest.labels},
        "image_size": [manifest.input.height, manifest.input.width],
    }
    card = bundle.path.parent / "README.md"
    text = card.read_text() if model and card.is_file() else None
    values = {"name": manifest.name, "count": len(labels), "backend": manifest.backend}
    text = text or _CARD.format(width=manifest.input.width, height=manifest.input.height, **values)
    front = "".join(
        f"{key}: {json.dumps(value)}\n" for key, value in _metadata(model, licence).items()
    )
    contents[out / "README.md"] = f"---\n{front}---\n{_FRONT.sub('', text)}".encode()
    contents[out / "config.json"] = json.dumps(config, indent=1, ensure_ascii=False).encode()
    manifest_file = out / manifest_path(Path("engine.plan"))
    contents[manifest_file] = contents.pop(manifest_file)  # which refers to the others, is the last
    write_files(contents)
    return out


def _metadata(model: Model | None, licence: str) -> dict[str, Any]:
    """The front matter of the card, with the measurements of a released model (huggingface.co/docs/hub/model-cards)."""
    metadata: dict[str, Any] = {
        "license": licence,
        "library_name": "pvlr-sdk",
        "pipeline_tag": "image-classification",
        "tags": ["multi-label", "image-tagging", "edge"],
        "metrics": ["mAP"],
    }
    if model:
        task = {"type": "image-classification", "name": "Multi-label image classification"}
        results = [
            {
                "task": task,
                "dataset": {"type": accuracy.data.lower().replace(" ", "-"), "name": accuracy.data},
                "metrics": [{"type": "mAP", "value": accuracy.mAP}],
            }
            for accuracy in model.accuracy
        ]
        metadata["model-index"] = [{"name": model.name, "results": results}]
    return metadata
