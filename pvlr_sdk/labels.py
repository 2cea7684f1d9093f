"""The label bank: the text branch of PVLR folded into data (DESIGN.md section 2)."""

from __future__ import annotations

import difflib
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from . import errors
from .files import write_files

_HINT = "Copy the bundle again, or export the label bank again with pvlr export."


class LabelBank:
    """The names, embeddings and calibrated thresholds of a model's labels.

    Args:
        names: C distinct label names.
        embeddings: float16 (C, d), what the text branch gives for each label.
        thresholds: float32 (C,), the score from which on each label is a tag, between 0 and 1.
        text: what made the embeddings (text encoder, prompts, SHA-256); anything that JSON holds.

    Raises:
        LabelBankError: a shape, dtype, name or threshold can't be.
    """

    def __init__(
        self,
        names: Sequence[str],
        embeddings: NDArray[np.float16],
        thresholds: NDArray[np.float32],
        text: Mapping[str, Any] | None = None,
        *,
        source: str = "labels",
    ) -> None:
        self.names = list(names)
        self.embeddings = embeddings
        self.thresholds = thresholds
        self.text = dict(text or {})
        self._check(source)
        self._index = {name: index for index, name in enumerate(self.names)}

    def __len__(self) -> int:
        return len(self.names)

    def index(self, name: str) -> int:
        """Position of a label among the model's outputs.

        Raises:
            UnknownLabelError: the model has no such label; the message names the closest ones.
        """
        return find_label(name, self._index)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> LabelBank:
        """Read a ``.labels.safetensors`` file.

        Raises:
            LabelBankError: it is missing, unreadable or inconsistent.
        """
        try:
            data = Path(path).read_bytes()
        except OSError as error:
            raise errors.LabelBankError(
                str(path), expected="a label bank", got=error.strerror or str(error), hint=_HINT
            ) from None
        return cls.from_bytes(data, source=str(path))

    @classmethod
    def from_bytes(cls, data: bytes, *, source: str = "labels") -> LabelBank:
        """Parse the contents of a ``.labels.safetensors`` file; ``source`` names it in errors."""
        import safetensors.numpy

        try:
            tensors = safetensors.numpy.load(data)
            # safetensors reads metadata from files only; its header is a length and a JSON object.
            header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
            metadata = header["__metadata__"]
            names, text = json.loads(metadata["names"]), json.loads(metadata.get("text", "{}"))
            embeddings, thresholds = tensors["embeddings"], tensors["thresholds"]
        except Exception as error:  # every release of safetensors has other exception classes
            raise errors.LabelBankError(
                source,
                expected="a safetensors file with embeddings, thresholds and names",
                got=f"{type(error).__name__}: {error}",
                hint=_HINT,
            ) from None
        if not isinstance(names, list) or not isinstance(text, dict):
            raise errors.LabelBankError(
                source, expected="names as a list and text as an object", got="other JSON types", hint=_HINT
            )
        return cls(names, embeddings, thresholds, text, source=source)

    def to_bytes(self) -> bytes:
        """The contents of a ``.labels.safetensors`` file; the same bank always gives the same bytes."""
        # By hand, since the safetensors package writes metadata in random order: two builds would differ in their hash.
        embeddings, thresholds = self.embeddings.tobytes(), self.thresholds.tobytes()
        end = len(embeddings) + len(thresholds)
        header: dict[str, Any] = {
            "__metadata__": {"names": json.dumps(self.names), "text": json.dumps(self.text, sort_keys=True)},
            "embeddings": _entry("F16", self.embeddings.shape, 0, len(embeddings)),
            "thresholds": _entry("F32", self.thresholds.shape, len(embeddings), end),
        }
        text = json.dumps(header).encode()
        text += b" " * (-len(text) % 8)
        return len(text).to_bytes(8, "little") + text + embeddings + thresholds

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write a ``.labels.safetensors`` file.

        Raises:
            OutputError: it can't be written; what was there before is untouched.
        """
        write_files({Path(path): self.to_bytes()})

    def _check(self, source: str) -> None:
        count = len(self.names)
        bad_names = [name for name in self.names if not isinstance(name, str) or not name]
        wrong: tuple[str, str] | None = None
        if count == 0 or bad_names or len(set(self.names)) != count:
            wrong = ("distinct label names that are not empty", f"{self.names[:5]}...")
        elif self.embeddings.dtype != np.float16 or self.embeddings.ndim != 2 or len(self.embeddings) != count:
            wrong = (f"embeddings float16 ({count}, d)", f"{self.embeddings.dtype} {self.embeddings.shape}")
        elif self.thresholds.dtype != np.float32 or self.thresholds.shape != (count,):
            wrong = (f"thresholds float32 ({count},)", f"{self.thresholds.dtype} {self.thresholds.shape}")
        elif not np.isfinite(self.embeddings).all():
            wrong = ("finite embeddings", "NaN or infinite values")
        elif not ((self.thresholds > 0) & (self.thresholds < 1)).all():
            wrong = ("thresholds between 0 and 1", f"{self.thresholds.min()} to {self.thresholds.max()}")
        if wrong:
            raise errors.LabelBankError(source, expected=wrong[0], got=wrong[1], hint=_HINT)


def _entry(dtype: str, shape: Sequence[int], start: int, end: int) -> dict[str, Any]:
    return {"dtype": dtype, "shape": list(shape), "data_offsets": [start, end]}


def find_label(name: str, index: Mapping[str, int]) -> int:
    """Position of ``name`` in a name-to-position mapping.

    Raises:
        UnknownLabelError: it is not there; the message names the closest ones.
    """
    try:
        return index[name]
    except (KeyError, TypeError):
        close = difflib.get_close_matches(str(name), index, n=3, cutoff=0.5)
        raise errors.UnknownLabelError(
            "label",
            expected=f"one of the model's {len(index)} labels",
            got=repr(name),
            hint=f"Did you mean {' or '.join(map(repr, close))}?" if close else "pvlr labels lists them.",
        ) from None
