"""Teaches labels from photos: reads them with the plan, and learns from their features."""

from __future__ import annotations

import hashlib
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
from .edit import add_labels, taught_function
from .fit import Floats
from .knowledge import Knowledge
from .learning import LabelReport, Words, check_both, check_prevalence, learn


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
        if not replace and (
            present_labels := [label for label in photos.labels if label in base.names]
        ):
            raise errors.OptionError(
                "label",
                "a new label",
                f"{present_labels[0]!r}, which the bank has",
                "Choose another name, or teach it again with --replace.",
            )
        check_both(photos.labels, photos.targets, photos.failed)
        worded = base
        if words and knowledge is None and knowledge_path(loaded.info["plan"]).is_file():
            knowledge = Knowledge.of_plan(loaded.info, trust=options.get("trust"))
        if (
            words
            and knowledge is not None
            and (with_words := list(filter(knowledge.knows, photos.labels)))
        ):
            worded = knowledge.bank(with_words)
            check_fits(worded, spec, "knowledge")
        taught = add_labels(base, photos.labels, spec, words and knowledge is None)
        # With this bank, the network gives the logits of the words alone.
        plain = LabelBank(taught.names, taught.embeddings, taught.thresholds, taught.text)
        features, logits, done, failed = _read(
            loaded.with_labels(backend, plain, engine), photos, spec, progress
        )
        plan_hash = loaded.info["sha256"]
    starts = {}
    for label in photos.labels if words else ():
        index = taught.index(label)
        if taught.has_words[index]:
            starts[label] = Words(logits[:, index])
        elif worded.taught.get(label, {}).get("positives") == 0 and (
            function := taught_function(worded, label)
        ):
            starts[label] = Words(features @ function.weights + function.bias, function)
    targets = np.where(done[:, None], photos.targets, np.int8(0))
    check_both(photos.labels, targets, failed or photos.failed)
    files = [str(file) for file in photos.files]
    known_words = starts if knowledge is not None else starts or None
    taught, reports = learn(
        taught,
        photos.labels,
        files,
        features,
        targets,
        plan=plan_hash,
        words=known_words,
        prevalence=prevalence,
    )
    return Teaching(taught, reports, [*photos.failed, *failed])


def _read(
    plan: LoadedPlan, photos: Photos, spec: OpenSpec, progress: Callable[[int], None] | None
) -> tuple[Floats, Floats, NDArray[np.bool_], list[dict[str, str]]]:
    """Features (N, D) and logits (N, labels) of the photos, which photos could be read, and the unreadable photos."""
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
    return features, logits, done, failed
