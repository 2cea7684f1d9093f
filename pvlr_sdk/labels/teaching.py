"""Teaches labels from photos: reads them with the plan, and learns from their features."""

from __future__ import annotations

import hashlib
import logging
import os
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .. import errors
from ..bundle.bundle import knowledge_path, read_manifest
from ..bundle.label_bank import LabelBank
from ..bundle.manifest import OpenSpec
from ..bundle.open_labels import check_fits
from ..frames import images
from ..frames.find import find
from ..inference import LoadedPlan, Options, Request
from ..trust.verify import TrustLike
from .edit import add_labels, taught_function
from .fit import Floats
from .knowledge import Knowledge
from .learning import LabelReport, Words, check_both, check_prevalence, learn
from .thresholds import sigmoid

_log = logging.getLogger(__name__)
_ABSENT = 0.25
"""The share of its threshold that the score of a label has where it is clearly absent."""
_SUSPECT = 0.25
"""A label that would be tagged in more of such photos has learned something else: 44 to 96 % for five of six labels
from 15 photos of COCO and 30 frames of cameras, at most 11 % where both are of COCO."""


@dataclass(frozen=True)
class Photos:
    """N photos and what they show.

    Attributes:
        labels: the C labels to teach.
        files: N paths.
        targets: (N, C) int8: 1 present, -1 absent, 0 unknown.
        failed: files that cannot be read, with the reason, as in ``EvalReport``.
    """

    labels: list[str]
    files: list[Path]
    targets: NDArray[np.int8]
    failed: list[dict[str, str]] = field(default_factory=list)

    @classmethod
    def from_folders(
        cls,
        label: str,
        positives: Sequence[str | Path] | str | Path,
        negatives: Sequence[str | Path] | str | Path,
    ) -> Photos:
        """Photos of one label. Copies of a photo count once.

        Args:
            label: its name.
            positives, negatives: folders, files or patterns of photos that show it, and of photos that do not.

        Raises:
            OptionError: a photo is in both.
        """
        failed: list[dict[str, str]] = []
        first: dict[str, tuple[Path, int]] = {}
        for folders, target in ((positives, 1), (negatives, -1)):
            inputs = [folders] if isinstance(folders, (str, os.PathLike)) else folders
            for path in find(
                [os.fspath(path) for path in inputs],
                lambda name, error: failed.append(failure(name, error)),
            ):
                try:
                    digest = hashlib.sha256(images.read(path)).hexdigest()
                except errors.FrameError as error:
                    failed.append(failure(str(path), error))
                    continue
                earlier, shown = first.setdefault(digest, (path, target))
                if shown != target:
                    raise errors.OptionError(
                        "positives",
                        "no photo of negatives",
                        str(path) if path == earlier else f"{earlier} and {path}, the same photo",
                        "A photo shows the label or it does not: remove it from one of the two.",
                    )
        targets = np.array([[shown] for _, shown in first.values()], np.int8).reshape(len(first), 1)
        return cls([label], [path for path, _ in first.values()], targets, failed)


def failure(file: str, error: errors.FrameError) -> dict[str, str]:
    """The entry of ``failed`` for a file."""
    return {"file": file, "error": type(error).__name__, "message": str(error)}


@dataclass(frozen=True)
class Teaching:
    """The label bank with the taught labels, a report on each, and the photos that could not be read."""

    bank: LabelBank
    labels: list[LabelReport]
    failed: list[dict[str, str]]

    def to_dict(self) -> dict[str, Any]:
        """The reports as plain JSON values."""
        return {"labels": [asdict(label) for label in self.labels], "failed_images": self.failed}


def teach(
    plan: str | os.PathLike[str],
    photos: Photos,
    *,
    bank: LabelBank | None = None,
    words: bool = True,
    replace: bool = False,
    knowledge: Knowledge | None = None,
    prevalence: float | None = None,
    progress: Callable[[int], None] | None = None,
    **options: Any,
) -> Teaching:
    """Learn labels from photos, and add them to a label bank.

    A new label starts from its words if the knowledge file of the plan knows them or the plan reads words, and from
    nothing otherwise; a label of the bank starts from the vector that it has.

    Args:
        plan: an open plan.
        photos: what to learn from.
        bank: the bank to add to; None: the plan's bank.
        words: False to learn from the photos alone.
        replace: also teach labels that the bank has.
        knowledge: a knowledge file for the image features of this plan; None: the one beside it, if there is one.
        prevalence: how frequent the labels are where they are used, between 0 and 1; None: as in the photos.
        progress: called after each photo with the number of photos done.
        options: ``device``, ``num_threads`` and ``precision`` of the tagger.

    Raises:
        BundleError, OptionError: as for ``Tagger``.
        BackendError: the plan is closed.
        LabelBankError: the bank or the knowledge was made for another model, or there is no room for the labels.
        OptionError: a label is there already, or has no readable photo that shows it, or none that does not; the
            prevalence is not between 0 and 1.
        MissingPartError: words need the extra ``[words]``.
    """
    check_prevalence(prevalence)
    engine = Options(optimize="throughput", **options)
    with closing(LoadedPlan.open(plan, engine)) as loaded:
        backend = loaded.check(loaded.backend)
        base = loaded.bank if bank is None else bank
        loaded.with_labels(backend, base, engine)  # checks both
        spec = read_manifest(Path(loaded.info["plan"])).open
        assert spec is not None, "with_labels refuses a closed plan"
        if not replace:
            _check_new(photos.labels, base)
        check_both(photos.labels, photos.targets, photos.failed)
        retaught = [label for label in photos.labels if label in base.names]
        everyday = knowledge
        if everyday is None and (words or retaught):
            everyday = _knowledge_beside(loaded, options.get("trust"))
        if words:
            knowledge = everyday
        worded = _bank_of_words(photos.labels, knowledge, spec) if words and knowledge else None
        taught = add_labels(base, photos.labels, spec, words and knowledge is None)
        # With this bank, the network gives the logits of the words alone.
        plain = LabelBank(taught.names, taught.embeddings, taught.thresholds, taught.text)
        reading = _read(loaded.with_labels(backend, plain, engine), photos, spec, progress)
        plan_hash = loaded.info["sha256"]
    starts = _starts(photos.labels, taught, worded or base, reading) if words else {}
    targets = np.where(reading.done[:, None], photos.targets, np.int8(0))
    check_both(photos.labels, targets, reading.failed or photos.failed)
    can_start_from_words = bool(starts) or knowledge is not None
    taught, reports = learn(
        taught,
        photos.labels,
        [str(file) for file in photos.files],
        reading.features,
        targets,
        plan=plan_hash,
        words=starts if can_start_from_words else None,
        prevalence=prevalence,
    )
    if everyday:
        for label in retaught:
            _warn_of_others(label, base, taught, everyday)
    return Teaching(taught, reports, [*photos.failed, *reading.failed])


def _warn_of_others(label: str, base: LabelBank, taught: LabelBank, knowledge: Knowledge) -> None:
    """Warn if a label that was taught again would be tagged in many of the knowledge's photos, also where it was
    clearly absent before: where photos with it and without it are of different origin, it has learned the origin."""
    if taught.weights is None or knowledge.text["features"] != taught.text["features"]:
        return
    features = knowledge.photos.astype(np.float64)
    features /= np.maximum(np.linalg.norm(features, axis=1, keepdims=True), 1e-12)
    arrays = taught.arrays()
    row = taught.index(label)
    before = _ABSENT * float(base.thresholds[base.index(label)])
    logits = features @ arrays["weights"][row].astype(np.float64) + float(arrays["biases"][row])
    logits += float(arrays["gains"][row]) * np.log(before / (1 - before))
    share = float((sigmoid(logits) >= arrays["thresholds"][row]).mean())
    if share > _SUSPECT:
        _log.warning(
            "%s: about %.0f of 100 everyday photos would get this tag, even where the label that it replaces was far "
            "from its threshold. It may have learned how the two folders differ otherwise: add photos that do not show "
            "it and are of the same kind as those that do, and the reverse.",
            label,
            100 * share,
        )


def _check_new(labels: Sequence[str], bank: LabelBank) -> None:
    """Raises OptionError if the bank has one of the labels."""
    present = [label for label in labels if label in bank.names]
    if present:
        raise errors.OptionError(
            "label",
            "a new label",
            f"{present[0]!r}, which the bank has",
            "Choose another name, or teach it again with --replace.",
        )


def _knowledge_beside(plan: LoadedPlan, trust: TrustLike) -> Knowledge | None:
    """The knowledge file of a plan, if there is one."""
    if not knowledge_path(plan.info["plan"]).is_file():
        return None
    return Knowledge.of_plan(plan.info, trust=trust)


def _bank_of_words(labels: Sequence[str], knowledge: Knowledge, spec: OpenSpec) -> LabelBank | None:
    """The label bank of the labels whose words a knowledge file knows; None: it knows no word.

    Raises:
        LabelBankError: the knowledge was made for another model.
    """
    words = list(filter(knowledge.knows, labels))
    if not words:
        return None
    bank = knowledge.bank(words)
    check_fits(bank, spec, "knowledge")
    return bank


@dataclass(frozen=True)
class _Reading:
    """What a plan says of N photos: ``features`` (N, D), ``logits`` (N, labels), and ``done`` (N,), which of them could
    be read; ``failed``: the entries of all others."""

    features: Floats
    logits: Floats
    done: NDArray[np.bool_]
    failed: list[dict[str, str]]


def _read(
    plan: LoadedPlan, photos: Photos, spec: OpenSpec, progress: Callable[[int], None] | None
) -> _Reading:
    count = len(photos.files)
    backend = plan.check(plan.backend)
    features = np.zeros((count, spec.feature_width))
    logits = np.zeros((count, len(plan.space.names)))
    done = np.zeros(count, np.bool_)
    failed = []
    request = Request("bgr", lambda _: (plan.thresholds, None))
    for row, outcome in enumerate(plan.stream(backend, request, photos.files)):
        if isinstance(outcome, errors.FrameError):
            failed.append(failure(str(photos.files[row]), outcome))
        else:
            features[row] = outcome.features
            logits[row] = outcome.logits
            done[row] = True
        if progress:
            progress(row + 1)
    return _Reading(features, logits, done, failed)


def _starts(
    labels: Sequence[str], taught: LabelBank, worded: LabelBank, reading: _Reading
) -> dict[str, Words]:
    """What the words of labels say of the photos: by their embedding in ``taught``, or else by their function of the
    features in ``worded``, as words alone gave it. Labels without either are left out."""
    starts = {}
    for label in labels:
        index = taught.index(label)
        if taught.has_words[index]:
            starts[label] = Words(reading.logits[:, index])
        elif worded.taught.get(label, {}).get("positives") == 0:  # not yet taught by photos
            function = taught_function(worded, label)
            if function is not None:
                logits = reading.features @ function.weights + function.bias
                starts[label] = Words(logits, function)
    return starts
