"""The tagger: correct numbers, the same from every thread; batches, lifetime and pickling."""

from __future__ import annotations

import gc
import multiprocessing
import os
import pickle
import signal
import subprocess
import sys
import threading
import weakref
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from pvlr_sdk import Tagger, TagResult, errors
from pvlr_sdk.backends.openvino import open_core, supports_bf16
from pvlr_sdk.bundle.manifest import InputSpec
from pvlr_sdk.workshop.compile.build import build
from tests.preprocess_reference import preprocess_reference


def random_frames(count: int) -> list[np.ndarray]:
    random = np.random.default_rng(1)
    sizes = random.integers(1, 300, (count, 2))
    return [random.integers(0, 256, (height, width, 3), np.uint8) for height, width in sizes]


def assert_same(one: TagResult, other: TagResult) -> None:
    assert one.logits.tobytes() == other.logits.tobytes()
    assert one.scores.tobytes() == other.scores.tobytes()
    assert one.tags == other.tags
    assert one.attention("cat", "grid").tobytes() == other.attention("cat", "grid").tobytes()


class TestNumbers:
    @pytest.mark.slow
    @pytest.mark.parametrize("resize", ["stretch", "letterbox"])
    def test_logits_are_the_networks(
        self, make_network: Callable[..., Any], tmp_path: Path, photo: np.ndarray, resize: str
    ) -> None:
        """Compared with the NumPy reference of preprocessing and the network in float64 NumPy."""
        network = make_network(tmp_path, resize=resize)
        build(network.onnx, tmp_path / "engine.plan")
        tagger = Tagger(tmp_path / "engine.plan", precision="fp32")
        spec = InputSpec(**tagger.info["input"])
        for frame in (photo, photo[::3, 5:200:2], photo[:1, :7], photo[:, :, 0]):
            order = "gray" if frame.ndim == 2 else "bgr"
            logits, _ = network.weights.forward(preprocess_reference(frame, order, spec))
            result = tagger.predict(frame)
            np.testing.assert_allclose(result.logits, logits, atol=2e-4)
            np.testing.assert_allclose(result.scores, 1 / (1 + np.exp(-logits)), atol=1e-4)

    def test_bf16_is_close(self, plan: Path, tagger: Tagger, photo: np.ndarray) -> None:
        try:
            bf16 = Tagger(plan, precision="bf16")
        except errors.BackendError as error:
            pytest.skip(f"no bf16 on this machine: {error}")
        assert bf16.info["precision"] == "bf16"
        difference = np.abs(bf16.predict(photo).logits - tagger.predict(photo).logits).max()
        assert 0 < difference < 0.2

    @pytest.mark.skipif(not supports_bf16(open_core()), reason="no bf16 on this machine")
    def test_first_layers_in_fp32_give_the_same_bits_everywhere(
        self, make_network: Callable[..., Any], tmp_path: Path
    ) -> None:
        """Compiled and loaded from the cache, from one and from many threads."""
        frames = random_frames(24)
        build(make_network(tmp_path, fp32_until="features").onnx, tmp_path / "engine.plan")
        tagger = Tagger(tmp_path / "engine.plan", precision="bf16")
        again = Tagger(tmp_path / "engine.plan", precision="bf16")
        assert again.info["from_cache"]
        results = [tagger.predict(frame) for frame in frames]
        with ThreadPoolExecutor(8) as pool:
            for one, other in zip(results, pool.map(again.predict, frames), strict=True):
                assert_same(one, other)
        for one, other in zip(results, tagger.predict_batch(frames), strict=True):
            assert_same(one, other)

    @pytest.mark.skipif(not supports_bf16(open_core()), reason="no bf16 on this machine")
    def test_unknown_fp32_until_is_a_foreign_model(
        self, make_network: Callable[..., Any], tmp_path: Path
    ) -> None:
        network = make_network(tmp_path, fp32_until="nowhere")
        with pytest.raises(errors.ModelError, match="nowhere"):
            build(network.onnx, tmp_path / "engine.plan")

    def test_every_way_in_agrees(self, tagger: Tagger, photo: np.ndarray, tmp_path: Path) -> None:
        image = pytest.importorskip("PIL.Image").fromarray(photo[:, :, ::-1])
        data = cv2.imencode(".png", photo)[1].tobytes()
        path = tmp_path / "photo.png"
        path.write_bytes(data)
        expected = tagger.predict(photo)
        alpha = np.dstack([photo, photo[:, :, 0]])
        for frame in (path, str(path), data, bytearray(data), image, photo.copy("F"), alpha):
            assert_same(tagger.predict(frame), expected)
        assert_same(tagger.predict(photo[:, :, ::-1], color="rgb"), expected)


class TestThreads:
    def test_bit_equal_from_many_threads(self, tagger: Tagger) -> None:
        frames = random_frames(24)
        expected = [tagger.predict(frame) for frame in frames]
        failures: list[str] = []
        start = threading.Barrier(12)

        def work(number: int) -> None:
            order = np.random.default_rng(number).permutation(len(frames))
            start.wait()
            for _ in range(4):
                for index in order:
                    try:
                        assert_same(tagger.predict(frames[index]), expected[index])
                    except Exception as error:
                        failures.append(f"thread {number}, frame {index}: {error!r}")
                        return

        threads = [threading.Thread(target=work, args=(number,)) for number in range(12)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert not failures

    def test_batches_from_many_threads(self, tagger: Tagger) -> None:
        frames = random_frames(24)
        expected = [tagger.predict(frame) for frame in frames]
        answers: dict[int, list[TagResult]] = {}

        def work(number: int) -> None:
            answers[number] = tagger.predict_batch(frames[number:] + frames[:number])

        threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        for number in range(8):
            for result, wanted in zip(
                answers[number], expected[number:] + expected[:number], strict=True
            ):
                assert_same(result, wanted)

    def test_results_outlive_the_next_frame(self, tagger: Tagger) -> None:
        first, second = random_frames(2)
        result = tagger.predict(first)
        before = result.logits.copy(), result.attention("cat")
        tagger.predict(second)
        np.testing.assert_array_equal(result.logits, before[0])
        np.testing.assert_array_equal(result.attention("cat"), before[1])


class TestBatch:
    @pytest.mark.parametrize("count", [0, 1, 2, 3, 9])
    def test_like_one_by_one(self, tagger: Tagger, count: int) -> None:
        frames = random_frames(count)
        results = tagger.predict_batch(iter(frames), threshold=0.2, top_k=3)
        assert len(results) == count
        for frame, result in zip(frames, results, strict=True):
            assert_same(result, tagger.predict(frame, threshold=0.2, top_k=3))
            assert result.frame_size == frame.shape[:2]

    def test_a_bad_frame_stops_it_and_nothing_breaks(self, tagger: Tagger) -> None:
        frames: list[Any] = random_frames(4)
        expected = tagger.predict(frames[0])
        for position in range(4):
            with pytest.raises(errors.FrameTypeError):
                tagger.predict_batch([*frames[:position], None, *frames[position:]])
        assert_same(tagger.predict(frames[0]), expected)

    def test_one_frame_is_no_batch(self, tagger: Tagger, photo: np.ndarray) -> None:
        """A path would be iterated letter by letter, an array row by row."""
        for frame in ("photo.jpg", Path("photo.jpg"), b"bytes", photo, photo[:, :, 0]):
            with pytest.raises(errors.FrameTypeError, match=r"\[frame\]"):
                tagger.predict_batch(frame)
        assert len(tagger.predict_batch(np.stack([photo, photo]))) == 2


class TestLife:
    def test_closed(self, plan: Path, photo: np.ndarray) -> None:
        with Tagger(plan) as made:
            made.predict(photo)
        with pytest.raises(errors.BackendError, match="closed"):
            made.predict(photo)
        with pytest.raises(errors.BackendError, match="closed"):
            made.predict_batch([photo])
        assert "closed" in repr(made)
        made.close()

    def test_close_frees_the_model(self, plan: Path) -> None:
        made = Tagger(plan)
        alive = weakref.ref(made._plan.backend._compiled[1])  # type: ignore[union-attr]
        made.close()
        gc.collect()
        assert alive() is None

    @pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
    @pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
    def test_forked_child_gets_an_error_instead_of_hanging(
        self, tagger: Tagger, photo: np.ndarray
    ) -> None:
        child = os.fork()
        if child == 0:
            signal.alarm(10)  # ends the child if it hangs
            refused = 0
            for call in (lambda: tagger.predict(photo), Tagger):
                try:
                    call()
                except errors.BackendError as error:
                    refused += "fork" in str(error)
            os._exit(refused)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 2


@pytest.mark.slow
def test_a_pickled_tagger_reopens_its_plan(plan: Path, photo: np.ndarray) -> None:
    """As in a DataLoader or an executor whose workers are spawned."""
    with Tagger(plan, threshold={"cat": 0.01}, top_k=2, num_threads=1) as tagger:
        expected = tagger.predict(photo)
        with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
            assert_same(pool.submit(tagger.predict, photo).result(60), expected)
    with pytest.raises(errors.BackendError):
        pickle.dumps(tagger)


def test_timing(tagger: Tagger, photo: np.ndarray) -> None:
    timing = tagger.predict(photo).timing
    assert set(timing) == {"decode", "preprocess", "inference", "head", "total"}
    assert all(value >= 0 for value in timing.values())
    assert timing["total"] == pytest.approx(sum(timing.values()) - timing["total"])


@pytest.mark.slow
def test_isolated_decoding_gives_the_same_results(
    plan: Path, photo: np.ndarray, tmp_path: Path
) -> None:
    path = tmp_path / "photo.jpg"
    path.write_bytes(cv2.imencode(".jpg", photo)[1].tobytes())
    with (
        Tagger(plan, precision="fp32") as plain,
        Tagger(plan, precision="fp32", isolate=True) as isolated,
    ):
        expected = plain.predict(path).logits
        for frame in (path, path.read_bytes()):
            np.testing.assert_array_equal(isolated.predict(frame).logits, expected)
        assert "<img" in plain.predict(path)._repr_html_()
        # a notebook decodes in this process
        assert "<img" not in isolated.predict(path)._repr_html_()
        again = pickle.loads(pickle.dumps(isolated))
        decoders = again._plan.inference.decoders
        assert decoders is not None
        again.close()
        np.testing.assert_array_equal(decoders.decode(path.read_bytes()).pixels.shape, photo.shape)


@pytest.mark.slow
def test_a_signal_after_another_thread_closed_the_first_plan(plan: Path) -> None:
    """In a process of its own: OpenVINO's stack for signals must not have gone with the plan."""
    script = """
import os, signal, sys, threading
from pvlr_sdk import Tagger
signal.signal(signal.SIGUSR1, lambda *_: print("handled"))
first = Tagger(sys.argv[1], num_threads=1)
def change():
    other = first.load(sys.argv[1])
    first.exchange(other)
    other.close()
thread = threading.Thread(target=change)
thread.start()
thread.join()
os.kill(os.getpid(), signal.SIGUSR1)
"""
    done = subprocess.run(
        [sys.executable, "-c", script, str(plan)], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (0, "handled\n")
