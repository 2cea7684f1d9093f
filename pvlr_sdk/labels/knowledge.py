"""Labels from words alone: what a plan's image features say about named concepts, translated by the language model."""

from __future__ import annotations

import functools
import hashlib
import logging
import os
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import repeat
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .. import errors
from .._util.files import system_errors, write_files
from ..backends.backend import closed
from ..bundle.label_bank import LabelBank
from ..bundle.tensors import from_safetensors, packed, to_safetensors, unpacked
from ..models.find import find_knowledge
from ..trust.verify import TrustLike, read_signed
from .dictionary import Floats, shares_of
from .encoder import TextEncoder
from .everyday import Everyday
from .meaning import WARNINGS, Encode, Meaning, meanings, same_labels, warn
from .words import TEMPLATES, checked_words, prompts_of

_log = logging.getLogger(__name__)
_MAX_BYTES = 2**30
_MAX_NUMBER = 8192
"""Of a manifest's ``width``, too: each label gets so many numbers."""
_TENSORS = ("vectors", "weights", "photos")
_RANGE = (-3.0, 5.0)
"""Of standardised evidence, before its exponential."""
_REACHED = (0.01, 0.02)
"""The shares of photos that set the thresholds of a word, at ``f1`` and ``precise``: chosen on words of COCO. Without
them, 53 % of the tags of classes are right instead of 67, at the same F1 (docs/open_labels.md)."""
_LOGITS = (-8.0, 8.0)
"""Of thresholds."""
_RIDGE = 4.0
"""The strength of the regression, for features of unit length. Chosen on photos of COCO's train split."""
_EXPECTED = "a knowledge file of pvlr export"
_HINT = "Give an open plan, or write the file with pvlr export RUN --open --knowledge PHOTOS."


@dataclass(frozen=True)
class Calibration:
    """How a standardised score u of a label becomes its logit, ``scale`` u + ``offset``, and typical thresholds of
    labels from words. Measured on labels with a known truth, as if they were unseen (``docs/model.md``)."""

    scale: float = 1.0
    offset: float = -2.0
    threshold: float = 0.5
    precise_threshold: float = 0.9

    def is_valid(self) -> bool:
        """Whether both thresholds are scores, in their order, and the logits are finite."""
        are_ordered = 0 < self.threshold <= self.precise_threshold < 1
        return are_ordered and bool(np.isfinite([self.scale, self.offset]).all())


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
        everyday: words learned from captions, which stand for themselves; None: there are none.
    """

    names: list[str]
    vectors: NDArray[np.float16]
    weights: NDArray[np.float16]
    photos: NDArray[np.float16]
    calibration: Calibration
    text: dict[str, Any]
    everyday: Everyday | None = None

    def bank(
        self,
        words: Iterable[str],
        *,
        base: LabelBank | None = None,
        senses: Mapping[str, str] | None = None,
        templates: Sequence[str] = TEMPLATES,
        descriptions: Mapping[str, str] | None = None,
        force: bool = False,
    ) -> LabelBank:
        """A label bank of words alone. The provenance of each label has the grade of its word (:mod:`.meaning`).

        A word that was learned from captions (:mod:`.everyday`) is that function of the features, unless it has a sense
        or a description, or the templates are not the default. Of a phrase that is not in the dictionary, its last
        words stand for it. The language model encodes words with a description, and all if the templates are not the
        default.

        Args:
            words: C words or short phrases.
            base: a bank whose labels are taken as they are for words that mean the same, such as "couch" for "sofa",
                except for words in ``senses``.
            senses: for any of the words, what it is a kind of, or the number of its sense, from 1.
            templates, descriptions: as for :func:`bank_from_words`.
            force: accept words that no concept is similar to.

        Raises:
            OptionError: an argument is invalid, a word is unknown, or two words are the same label of ``base``.
            MissingPartError, OutputError: ``templates`` or ``descriptions`` without the extra ``[words]``.
        """
        names = checked_words(words)
        senses = senses or {}
        descriptions = descriptions or {}
        without_sense = [name for name in names if name not in senses]
        same = {} if base is None else same_labels(without_sense, base.names)
        prompts = prompts_of(names, templates, descriptions)
        is_default = tuple(templates) == TEMPLATES
        asked = [name for name in without_sense if name not in same and name not in descriptions]
        rows = self._everyday_rows(asked if is_default else ())
        others = {
            name: texts
            for name, texts in zip(names, prompts, strict=True)
            if name not in same and name not in rows
        }
        as_text = descriptions if is_default else names
        labels = () if base is None else base.names
        word_meanings = meanings(
            others, self.names, as_text, self._encoder(), senses, labels=labels, force=force
        )
        warn(word_meanings)
        parts = []
        if base is not None and same:
            parts.append(base.select(same.values()).renamed(list(same)))
        if rows:
            parts.append(self._bank_of_everyday(rows))
        if others:
            parts.append(self._bank_of_meanings(word_meanings))
        return functools.reduce(LabelBank.join, parts).select(names)

    def knows(self, word: str) -> bool:
        """Whether :meth:`bank` accepts a word."""
        if self._everyday_rows([word]):
            return True
        try:
            meanings(
                {word: prompts_of([word], TEMPLATES, {})[0]}, self.names, (), self._encoder(), {}
            )
        except (errors.OptionError, errors.MissingPartError):
            return False
        return True

    def bank_of(
        self, names: Sequence[str], shares: Floats, meant: Sequence[Mapping[str, Any]] = ()
    ) -> LabelBank:
        """The label bank of C labels with the shares (C, K) of the concepts; ``meant`` is part of their provenance."""
        weights = self._in_context(self._standardised(shares @ self.weights.astype(np.float64)))
        biases = self.calibration.offset - self.calibration.scale * (self._mean @ weights.T)
        scale = self.calibration.scale
        return self._label_bank(names, scale * weights, biases, self._thresholds(weights), meant)

    def _label_bank(
        self,
        names: Sequence[str],
        weights: Floats,
        biases: Floats,
        thresholds: NDArray[np.float32],
        meant: Sequence[Mapping[str, Any]],
    ) -> LabelBank:
        """A bank of C labels: (C, D), (C,), (2, C), and what the provenance has in addition."""
        count = len(names)
        source = {
            "positives": 0,
            "negatives": 0,
            "words": True,
            "knowledge": self.sha256,
            "before": None,
        }
        taught = {
            name: {**source, **more} for name, more in zip(names, meant or repeat({}), strict=False)
        }
        return LabelBank(
            names,
            np.zeros((count, self.text["width"]), np.float16),
            thresholds[0],
            {**{key: self.text[key] for key in ("space", "features")}, "taught": taught},
            thresholds[1],
            biases=biases.astype(np.float32),
            weights=weights.astype(np.float16),
        )

    def _thresholds(self, weights: Floats) -> NDArray[np.float32]:
        """(2, C): at the operating points ``f1`` and ``precise``, halfway between the threshold of all words and the
        score that a share of the photos reach, as logits."""
        of_photos = self.calibration.scale * (self._centred @ weights.T) + self.calibration.offset
        typical = np.array([self.calibration.threshold, self.calibration.precise_threshold])
        reached = np.stack([np.quantile(of_photos, 1 - share, axis=0) for share in _REACHED])
        halfway = (np.log(typical / (1 - typical))[:, None] + reached) / 2
        scores = 1 / (1 + np.exp(-np.clip(halfway, *_LOGITS)))
        return np.maximum.accumulate(scores, axis=0).astype(np.float32)

    def _bank_of_meanings(self, word_meanings: Sequence[Meaning]) -> LabelBank:
        return self.bank_of(
            [meaning.word for meaning in word_meanings],
            np.stack([meaning.shares for meaning in word_meanings]),
            [meaning.provenance() for meaning in word_meanings],
        )

    def _everyday_rows(self, words: Collection[str]) -> dict[str, int]:
        """Those of the words that were learned from captions."""
        rows = {word: self.everyday.find(word) for word in words} if self.everyday else {}
        return {word: row for word, row in rows.items() if row is not None}

    def _bank_of_everyday(self, rows: Mapping[str, int]) -> LabelBank:
        everyday = self.everyday
        assert everyday is not None, "it has the rows"
        for word, row in list(rows.items())[:WARNINGS]:
            _log.warning("%s", everyday.sentence(word, row))
        chosen = list(rows.values())
        biases, *thresholds = everyday.values[chosen, :3].T
        return self._label_bank(
            list(rows),
            everyday.weights[chosen].astype(np.float64),
            biases,
            np.stack(thresholds),
            [everyday.provenance(row) for row in chosen],
        )

    def shares(self, vectors: Floats) -> tuple[Floats, Floats]:
        """What :func:`shares_of` computes of text vectors (C, d_t)."""
        return shares_of(vectors, self.vectors.astype(np.float64), self.text["sharpness"])

    def _encoder(self) -> Encode:
        """The shares of the concepts in prompts, by the language model, which is opened at the first call."""
        encoder = functools.cache(TextEncoder)

        def encode(prompts: Sequence[str]) -> tuple[Floats, float]:
            shares, cosines = self.shares(
                encoder().encode(prompts).mean(0, keepdims=True).astype(np.float64)
            )
            return shares[0], float(cosines[0])

        return encode

    def _in_context(self, weights: Floats) -> Floats:
        """Weights (C, D) with what the photos of a label have in common; both are standardised, and their sum."""
        common = np.exp(np.clip(self._centred @ weights.T, *_RANGE))
        solution = self._inverse @ (self._centred.T @ (common - common.mean(0)))
        return self._standardised(weights + self._standardised(solution.T))

    def _standardised(self, weights: Floats) -> Floats:
        """Weights whose scores of the photos have a standard deviation of 1."""
        scores = self._centred @ weights.T
        return weights / np.maximum(scores.std(0), 1e-12)[:, None]

    # Computed at the first use, since they are the same for each word.

    @functools.cached_property
    def _mean(self) -> Floats:
        mean: Floats = self.photos.astype(np.float64).mean(0)
        return mean

    @functools.cached_property
    def _centred(self) -> Floats:
        """(n, D): the photos without their mean."""
        return self.photos.astype(np.float64) - self._mean

    @functools.cached_property
    def _inverse(self) -> Floats:
        """(D, D): of the matrix of the ridge regression."""
        gram = self._centred.T @ self._centred
        inverse = np.linalg.inv(gram + _RIDGE * np.eye(len(gram)))
        return inverse.astype(np.float64, copy=False)

    @functools.cached_property
    def sha256(self) -> str:
        """SHA-256 of the file, in hex."""
        return hashlib.sha256(self.to_bytes()).hexdigest()

    def to_bytes(self) -> bytes:
        """The contents of a ``.knowledge.safetensors`` file: 8 bits per value, and an exponent of 2 per row."""
        text = {**self.text, "calibration": vars(self.calibration)}
        tensors = dict[str, NDArray[Any]]()
        for name in _TENSORS:
            tensors |= packed(name, getattr(self, name))
        if self.everyday:
            tensors |= self.everyday.tensors()
            text["everyday"] = self.everyday.text()
        return to_safetensors(tensors, self.names, text)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write a ``.knowledge.safetensors`` file.

        Raises:
            OutputError: it cannot be written; an existing file is unchanged.
        """
        write_files({Path(path): self.to_bytes()})

    @classmethod
    def load(
        cls, path: str | os.PathLike[str] | None = None, *, trust: TrustLike = None
    ) -> Knowledge:
        """Read a ``.knowledge.safetensors`` file.

        Args:
            path: the file, its plan, the folder of both or the name of a model; None: that of the bundled model.
            trust: as for ``LabelBank.load``.

        Raises:
            LabelBankError: it is missing, unreadable or inconsistent.
            SignatureError: it is not signed as ``trust`` demands.
            OptionError, PlanNotFoundError: the plan has none, or is not installed.
        """
        path = find_knowledge(path)
        text = None
        with system_errors(errors.LabelBankError, str(path), expected=_EXPECTED, hint=_HINT):
            data, _ = read_signed(path, _MAX_BYTES, trust)
        try:
            tensors, names, text = from_safetensors(data)
            calibration = Calibration(
                **{key: float(value) for key, value in text.pop("calibration").items()}
            )
            arrays = {name: unpacked(tensors, name) for name in _TENSORS}
            everyday = Everyday.read(tensors, text.pop("everyday", None))
            loaded = cls(
                list(names), **arrays, calibration=calibration, text=text, everyday=everyday
            )
        except Exception as error:  # the exception classes differ between releases of safetensors
            bank = isinstance(text, dict) and "calibration" not in text
            raise _invalid(
                str(path), "a label bank" if bank else f"another or damaged file: {error}"
            ) from None
        loaded._check(str(path))
        return loaded

    @classmethod
    def of_plan(cls, info: Mapping[str, Any], *, trust: TrustLike = None) -> Knowledge:
        """The knowledge file of an open plan, whose ``Tagger.info`` is ``info``; ``trust`` as for ``LabelBank.load``.

        Raises:
            BackendError: the plan is closed.
            LabelBankError, SignatureError: as :meth:`load`.
        """
        if info["max_labels"] is None:
            raise closed(str(info["plan"]))
        return cls.load(info["plan"], trust=trust)

    def _check(self, source: str) -> None:
        """Raises LabelBankError if a file has other tensors, provenance or calibration than the exporter writes."""
        count = len(self.names)
        depth = self.weights.shape[-1]
        shapes = {
            "vectors": (count, self.vectors.shape[-1]),
            "weights": (count, depth),
            "photos": (len(self.photos), depth),
        }
        for name, shape in shapes.items():
            tensor = getattr(self, name)
            if not _is_finite_float16(tensor, shape):
                raise _invalid(
                    source, f"{name} {tensor.dtype} {tensor.shape}, or values that are not finite"
                )
        numbers: dict[str, Any] = {key: self.text.get(key) for key in ("width", "sharpness")}
        if not all(map(_is_in_range, numbers.values())) or not isinstance(numbers["width"], int):
            raise _invalid(source, f"{numbers}")
        words = {key: self.text.get(key) for key in ("space", "features")}
        if not all(isinstance(word, str) for word in words.values()):
            raise _invalid(source, f"{words}")
        if not self.calibration.is_valid():
            raise _invalid(source, f"{self.calibration}")
        if self.everyday and (problem := self.everyday.problem(depth)):
            raise _invalid(source, problem)


def _is_finite_float16(tensor: NDArray[Any], shape: tuple[int, ...]) -> bool:
    described = tensor.dtype == np.float16 and tensor.shape == shape and tensor.size > 0
    return described and bool(np.isfinite(tensor).all())


def _is_in_range(number: Any) -> bool:
    return type(number) in (int, float) and 0 < number <= _MAX_NUMBER


def _invalid(source: str, got: str) -> errors.LabelBankError:
    return errors.LabelBankError(source, _EXPECTED, got[:300], _HINT)
