"""Writes a model repository: a CPU plan as one model, a TensorRT plan as an ensemble of three steps."""

from __future__ import annotations

import os
import re
from importlib.resources import files
from pathlib import Path

from ... import errors
from ...backends.tensorrt import plugins
from ...bundle.bundle import Bundle, labels_path, manifest_path
from ...bundle.manifest import Manifest
from ...bundle.trust import signature_path
from ...files import write_files
from . import configs

_BATCH = 64
"""Of a CPU plan, which takes images one by one: enough that the cores seldom wait for the next batch."""
_DELAY = 2000
"""Microseconds: less than a CPU needs for one image."""


def export_triton(
    plan: str | os.PathLike[str],
    out: str | os.PathLike[str],
    *,
    name: str | None = None,
    instances: int = 1,
    threads: int = 0,
) -> list[Path]:
    """Write a plan into a model repository, beside other models that may be there.

    A CPU plan becomes a model of Triton's Python backend, which holds a ``Tagger``. A TensorRT plan becomes an
    ensemble: preprocessing, the engine with the plugin library beside it, postprocessing.

    Args:
        plan: as for :class:`pvlr_sdk.Tagger`; with trusted keys (``PVLR_TRUST``), its signature is verified.
        out: the repository's folder.
        name: of the model; None: the plan's own.
        instances, threads: of a CPU plan: processes, and the threads of each; 0: all cores.

    Returns:
        the folders of the models.

    Raises:
        BundleError: the plan cannot be used; each reason has its own class.
        OptionError: the name is not one that Triton accepts.
        MissingPartError: the plan needs the plugin library, and it is missing.
        OutputError: a file cannot be written; nothing was changed.
    """
    bundle = Bundle.open(plan)
    manifest = bundle.manifest.model_copy(update={"name": name or bundle.manifest.name})
    if not re.fullmatch(r"[\w-][\w.-]*", manifest.name):  # it becomes a folder: .. would be another one
        expected, hint = "letters, digits, - _ and, not first, .", "Give another with --name."
        raise errors.OptionError("name", expected=expected, got=repr(manifest.name), hint=hint)
    contents = (_ensemble if manifest.backend == "tensorrt" else _tagger)(bundle, manifest, instances, threads)
    write_files({Path(out, path): data for path, data in contents.items()})
    return [Path(out, path).parent for path in contents if path.endswith("config.pbtxt")]


def _tagger(bundle: Bundle, manifest: Manifest, instances: int, threads: int) -> dict[str, bytes]:
    name = manifest.name
    config = configs.tagger(manifest, instances=instances, threads=threads, batch=_BATCH, delay=_DELAY)
    return {
        **_bundle(bundle, f"{name}/1"),
        f"{name}/1/model.py": _code("tagger_model"),
        f"{name}/labels.txt": _labels(manifest),
        f"{name}/config.pbtxt": config.encode(),
    }


def _ensemble(bundle: Bundle, manifest: Manifest, *_: int) -> dict[str, bytes]:
    assert manifest.tensorrt is not None
    name, batch = manifest.name, manifest.tensorrt.batch[2]
    steps = before, engine, after = f"{name}-preprocess", f"{name}-engine", f"{name}-postprocess"
    contents = {
        f"{before}/1/engine.json": manifest_path(bundle.path).read_bytes(),
        f"{before}/1/model.py": _code("preprocess_model"),
        f"{before}/config.pbtxt": configs.preprocessing(manifest, before, batch).encode(),
        f"{after}/1/engine.json": manifest_path(bundle.path).read_bytes(),
        f"{after}/1/model.py": _code("postprocess_model"),
        f"{after}/labels.txt": _labels(manifest),
        f"{after}/config.pbtxt": configs.postprocessing(manifest, after, batch).encode(),
        f"{engine}/1/engine.plan": bundle.payload,
        f"{engine}/config.pbtxt": configs.engine(manifest, engine, batch, _DELAY).encode(),
    }
    if manifest.tensorrt.plugins is not None:
        library = plugins.find()
        contents[f"{engine}/1/{library.path.name}"] = library.path.read_bytes()
    return {
        **contents,
        f"{name}/1/.keep": b"",  # Triton wants a folder for the version
        f"{name}/labels.txt": _labels(manifest),
        f"{name}/config.pbtxt": configs.ensemble(manifest, steps, batch).encode(),
    }


def _bundle(bundle: Bundle, folder: str) -> dict[str, bytes]:
    found = {"json": manifest_path, "labels.safetensors": labels_path, "sig": signature_path}
    files = {f"{folder}/engine.{suffix}": path_of(bundle.path) for suffix, path_of in found.items()}
    read = {name: path.read_bytes() for name, path in files.items() if path.is_file()}
    return {f"{folder}/engine.plan": bundle.payload, **read}


def _code(module: str) -> bytes:
    return (files(__package__) / f"{module}.py").read_bytes()


def _labels(manifest: Manifest) -> bytes:
    return "".join(f"{label.name}\n" for label in manifest.labels).encode()
