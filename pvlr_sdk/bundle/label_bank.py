"""The label bank: the text branch of PVLR, computed once and stored as data (``docs/model.md``)."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from .. import errors
from .._util.files import system_errors, write_files
from .._util.plain_json import is_printable
from .._util.validation import did_you_mean
from ..trust.verify import Signature, TrustLike, read_signed
from .schema import MAX_LABEL_LENGTH
from .tensors import from_safetensors, to_safetensors

LABEL_NAMES = f"label names of 1 to {MAX_LABEL_LENGTH} characters without control characters"
_MAX_BYTES = 2**28
_LARGEST = 1000.0
"""Of all values of a bank. The values of trained and taught labels stay below 30."""
_ARRAYS = {"embeddings": ("float16", 2), "thresholds": ("float32", 1)}
_ARRAYS |= {
    **dict.fromkeys(("precise_thresholds", "biases", "gains"), ("float32", 1)),
    "weights": ("float16", 2),
}
_OPTIONAL = tuple(_ARRAYS)[2:]
_HINT = "Copy the bundle again, or write the label bank again: pvlr export, pvlr bank make or pvlr teach."

_Problem: TypeAlias = tuple[str, str]
"""What is expected of a bank, and what it has."""


class LabelBank:
    """The names, embeddings and calibrated thresholds of a model's labels.

    In an open plan, the logit of a label is gain * z + bias + weights . x, where z is the network's logit for the
    embedding and x are the features of the image. Teaching (:mod:`pvlr_sdk.labels`) chooses the three from photos.

    Args:
        names: C distinct label names.
        embeddings: float16 (C, d), the text branch's output for each label; zeros for a label without words.
        thresholds: float32 (C,), the score at or above which each label is reported, between 0 and 1.
        text: the provenance of the embeddings (text encoder, prompts, SHA-256); any JSON object. Its ``space`` names
            the open plans that can use the bank, its ``features`` those that can use ``weights``.
        precise_thresholds: float32 (C,), the thresholds of the operating point ``precise``, none below ``thresholds``;
            None: ``thresholds`` serve for both.
        biases: float32 (C,), what an open plan adds to each logit; None: nothing. A closed plan contains its own.
        gains: float32 (C,); None: 1 for labels with words, 0 for those without.
        weights: float16 (C, D), zeros for labels that were not taught; None: none was.

    Raises:
        LabelBankError: a shape, dtype, name or threshold is invalid.
    """

    def __init__(
        self,
        names: Sequence[str],
        embeddings: NDArray[np.float16],
        thresholds: NDArray[np.float32],
        text: Mapping[str, Any] | None = None,
        precise_thresholds: NDArray[np.float32] | None = None,
        *,
        biases: NDArray[np.float32] | None = None,
        gains: NDArray[np.float32] | None = None,
        weights: NDArray[np.float16] | None = None,
        source: str = "labels",
    ) -> None:
        self.names = list(names)
        self.embeddings = embeddings
        self.thresholds = thresholds
        self.text = dict(text or {})
        self.precise_thresholds = precise_thresholds
        self.biases = biases
        self.gains = gains
        self.weights = weights
        self.signature: Signature | None = None
        """The verified signature of the file from which :meth:`load` has read it."""
        self._check(source)
        self._index = {name: index for index, name in enumerate(self.names)}

    def __len__(self) -> int:
        return len(self.names)

    @property
    def space(self) -> str | None:
        """What the embeddings mean: the open plans with this name can use them; None: no open plan can."""
        return self.text.get("space")

    @property
    def has_words(self) -> NDArray[np.bool_]:
        """bool (C,): which labels have an embedding."""
        return (self.embeddings != 0).any(axis=1)

    @property
    def taught(self) -> dict[str, Any]:
        """The provenance of the labels that were taught, by name."""
        return self.text.get("taught", {})

    @property
    def sha256(self) -> str:
        """SHA-256 of the bank's file, in hex."""
        return hashlib.sha256(self.to_bytes()).hexdigest()

    def select(self, names: Iterable[str]) -> LabelBank:
        """A bank of some of the labels, in the order of ``names``.

        Raises:
            UnknownLabelError: the bank does not have one of them.
            LabelBankError: there is none, or one twice.
        """
        rows = [self.index(name) for name in names]
        chosen = [self.names[row] for row in rows]
        optional: dict[str, Any] = {
            name: None if array is None else array[rows] for name, array in self._optional().items()
        }
        text = {
            **self.text,
            "taught": {name: self.taught[name] for name in chosen if name in self.taught},
        }
        if not text["taught"]:
            del text["taught"]
        return LabelBank(chosen, self.embeddings[rows], self.thresholds[rows], text, **optional)

    def renamed(self, names: Sequence[str]) -> LabelBank:
        """A bank of the same labels with other names, in this order. Raises LabelBankError: a name is invalid."""
        taught = {
            new: self.taught[old]
            for new, old in zip(names, self.names, strict=True)
            if old in self.taught
        }
        text = {**self.text, "taught": taught} if taught else self.text
        return LabelBank(names, self.embeddings, self.thresholds, text, **self._optional())

    def join(self, other: LabelBank, *, keep: bool = False) -> LabelBank:
        """A bank with the labels of another bank appended, such as the labels of a plan and some words.

        A label that both have, with the same values, is taken once; with ``keep`` also one with other values, from the
        first bank.

        Raises:
            LabelBankError: a label is in both, with other values, or they are made for different plans.
        """
        self._check_join(other, keep)
        if not (new := [name for name in other.names if name not in self._index]):
            return self
        other = other.select(new)
        first = self.arrays()
        second = other.arrays()
        depth = max(first["weights"].shape[1], second["weights"].shape[1])
        for arrays in (first, second):
            if not arrays["weights"].size:
                arrays["weights"] = np.zeros((len(arrays["weights"]), depth), np.float16)
        arrays = {name: np.concatenate([array, second[name]]) for name, array in first.items()}
        if self.precise_thresholds is None and other.precise_thresholds is None:
            arrays["precise_thresholds"] = None
        if self.weights is None and other.weights is None:
            arrays["weights"] = None
        text = {**other.text, **self.text, "taught": {**self.taught, **other.taught}}
        if not text["taught"]:
            del text["taught"]
        return LabelBank([*self.names, *other.names], text=text, **arrays)

    def arrays(self) -> dict[str, Any]:
        """Copies of all arrays, with the values that missing ones stand for; missing weights have no columns."""
        count = len(self)
        precise = self.thresholds if self.precise_thresholds is None else self.precise_thresholds
        return {
            "embeddings": self.embeddings.copy(),
            "thresholds": self.thresholds.copy(),
            "precise_thresholds": precise.copy(),
            "biases": np.zeros(count, np.float32) if self.biases is None else self.biases.copy(),
            "gains": self.has_words.astype(np.float32) if self.gains is None else self.gains.copy(),
            "weights": np.zeros((count, 0), np.float16)
            if self.weights is None
            else self.weights.copy(),
        }

    def index(self, name: str) -> int:
        """Position of a label among the model's outputs.

        Raises:
            UnknownLabelError: the model does not have this label; the message suggests the closest ones.
        """
        return find_label(name, self._index)

    @classmethod
    def load(cls, path: str | os.PathLike[str], *, trust: TrustLike = None) -> LabelBank:
        """Read a ``.labels.safetensors`` file.

        Args:
            path: the file.
            trust: the keys that may sign it, as for ``Tagger``; None: the keys of ``PVLR_TRUST``, if it is set; False:
                none. A file that only this user can write, in the state folder, needs no signature.

        Raises:
            LabelBankError: it is missing, unreadable or inconsistent.
            SignatureError: it is not signed as ``trust`` demands.
        """
        with system_errors(errors.LabelBankError, str(path), expected="a label bank", hint=_HINT):
            data, signature = read_signed(Path(path), _MAX_BYTES, trust)
        bank = cls.from_bytes(data, source=str(path))
        bank.signature = signature
        return bank

    @classmethod
    def from_bytes(cls, data: bytes, *, source: str = "labels") -> LabelBank:
        """Parse the contents of a ``.labels.safetensors`` file; ``source`` names it in errors."""
        try:
            tensors, names, text = from_safetensors(data)
            embeddings = tensors["embeddings"]
            thresholds = tensors["thresholds"]
            optional: dict[str, Any] = {name: tensors.get(name) for name in _OPTIONAL}
        except Exception as error:  # the exception classes differ between releases of safetensors
            raise errors.LabelBankError(
                source,
                "a safetensors file with embeddings, thresholds and names",
                f"{type(error).__name__}: {error}",
                _HINT,
            ) from None
        if not isinstance(names, list) or not isinstance(text, dict):
            raise errors.LabelBankError(
                source, "names as a list and text as an object", "other JSON types", _HINT
            )
        return cls(names, embeddings, thresholds, text, **optional, source=source)

    def to_bytes(self) -> bytes:
        """The contents of a ``.labels.safetensors`` file; equal banks give equal bytes."""
        tensors: dict[str, NDArray[Any]] = {
            "embeddings": self.embeddings,
            "thresholds": self.thresholds,
        }
        tensors |= {name: tensor for name, tensor in self._optional().items() if tensor is not None}
        return to_safetensors(tensors, self.names, self.text)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write a ``.labels.safetensors`` file.

        Raises:
            OutputError: it cannot be written; an existing file is unchanged.
        """
        write_files({Path(path): self.to_bytes()})

    def _optional(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in _OPTIONAL}

    def _is_valid(self, name: str) -> bool:
        array, (dtype, dims) = getattr(self, name), _ARRAYS[name]
        if array is None and name in _OPTIONAL:
            return True
        described = array.dtype == dtype and array.ndim == dims and len(array) == len(self)
        return described and bool((np.abs(array) <= _LARGEST).all())  # which is False for NaN

    def _check_join(self, other: LabelBank, keep: bool) -> None:
        both = [] if keep else [name for name in other.names if name in self._index]
        differ = [
            name
            for name in both
            if not _equal(self.select([name]).arrays(), other.select([name]).arrays())
        ]
        hint = "Create both for the same plan."
        features = [bank.text.get("features") for bank in (self, other) if bank.weights is not None]
        if (self.space, self.embeddings.shape[1]) != (other.space, other.embeddings.shape[1]):
            expected = f"a bank for {self.space}"
            got = f"a bank for {other.space}"
        elif len(set(features)) > 1:
            expected = f"weights for the features of {features[0]}"
            got = f"weights for {features[1]}"
        elif differ:
            expected = "the same values of labels in both"
            got = f"other values of {', '.join(map(repr, differ))}"
            hint = "Leave them out of one (select), or add --keep-first (keep) to take the first bank's."
        else:
            return
        raise errors.LabelBankError("bank", expected, got, hint)

    def _check(self, source: str) -> None:
        problem = (
            self._problem_of_names()
            or self._problem_of_arrays()
            or self._problem_of_thresholds()
            or self._problem_of_text()
        )
        if problem:
            expected, got = problem
            raise errors.LabelBankError(source, expected, got, _HINT)

    def _problem_of_names(self) -> _Problem | None:
        bad_names = [name for name in self.names if not is_label(name)]
        if self.names and not bad_names and len(set(self.names)) == len(self.names):
            return None
        shown = bad_names or self.names
        return f"distinct {LABEL_NAMES}", f"{ascii(shown[:5])[:200]}..."

    def _problem_of_arrays(self) -> _Problem | None:
        name = next((name for name in _ARRAYS if not self._is_valid(name)), None)
        if name is None:
            return None
        array = getattr(self, name)
        dtype, dims = _ARRAYS[name]
        shape = f"({len(self)}{', d' if dims == 2 else ','})"
        return (
            f"{name} {dtype} {shape}, finite and of at most {_LARGEST:g}",
            f"{array.dtype} {array.shape}, up to {np.abs(array).max(initial=0):g}",
        )

    def _problem_of_thresholds(self) -> _Problem | None:
        low = self.thresholds
        if not ((low > 0) & (low < 1)).all():
            return "thresholds between 0 and 1", f"{low.min()} to {low.max()}"
        precise = low if self.precise_thresholds is None else self.precise_thresholds
        if not ((precise >= low) & (precise < 1)).all():
            return (
                "precise_thresholds from thresholds to below 1",
                f"{(precise - low).min():+g} from thresholds, up to {precise.max()}",
            )
        return None

    def _problem_of_text(self) -> _Problem | None:
        if not isinstance(self.space, (str, type(None))):
            return "a name as text.space", f"{self.space!r}"[:100]
        taught = self.taught
        if not isinstance(taught, dict) or not all(
            isinstance(entry, dict) for entry in taught.values()
        ):
            return "an object of objects as text.taught", type(taught).__name__
        return None


def _equal(first: Mapping[str, NDArray[Any]], second: Mapping[str, NDArray[Any]]) -> bool:
    """Whether two banks have the same values; without weights, they are zero."""
    differ = [name for name, array in first.items() if not np.array_equal(array, second[name])]
    weights = first["weights"], second["weights"]
    return not differ or (differ == ["weights"] and not any(array.any() for array in weights))


def is_label(name: object) -> bool:
    """Whether a bundle can have a label of this name; :data:`LABEL_NAMES` describes valid names."""
    return isinstance(name, str) and 0 < len(name) <= MAX_LABEL_LENGTH and is_printable(name)


def find_label(name: str, index: Mapping[str, int]) -> int:
    """Position of ``name`` in a name-to-position mapping.

    Raises:
        UnknownLabelError: there is no such name; the message suggests the closest ones.
    """
    try:
        return index[name]
    except (KeyError, TypeError):
        raise errors.UnknownLabelError(
            "label",
            f"one of the model's {len(index)} labels",
            f"{name!r:.200}",
            did_you_mean(str(name), index) or "pvlr labels lists them.",
        ) from None
