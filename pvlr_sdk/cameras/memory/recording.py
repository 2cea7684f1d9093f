"""What an event detector saw, in chunks that replay exactly: every score that can matter is kept with all its bits.

A score matters while it, or its moving average, is at or above the label's floor, and for some seconds after. The
average at the start of such a segment stands for all scores before it. All other scores are below the floor, so that
the label is not present whatever they are; they are kept every few seconds, in 8 bits, rounded down.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from functools import cached_property, lru_cache
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load, save

from ..events import EventDetector, EventSettings, When
from ..events.tracks import Rules, Tracks

Floats = NDArray[np.float64]
STATE = ("average", "since", "start", "offset", "peak", "peak_at", "up", "reached", "active", "seen", "ended",
         "begun")  # fmt: skip
"""Arrays of :class:`Tracks` that a chunk has, after its first frame."""
BELOW = 1 - 1e-6
"""A label that does not matter is below its floor by this factor in replay, also after rounding."""
_STEPS = 16
_LOWEST = -8.0
"""Steps of a coarse score per unit of its logit, and the logit of the first."""


@dataclass(frozen=True)
class Context:
    """What scores and events depend on: C labels, their deployed thresholds, higher ones of frames with tiles, the
    settings of events, SHA-256 of the plan and of the label bank, the floor of the scores that are kept exactly, and
    the fingerprint of each label's vector (:func:`.fingerprints.fingerprints`); None: they are unknown."""

    names: tuple[str, ...]
    settings: EventSettings
    deployed: tuple[float, ...]
    raised: tuple[float, ...] | None
    plan: str
    bank: str
    floor: float
    vectors: tuple[str, ...] | None = None

    def floors(self, lower: Floats) -> Floats:
        """(C,): the scores at or above which a label matters, with the lower thresholds (C,) of the settings."""
        return np.minimum(self.floor, lower)

    @property
    def highest(self) -> Floats:
        """(C,): the deployed thresholds, or those of tiles where these are higher."""
        return np.maximum(self.deployed, self.raised or 0.0)

    @cached_property
    def rules(self) -> Rules:
        """The settings for each label, with the highest thresholds."""
        return EventDetector("", self.names, self.highest, self.settings).used

    def pack(self) -> bytes:
        """A compressed, lossless form."""
        return zlib.compress(json.dumps(asdict(self), sort_keys=True).encode())

    @classmethod
    @lru_cache(maxsize=256)
    def unpack(cls, data: bytes) -> Context:
        """The context of :meth:`pack`."""
        raw = _with_tuples(json.loads(zlib.decompress(data)))
        when = {label: When(**rule) for label, rule in raw["settings"]["when"].items()}
        return cls(**{**raw, "settings": EventSettings(**{**raw["settings"], "when": when})})


def _with_tuples(value: Any) -> Any:
    """The lists of JSON as the tuples that they were."""
    if isinstance(value, dict):
        return {name: _with_tuples(item) for name, item in value.items()}
    return tuple(map(_with_tuples, value)) if isinstance(value, list) else value


class Place(NamedTuple):
    """A camera, or one of its regions."""

    camera: str
    region: str | None


@dataclass(frozen=True, eq=False)
class Chunk:
    """Up to a minute of one place.

    Attributes:
        run, number: the run of the site, and the number of the chunk of this place in it, from 0.
        closed: when and why the camera's events ended after the last frame, as for ``EventDetector.close``; None: they
            did not.
        arrays: ``monotonic`` and ``wall``, the times of the F frames; ``last``, the monotonic time of the frame before
            each, recorded or not; ``on``, bool (F, C), where scores are kept; ``scores``, float32, of these;
            ``before``, the averages before :attr:`starts`; ``coarse_at`` and ``coarse``, frames, and uint8 (T, C) of
            them; :data:`STATE`, the detector's state after the first frame.
    """

    place: Place
    context: Context
    run: int
    number: int
    closed: tuple[float, str] | None
    arrays: Mapping[str, NDArray[Any]]

    def pack(self) -> bytes:
        """A compressed, lossless form of the arrays."""
        return zlib.compress(
            save({name: np.ascontiguousarray(array) for name, array in self.arrays.items()})
        )

    @staticmethod
    def unpack(data: bytes) -> dict[str, NDArray[Any]]:
        """The arrays of :meth:`pack`."""
        arrays: dict[str, NDArray[Any]] = load(zlib.decompress(data))
        return arrays

    def without(self, label: str) -> Chunk:
        """The chunk with no score of a label."""
        if label not in self.context.names:
            return self
        row = self.context.names.index(label)
        arrays = dict(self.arrays)
        new = Tracks(self.context.names)
        for name, where in (("scores", arrays["on"]), ("before", self.starts)):
            arrays[name] = arrays[name][np.nonzero(where)[1] != row]
        for name in ("on", "coarse"):
            arrays[name] = arrays[name] * (np.arange(len(self.context.names)) != row)
        for name in arrays.keys() & set(STATE):  # none without frames
            arrays[name] = arrays[name].copy()
            arrays[name][row] = getattr(new, name)[row]
        return replace(self, arrays=arrays)

    @property
    def starts(self) -> NDArray[np.bool_]:
        """bool (F, C): the first frames of runs of scores that are kept."""
        on = self.arrays["on"]
        times = self.arrays["monotonic"]
        starts: NDArray[np.bool_] = on.copy()
        starts[1:] &= ~(on[:-1] & (times[:-1] == self.arrays["last"][1:])[:, None])
        return starts

    def dense(self, floors: Floats) -> NDArray[np.float32]:
        """float32 (F, C): the scores of all frames; of those that were not kept, which are below the floors (C,), the
        last coarse ones."""
        arrays = self.arrays
        frames = np.arange(len(self.arrays["monotonic"]))
        scores = np.zeros((len(frames), len(self.context.names)), np.float32)
        if len(arrays["coarse_at"]):
            latest = np.maximum(np.searchsorted(arrays["coarse_at"], frames, "right") - 1, 0)
            scores = np.minimum(decode(arrays["coarse"]), floors * BELOW).astype(np.float32)[latest]
        scores[arrays["on"]] = arrays["scores"]
        return scores


def encode(scores: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Scores in 8 bits, rounded down in steps of the logit."""
    with np.errstate(divide="ignore"):
        logits = np.log(scores.astype(np.float64)) - np.log1p(-scores.astype(np.float64))
    codes: NDArray[np.uint8] = np.clip(np.floor((logits - _LOWEST) * _STEPS), 0, 255).astype(
        np.uint8
    )
    return codes - ((codes > 0) & (decode(codes) > scores))  # the logit's own rounding


def decode(codes: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Scores at or below those that were encoded."""
    scores = 1 / (1 + np.exp(-(codes.astype(np.float64) / _STEPS + _LOWEST)))
    return np.where(codes == 0, 0, scores).astype(np.float32)
