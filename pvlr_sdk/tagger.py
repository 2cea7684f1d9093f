"""The public interface: load a plan once, then tag any number of frames from any number of threads."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from threading import RLock
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from .frames.tiles import Tiles, check_tiles
from .inference import LoadedPlan, Options, Predictor
from .result import checked_top_k
from .trust import Trust, resolve

if TYPE_CHECKING:
    from .bundle.label_bank import LabelBank
    from .bundle.schema import OperatingPoint, Optimize, PlanPrecision
    from .labels import LabelReport


class Tagger(Predictor):
    """Tags frames with the labels of one compiled plan.

    Thread-safe: results of concurrent calls are bit-equal to the results of one thread. A pickled tagger reopens its
    plan in the process that unpickles it; a forked process cannot use the tagger of its parent.

    Args:
        plan: path of a plan, with its manifest and label bank in the same folder; its folder; or the name of a model
            (see ``docs/models.md``). None: the model bundled with the package.
        words: the labels, as words or short phrases, for an open plan; its bank has priority for its own labels and
            their synonyms (see ``docs/model.md``). None: the labels of the bank.
        bank: a label bank, or the path of one, that an open plan uses instead of its own.
        threshold: the score at or above which a label is reported: None for the thresholds stored in the plan, a number
            from 0 to 1 for all labels, or a mapping that overrides the thresholds of some labels.
        operating_point: which thresholds of the plan: ``f1`` (best F1) or ``precise`` (90 % precision, see
            ``docs/model.md``). Plans with one threshold per label use it for both.
        top_k: keep at most this many tags, the highest scores first; None: all.
        device: ``auto`` (the device that the plan was built for), ``cpu`` or ``tensorrt``. A plan for the CPU also runs
            on Intel's GPUs and NPUs, ``gpu`` and ``npu``, and on a device under OpenVINO's name, such as ``GPU.1``.
        optimize: ``latency``: all threads share each inference, so that a single frame is done soonest;
            ``throughput``: several inferences run in parallel on fewer threads each, and ``predict_stream`` puts two
            frames into one inference where enough are waiting. On a GPU: single frames, or batches of the plan's
            largest size.
        num_threads: threads of the engine; None: all cores available to the process.
        reduced_jpeg: decode JPEG files and bytes at 1/2, 1/4 or 1/8 of their size where that leaves at least twice the
            network's input in both dimensions. Large images decode several times faster, but the pixels then deviate
            slightly from the pixel contract (see ``docs/performance.md``). Without effect on tiles.
        precision: ``auto`` (the fastest of the device), ``fp32``, ``bf16``, ``fp16`` (GPU, NPU); None: the plan's own.
        trust: refuse a plan that is not signed with one of these keys: a folder of PEM files, one such file or a
            ``Trust`` (see ``docs/signing.md``). None: the keys of ``PVLR_TRUST``, if it is set.
        allow_unsigned: trust a plan whose signature was not verified, for sources that you trust: load a TensorRT plan,
            which is code, and any other without an isolated load. None: only if ``PVLR_ALLOW_UNSIGNED`` is 1.
        isolate: decode paths and bytes in restricted processes, for images from outside (see ``docs/isolation.md``).
        tiles: (columns, rows) of tiles in which each frame is tagged, along with the whole frame: for small objects in
            large frames. A label's logit is the mean of the whole frame's and its best tile's. ``auto``: by the size of
            the frame (see ``docs/tiles.md``). None, or (1, 1): the whole frame only.

    Raises:
        SignatureError: the plan is not signed as ``trust`` demands; nothing in it was parsed.
        IsolationError: ``isolate``, but not on Linux.
        BundleError: the plan or the bank cannot be used; each reason has its own class (see ``docs/errors.md``).
        BackendError: ``words`` or ``bank`` with a closed plan.
        OptionError, UnknownLabelError: an argument is invalid, or the model does not know a word.
        MissingPartError: the compiled core or the plan's backend (OpenVINO, TensorRT) is not installed.
    """

    def __init__(
        self,
        plan: str | os.PathLike[str] | None = None,
        *,
        words: Iterable[str] | None = None,
        bank: str | os.PathLike[str] | LabelBank | None = None,
        threshold: float | Mapping[str, float] | None = None,
        operating_point: OperatingPoint = "f1",
        top_k: int | None = None,
        device: str = "auto",
        optimize: Optimize = "latency",
        num_threads: int | None = None,
        precision: PlanPrecision | None = None,
        reduced_jpeg: bool = False,
        trust: str | os.PathLike[str] | Trust | None = None,
        allow_unsigned: bool | None = None,
        isolate: bool = False,
        tiles: Tiles | None = None,
    ) -> None:
        self._defaults = Options(
            threshold, operating_point, checked_top_k(top_k), device, optimize, num_threads, precision, reduced_jpeg,
            resolve(trust), allow_unsigned, isolate, check_tiles(tiles),
        )  # fmt: skip
        self._lock = RLock()  # held while the plan changes
        if words is None and bank is None:
            self._plan = LoadedPlan.open(plan, self._defaults)
            return
        # which names other labels
        self._plan = LoadedPlan.open(plan, replace(self._defaults, threshold=None))
        try:
            self.set_labels(self._bank(words, bank))
        except BaseException:
            self.close()
            raise

    @classmethod
    def from_pretrained(cls, repository: str | os.PathLike[str], **options: Any) -> Tagger:
        """Open a plan of the Hugging Face Hub, such as ``org/name``, or one in a folder of that form.

        Nothing is downloaded unless ``PVLR_DOWNLOAD`` is 1: ``hf download org/name`` does that. ``options`` and other
        errors are those of the class.

        Raises:
            PlanNotFoundError: the folder has no plan, or the repository has not been downloaded.
            MissingPartError: the name of a repository, without the package huggingface_hub.
        """
        from .models.hub import find_pretrained

        return cls(find_pretrained(repository), **options)

    def _bank(
        self, words: Iterable[str] | None, bank: str | os.PathLike[str] | LabelBank | None
    ) -> LabelBank:
        from .bundle.label_bank import LabelBank
        from .labels import Knowledge

        base = self._plan.bank if bank is None else bank
        if not isinstance(base, LabelBank):
            base = LabelBank.load(base, trust=self.trust or False)
        if words is None:
            return base
        return Knowledge.of_plan(self._plan.info, trust=self.trust or False).bank(words, base=base)

    @property
    def labels(self) -> list[str]:
        """The C label names, in the order of ``TagResult.scores``."""
        return list(self._plan.space.names)

    @property
    def thresholds(self) -> NDArray[np.float32]:
        """float32 (C,): the threshold of each label, used where a call does not override it."""
        return self._plan.thresholds.copy()

    @property
    def label_bank(self) -> LabelBank:
        """The label bank in use."""
        return self._plan.bank

    @property
    def info(self) -> dict[str, Any]:
        """The plan and how it runs: name, plan, sha256, input, backend, device, precision, threads, built, ..."""
        return dict(self._plan.info)

    @property
    def trust(self) -> Trust | None:
        """Trusted signing keys; None if signatures are not required."""
        return self._defaults.trust

    def set_labels(self, bank: LabelBank) -> None:
        """Use another label bank from now on, without loading the plan again; only for an open plan.

        Each result is computed with one bank, which ``TagResult.bank`` names. Each call keeps the bank that it began
        with, a ``predict_stream`` too. The tagger's ``threshold`` applies to the new labels.

        Raises:
            BackendError: the plan is closed: its labels are part of it; or the tagger is.
            LabelBankError: the bank has too many labels, or was made for another model.
            OptionError, UnknownLabelError: ``bank`` is not a bank, or lacks a label that ``threshold`` names.
        """
        with self._lock:
            plan, backend = self._ready()
            self._plan = plan.with_labels(backend, bank, self._defaults)

    def add(
        self,
        label: str,
        positives: str | Path | Sequence[str | Path],
        negatives: str | Path | Sequence[str | Path],
    ) -> LabelReport:
        """Teach a label from photos, in seconds, and use it from now on; only for an open plan. See ``docs/teach.md``.

        Args:
            label: its name, new or of a label that is taught again.
            positives, negatives: folders, files or patterns of photos that show it, and of photos that do not.

        Returns:
            What cross-validation says of the label: ``precision``, ``recall``, ``mistakes``, ...

        Raises:
            BackendError: the plan is closed, or the tagger is.
            OptionError: a photo is in both, or there is no readable photo of one kind.
            LabelBankError: there is no room for another label.
        """
        from .labels import Photos, teach

        options = {
            name: getattr(self._defaults, name) for name in ("device", "num_threads", "precision")
        }
        photos = Photos.from_folders(label, positives, negatives)
        taught = teach(
            self._plan.info["plan"],
            photos,
            bank=self.label_bank,
            replace=True,
            trust=self.trust,
            allow_unsigned=self._defaults.allow_unsigned,
            **options,
        )
        self.set_labels(taught.bank)
        return taught.labels[0]

    def load(
        self,
        plan: str | os.PathLike[str],
        *,
        allow_rollback: bool = False,
        record_version: bool = True,
    ) -> Tagger:
        """Load another plan with the options of this tagger. Raises what the class raises.

        ``allow_rollback``: also an older one than was in use. ``record_version``: refuse older ones from now on.
        """
        options = self._defaults.with_rollback() if allow_rollback else self._defaults
        loaded = Tagger.__new__(Tagger)
        loaded._plan = LoadedPlan.open(plan, options, record_version=record_version)
        loaded._lock = RLock()
        # the permission is for this plan, not for those that it loads in turn
        loaded._defaults = self._defaults
        return loaded

    def exchange(self, other: Tagger) -> None:
        """Exchange the plans of two taggers, in one thread at a time. Each call keeps the plan that it began with."""
        with self._lock, other._lock:
            self._plan, other._plan = other._plan, self._plan

    def close(self) -> None:
        """Free the model. Calls in progress in other threads complete; later calls raise BackendError."""
        with self._lock:
            self._plan.close()

    def __enter__(self) -> Tagger:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __reduce__(self) -> tuple[Any, ...]:
        plan, _ = self._ready()
        bank = plan.bank if plan.info["max_labels"] else None
        return _reopen, (os.path.abspath(plan.info["plan"]), self._defaults, bank)

    def __repr__(self) -> str:
        info = self._plan.info
        state = "" if self._plan.backend else "closed"
        return f"<Tagger {info['name']}, {info['labels']} labels, {state or info['precision']}>"


def _reopen(plan: str, defaults: Options, bank: LabelBank | None) -> Tagger:
    """A tagger of a pickled one's plan, options and labels."""
    return Tagger(plan, bank=bank, **vars(defaults))
