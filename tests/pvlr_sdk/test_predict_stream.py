"""predict_stream: bit for bit predict's results, in order, bad frames in their places, bounded reading."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pvlr_sdk import Tagger, TagResult, errors
from pvlr_sdk.backends.openvino import OpenVinoBackend


def frames(count: int) -> list[np.ndarray]:
    random = np.random.default_rng(7)
    return [random.integers(0, 256, (20 + 7 * (n % 5), 31 + n, 3), np.uint8) for n in range(count)]


@pytest.mark.parametrize("optimize", ["latency", "throughput"])
def test_results_are_bit_equal_to_predicts(plan: Path, optimize: str) -> None:
    given = frames(30)
    with Tagger(plan, optimize=optimize) as tagger:
        results = list(tagger.predict_stream(iter(given)))
        for frame, result in zip(given, results, strict=True):
            expected = tagger.predict(frame)
            assert isinstance(result, TagResult)
            np.testing.assert_array_equal(result.logits, expected.logits)
            np.testing.assert_array_equal(result.attention("cat"), expected.attention("cat"))
            assert result.tags == expected.tags
        assert [r.logits.tobytes() for r in tagger.predict_batch(given)] == [
            r.logits.tobytes() for r in results
        ]


def test_frames_of_one_inference_get_their_own_bits(plan: Path, tmp_path: Path) -> None:
    """Results are those of separate calls, also beside a frame that is on the GPU or that does not decode."""

    interface = {"shape": (4, 4, 3), "typestr": "|u1", "data": (1, False), "version": 3}
    on_gpu = type("OnGpu", (), {"__cuda_array_interface__": interface})()
    one, other = frames(2)
    with Tagger(plan, optimize="throughput") as tagger:
        plan, backend = tagger._ready()
        assert backend.together == 2
        alone = [tagger.predict(frame).logits.tobytes() for frame in (one, other)]
        request, missing = tagger._request(plan, "bgr", None, None, None), tmp_path / "missing.jpg"
        groups: list[list[Any]] = [[one, other], [other, one], [one, on_gpu], [missing, other]]
        for given in groups:
            outcomes = plan.inference.tag(backend, request, given)
            for frame, outcome in zip(given, outcomes, strict=True):
                if isinstance(frame, np.ndarray):
                    assert isinstance(outcome, TagResult)
                    assert outcome.logits.tobytes() == alone[0 if frame is one else 1]
                    timing = dict(outcome.timing)
                    assert timing.pop("total") == pytest.approx(sum(timing.values()))
                else:
                    assert isinstance(outcome, errors.FrameError)
        assert len(backend._free_groups) == 1  # type: ignore[attr-defined]  # it was used, and used again


def test_engines_that_disagree_do_not_share_an_inference(
    plan: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(OpenVinoBackend, "_group_agrees", lambda self: False)
    given = frames(12)
    with Tagger(plan, optimize="throughput") as tagger:
        assert tagger._ready()[1].together == 1
        results = [result.logits.tobytes() for result in tagger.predict_batch(given)]
        assert results == [tagger.predict(frame).logits.tobytes() for frame in given]


def test_throughput_and_latency_say_the_same(plan: Path, photo: np.ndarray) -> None:
    logits = [
        Tagger(plan, optimize=goal, precision="fp32").predict(photo).logits
        for goal in ("latency", "throughput")
    ]
    np.testing.assert_allclose(*logits, atol=1e-4)


def test_a_bad_frame_gives_its_error_in_its_place(plan: Path, tmp_path: Path) -> None:
    good, bad = frames(2), [tmp_path / "missing.jpg", np.zeros((4, 4), np.float32), b"not an image"]
    outcomes = list(Tagger(plan).predict_stream([good[0], *bad, good[1]]))
    kinds = [
        TagResult,
        errors.ImageNotFoundError,
        errors.FrameDtypeError,
        errors.ImageDecodeError,
        TagResult,
    ]
    assert [type(outcome) for outcome in outcomes] == kinds


def test_an_error_in_place_of_a_frame_is_its_outcome(plan: Path) -> None:
    error = errors.ImageDecodeError("photo.jpg", "an image", "nothing", "Copy it again.")
    with Tagger(plan) as tagger:
        first, second = tagger.predict_stream([np.zeros((8, 8, 3), np.uint8), error])
    assert isinstance(first, TagResult)
    assert second is error


def test_reads_frames_only_as_results_are_taken(plan: Path) -> None:
    read = 0

    def endless() -> Iterator[np.ndarray]:
        nonlocal read
        while True:
            read += 1
            yield np.zeros((8, 8, 3), np.uint8)

    with Tagger(plan) as tagger:
        stream = tagger.predict_stream(endless())
        for _ in range(50):
            next(stream)
        assert read < 50 + 3 * (tagger.info["parallel"] + 1)
        stream.close()


def test_arguments_are_checked_before_the_first_frame(plan: Path) -> None:
    with Tagger(plan) as tagger:
        with pytest.raises(errors.FrameTypeError):
            tagger.predict_stream("photo.jpg")  # type: ignore[arg-type]
        with pytest.raises(errors.OptionError):
            tagger.predict_stream([], threshold=2.0)
    with pytest.raises(errors.BackendError):
        tagger.predict_stream([])
    with pytest.raises(errors.OptionError, match="optimize"):
        Tagger(plan, optimize="speed")


def test_what_cannot_be_iterated_is_an_error_at_once(plan: Path, tmp_path: Path) -> None:
    class Dataset:
        """A sequence without ``__iter__``, as PyTorch's."""

        def __getitem__(self, index: int) -> np.ndarray:
            return frames(2)[index]

    image = pytest.importorskip("PIL.Image").new("RGB", (40, 30))
    with Tagger(plan) as tagger:
        hints = {
            "Image": r"Pass \[frame\]",
            "int": r"Pass \[frame\]",
            "NoneType": "OpenCV",
            "BytesIO": "Pass its bytes",
        }
        for given in (image, None, 7, io.BytesIO(b"one\ntwo")):
            name = type(given).__name__
            with pytest.raises(errors.FrameTypeError, match=rf"got one {name}\. {hints[name]}"):
                tagger.predict_stream(given)
        assert len(tagger.predict_batch(Dataset())) == 2  # type: ignore[arg-type]


def test_an_inference_that_cannot_start_is_a_typed_error(
    plan: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Tagger(plan) as tagger:
        backend = tagger._plan.backend
        assert isinstance(backend, OpenVinoBackend)
        backend._free.clear()

        class NoMemory:
            def create_infer_request(self) -> None:
                raise MemoryError("std::bad_alloc")

        with monkeypatch.context() as patch:
            patch.setitem(backend._compiled, 1, NoMemory())  # type: ignore[arg-type]
            with pytest.raises(errors.BackendError, match="bad_alloc"):
                tagger.predict(frames(1)[0])
        tagger.predict(frames(1)[0])
