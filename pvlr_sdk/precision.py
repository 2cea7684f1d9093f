"""Chooses what a plan computes in: int8 if it is asked for and passes the accuracy gate, or the fastest that does."""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from . import errors
from .backends import Backend
from .backends.openvino import Network, OpenVinoBackend
from .frames import FrameLike, load_frame
from .gate import Agreement, compare, logits_of_all
from .preprocess import Preprocessor
from .quantize import quantize
from .sources import files as sources

if TYPE_CHECKING:
    from .labels_csv import LabelTable

_RANGES = 200
"""Photos that ranges are measured on; more changed nothing on a Lite2 network."""
_GATE = 500
"""Photos that the gate looks at: none of those above."""
_FEWEST = 32
_ROUNDS, _CALLS = 20, 5


@dataclass(frozen=True)
class Photos:
    """The user's own photos: every other one for the ranges, the rest for the gate. ``targets`` (N, C) may be None."""

    frames: Sequence[FrameLike]
    targets: NDArray[Any] | None = None

    @classmethod
    def below(cls, folder: str | os.PathLike[str], option: str = "--calibrate") -> Photos:
        """The still images of a folder and its subfolders, in the order of a shuffle that is always the same.

        Raises:
            ImageNotFoundError: there are none; ``option`` says what to check.
        """
        _check_folder(folder, option)

        def unreadable(_: str, error: errors.FrameError) -> None:
            raise error

        files = [path for path in sources.find([os.fspath(folder)], unreadable) if not sources.is_video(path)]
        return cls([files[i] for i in np.random.default_rng(0).permutation(len(files))])

    @classmethod
    def listed(cls, folder: Path, table: LabelTable, option: str = "--calibrate") -> Photos:
        """The photos of a labels file, in its order.

        Raises:
            ImageNotFoundError: there is no such folder; ``option`` says what to check.
        """
        _check_folder(folder, option)
        return cls([folder / file for file in table.files], table.targets)

    def evenly(self, limit: int | None) -> Photos:
        """At most ``limit`` of them, at even distances."""
        if limit is None or limit >= len(self.frames):
            return self
        chosen = np.linspace(0, len(self.frames) - 1, limit).round().astype(int)
        return Photos([self.frames[i] for i in chosen], None if self.targets is None else self.targets[chosen])

    @property
    def ranges(self) -> Sequence[FrameLike]:
        """The photos to quantise with."""
        return self.frames[0::2][:_RANGES]

    def gate(self, most: int = _GATE) -> tuple[Sequence[FrameLike], NDArray[Any] | None]:
        """At most so many photos that no range was measured on, and their targets."""
        return self.frames[1::2][:most], None if self.targets is None else self.targets[1::2][:most]

    def check(self) -> None:
        """Raises OptionError for too few photos."""
        if len(self.frames) < _FEWEST:
            raise errors.OptionError(
                "calibrate",
                expected=f"at least {_FEWEST} photos",
                got=f"{len(self.frames)}",
                hint="Take some hundred that look like those to come.",
            )


def _check_folder(folder: str | os.PathLike[str], option: str) -> None:
    if not os.path.isdir(folder):
        raise errors.ImageNotFoundError(
            os.fspath(folder), expected="a folder of photos", got="no such folder", hint=f"Check {option}."
        )


@dataclass(frozen=True)
class Choice:
    """What a plan will run in. ``measured`` says what each precision gave; ``network`` is what goes into the plan."""

    network: Network
    precision: str
    measured: dict[str, Any]


def choose(
    network: Network,
    wanted: str,
    precisions: Sequence[str],
    photos: Photos,
    preprocess: Preprocessor,
    thresholds: NDArray[np.float32],
    least: float,
) -> Choice:
    """Quantise a network, hold every precision against fp32 on photos kept for that, and time those that pass.

    Args:
        network: the fp32 network.
        wanted: ``int8``, or ``auto`` for the fastest that passes; ``fp32`` and ``bf16`` are only held against the gate.
        precisions: what this machine computes in without quantising: ``fp32`` and perhaps ``bf16``.
        photos, preprocess, thresholds: what to measure on, and how.
        least: the share of photos whose tag set must stay, 0..1.

    Raises:
        OptionError: too few photos.
        FrameError: a photo can't be used.
        AccuracyError: the precision that was asked for does not pass.
        MissingPartError, ModelError: as ``quantize``.
    """
    photos.check()
    gate, targets = photos.gate()

    def prepare(frame: FrameLike) -> NDArray[np.float32]:
        pixels, order, _ = load_frame(frame)
        return preprocess(pixels, order)

    candidates = {name: (network, name) for name in precisions}
    if wanted in ("auto", "int8"):
        payload = quantize(network.payload, photos.ranges, prepare, network.fp32_until)
        digest = hashlib.sha256(payload).hexdigest()
        candidates["int8"] = (replace(network, payload=payload, sha256=digest, fp32_until=None), "int8")
    engines: dict[str, Backend] = {
        name: OpenVinoBackend(candidate, precision, cached=False) for name, (candidate, precision) in candidates.items()
    }
    logits = {name: logits_of_all(map(prepare, gate), engine) for name, engine in engines.items()}
    agreement = {name: compare(rows, logits["fp32"], thresholds, targets) for name, rows in logits.items()}
    speed = {name: round(1e3 * value, 3) for name, value in median_times(engines).items()}
    chosen = _fastest(agreement, speed, least) if wanted == "auto" else wanted
    agreement[chosen].check(least, f"precision {chosen}")
    measured = {
        "precisions": {name: {"inference_ms": speed[name], **agreement[name].to_dict()} for name in candidates},
        "calibrated_on": len(photos.ranges),
        "min_agreement": least,
    }
    return Choice(candidates[chosen][0], _in_manifest(chosen, wanted, precisions), measured)


def median_times(engines: dict[str, Backend]) -> dict[str, float]:
    """Seconds of one inference of each engine, medians of rounds in turn: a change in the machine's speed meets all."""
    slots = {name: engine.acquire() for name, engine in engines.items()}
    times: dict[str, list[float]] = {name: [] for name in engines}
    for name, slot in [*slots.items()] * _ROUNDS:
        for _ in range(_CALLS):
            began = time.perf_counter()
            slot.start()
            slot.wait()
            times[name].append(time.perf_counter() - began)
    for name, slot in slots.items():
        engines[name].release(slot)
    return {name: float(np.median(values[_CALLS:])) for name, values in times.items()}


def _fastest(agreement: dict[str, Agreement], speed: dict[str, float], least: float) -> str:
    return min((name for name in speed if agreement[name].tag_sets >= least), key=lambda name: speed[name])


def _in_manifest(chosen: str, wanted: str, precisions: Sequence[str]) -> str:
    """``auto`` where the choice is what any machine with these units would make of the plan by itself."""
    return "auto" if wanted == "auto" and chosen == precisions[-1] else chosen
