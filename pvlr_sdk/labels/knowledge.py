"""Labels from words alone: what a plan's image features say about named concepts, translated by the language model."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .. import errors
from .._util.files import system_errors, write_files
from ..bundle.label_bank import LabelBank
from ..bundle.tensors import from_safetensors, to_safetensors
from ..models.find import find_knowledge
from ..trust.verify import TrustLike, read_signed
from .words import TEMPLATES, bank_from_words

Floats = NDArray[np.float64]

_MAX_BYTES = 2**30
_TENSORS = ("vectors", "weights", "photos")
_RANGE = (-3.0, 5.0)
"""Of standardised evidence, before its exponential."""
_RIDGE = 4.0
"""The strength of the regression, for features of unit length. Chosen on photos of COCO's train split."""
_EXPECTED = "a knowledge file of pvlr export"
_HINT = "Give the name of an open model, or write it with pvlr export RUN --open --knowledge PHOTOS."


@dataclass(frozen=True)
class Calibration:
    """How a standardised score u of a label becomes its logit, ``scale`` u + ``offset``, and the thresholds of all
    labels from words. Measured on labels with a known truth, as if they were unseen (``docs/model.md``)."""

    scale: float = 1.0
    offset: float = -2.0
    threshold: float = 0.5
    precise_threshold: float = 0.9


@dataclass(frozen=True, eq=False)
class Knowledge:
    """K named concepts, and n photos without labels, for the plans with the same image features.

    The evidence for concept k on an image with the features x (D,) is weights_k . x, up to a constant. A label's
    evidence is a weighted sum of these: the weight of a concept is max(0, cos(t_c, t_k))^sharpness, divided by its sum
    over k, with the text vectors t of unit length, less the mean of the concepts'. To it is added what the photos of
    the label have in common: a ridge regression from x to exp(u), where u is the standardised evidence on the photos. A
    dining table so gets evidence from plates. The sum is standardised over the photos, so that scores of different
    labels are comparable, and calibrated. All of it is linear in x, and becomes a label's ``weights`` and ``biases`` in
    a label bank: neither text nor concepts are on the device.

    Attributes:
        names: the concepts, such as ImageNet's classes.
        vectors: float16 (K, d_t), their encodings by the language model.
        weights: float16 (K, D).
        photos: float16 (n, D), the features of the photos.
        calibration: see :class:`Calibration`.
        text: the provenance: ``space`` and ``width`` of the embeddings of the plans, the name of their ``features``,
            ``sharpness``.
    """

    names: list[str]
    vectors: NDArray[np.float16]
    weights: NDArray[np.float16]
    photos: NDArray[np.float16]
    calibration: Calibration
    text: dict[str, Any]

    def bank(
        self,
        words: Iterable[str],
        *,
        templates: Sequence[str] = TEMPLATES,
        descriptions: Mapping[str, str] | None = None,
    ) -> LabelBank:
        """A label bank of words alone. Arguments and errors as for :func:`bank_from_words`."""
        words_alone = bank_from_words(words, templates=templates, descriptions=descriptions)
        return self.bank_of(words_alone.names, words_alone.embeddings.astype(np.float64))

    def bank_of(self, names: Sequence[str], vectors: Floats) -> LabelBank:
        """The label bank of C labels with the text vectors (C, d_t)."""
        weights = self._in_context(self._standardised(self.evidence(vectors)))
        biases = self.calibration.offset - self.calibration.scale * (self._mean @ weights.T)
        count = len(names)
        source = {"positives": 0, "negatives": 0, "words": True, "knowledge": self.sha256, "before": None}
        return LabelBank(
            names,
            np.zeros((count, self.text["width"]), np.float16),
            np.full(count, self.calibration.threshold, np.float32),
            {**{key: self.text[key] for key in ("space", "features")}, "taught": dict.fromkeys(names, source)},
            np.full(count, self.calibration.precise_threshold, np.float32),
            biases=biases.astype(np.float32),
            weights=(self.calibration.scale * weights).astype(np.float16),
        )

    def evidence(self, vectors: Floats) -> Floats:
        """Weights (C, D) of labels with the text vectors (C, d_t), before they are standardised."""
        return self.shares(vectors) @ self.weights.astype(np.float64)

    def _in_context(self, weights: Floats) -> Floats:
        """Weights (C, D) with what the photos of a label have in common; both are standardised, and their sum."""
        centred = self.photos.astype(np.float64) - self._mean
        common = np.exp(np.clip(centred @ weights.T, *_RANGE))
        gram = centred.T @ centred + _RIDGE * np.eye(centred.shape[1])
        found = np.linalg.solve(gram, centred.T @ (common - common.mean(0))).T
        return self._standardised(weights + self._standardised(found))

    def _standardised(self, weights: Floats) -> Floats:
        """Weights whose scores of the photos have a standard deviation of 1."""
        scores = self.photos.astype(np.float64) @ weights.T
        return weights / np.maximum(scores.std(0), 1e-12)[:, None]

    @property
    def _mean(self) -> Floats:
        mean: Floats = self.photos.astype(np.float64).mean(0)
        return mean

    def shares(self, vectors: Floats) -> Floats:
        """(C, K): the share of each concept in the evidence for each label."""
        concepts = _unit(self.vectors.astype(np.float64))
        mean = concepts.mean(0)
        similarity = _unit(_unit(vectors) - mean) @ _unit(concepts - mean).T
        shares = np.maximum(similarity, 0) ** self.text["sharpness"]
        return shares / np.maximum(shares.sum(1, keepdims=True), 1e-12)

    @property
    def sha256(self) -> str:
        """SHA-256 of the file, in hex."""
        return hashlib.sha256(self.to_bytes()).hexdigest()

    def to_bytes(self) -> bytes:
        """The contents of a ``.knowledge.safetensors`` file."""
        text = {**self.text, "calibration": vars(self.calibration)}
        return to_safetensors({name: getattr(self, name) for name in _TENSORS}, self.names, text)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write a ``.knowledge.safetensors`` file.

        Raises:
            OutputError: it cannot be written; an existing file is unchanged.
        """
        write_files({Path(path): self.to_bytes()})

    @classmethod
    def load(cls, path: str | os.PathLike[str], *, trust: TrustLike = None) -> Knowledge:
        """Read a ``.knowledge.safetensors`` file, by its path or the name of its model; ``trust`` as for
        ``LabelBank.load``.

        Raises:
            LabelBankError: it is missing, unreadable or inconsistent.
            SignatureError: it is not signed as ``trust`` demands.
            OptionError, PlanNotFoundError: the model has none, or is not installed.
        """
        path, text = find_knowledge(path), None
        with system_errors(errors.LabelBankError, str(path), expected=_EXPECTED, hint=_HINT):
            data, _ = read_signed(path, _MAX_BYTES, trust)
        try:
            tensors, names, text = from_safetensors(data)
            calibration = Calibration(**{key: float(value) for key, value in text.pop("calibration").items()})
            loaded = cls(list(names), **{name: tensors[name] for name in _TENSORS}, calibration=calibration, text=text)
        except Exception as error:  # the exception classes differ between releases of safetensors
            bank = isinstance(text, dict) and "calibration" not in text
            raise _invalid(str(path), "a label bank" if bank else f"another or damaged file: {error}") from None
        loaded._check(str(path))
        return loaded

    def _check(self, source: str) -> None:
        count, depth = len(self.names), self.weights.shape[-1]
        shapes = {"vectors": (count, self.vectors.shape[-1]), "weights": (count, depth)}
        shapes["photos"] = (len(self.photos), depth)
        for name, shape in shapes.items():
            tensor = getattr(self, name)
            described = tensor.dtype == np.float16 and tensor.shape == shape and tensor.size
            if not described or not np.isfinite(tensor).all():
                raise _invalid(source, f"{name} {tensor.dtype} {tensor.shape}, or values that are not finite")
        numbers = {"width": self.text.get("width"), "sharpness": self.text.get("sharpness")}
        words = {key: self.text.get(key) for key in ("space", "features")}
        positive = all(isinstance(number, (int, float)) and number > 0 for number in numbers.values())
        if not positive or not isinstance(numbers["width"], int):
            raise _invalid(source, f"{numbers}")
        if not all(isinstance(word, str) for word in words.values()):
            raise _invalid(source, f"{words}")
        low, high = self.calibration.threshold, self.calibration.precise_threshold
        if not (0 < low <= high < 1 and np.isfinite([self.calibration.scale, self.calibration.offset]).all()):
            raise _invalid(source, f"{self.calibration}")


def _unit(vectors: Floats) -> Floats:
    return vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)


def _invalid(source: str, got: str) -> errors.LabelBankError:
    return errors.LabelBankError(source, expected=_EXPECTED, got=got[:300], hint=_HINT)
