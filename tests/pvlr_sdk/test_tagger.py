"""The tagger: right numbers, the same from every thread, and each way of failing told apart."""

from __future__ import annotations

import gc
import os
import signal
import subprocess
import sys
import threading
import weakref
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

import pvlr_sdk
from pvlr_sdk import Tagger, TagResult, errors
from pvlr_sdk.backends import open_backend
from pvlr_sdk.backends.openvino import open_core, supports_bf16
from pvlr_sdk.build import build
from pvlr_sdk.bundle import Bundle, manifest_path
from pvlr_sdk.golden import logits_of
from pvlr_sdk.manifest import InputSpec
from pvlr_sdk.preprocess import Preprocessor
from pvlr_sdk.preprocess_reference import preprocess_reference


@pytest.fixture(scope="module")
def tagger(plan: Path) -> Iterator[Tagger]:
    with Tagger(plan, precision="fp32") as made:
        yield made


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
    @pytest.mark.parametrize("resize", ["stretch", "letterbox"])
    def test_logits_are_the_networks(
        self, make_network: Callable[..., Any], tmp_path: Path, photo: np.ndarray, resize: str
    ) -> None:
        """Against the pixel contract's twin and the network written out in float64 NumPy."""
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
        """From a fresh and from a cached start, from one and from many threads."""
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
    def test_unknown_fp32_until_is_a_foreign_model(self, make_network: Callable[..., Any], tmp_path: Path) -> None:
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

    def test_golden_frame_gives_the_manifests_logits(self, plan: Path) -> None:
        import base64

        golden = Bundle.open(plan).manifest.golden
        for precision, tolerance in golden.tolerance.items():
            try:
                made = Tagger(plan, precision=precision)
            except errors.BackendError:
                continue
            logits = made.predict(base64.b64decode(golden.frame_png)).logits
            assert np.abs(logits - golden.logits).max() <= tolerance


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
            for result, wanted in zip(answers[number], expected[number:] + expected[:number], strict=True):
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
        """A path would be taken letter by letter, an array row by row."""
        for frame in ("photo.jpg", Path("photo.jpg"), b"bytes", photo, photo[:, :, 0]):
            with pytest.raises(errors.FrameTypeError, match=r"\[frame\]"):
                tagger.predict_batch(frame)
        assert len(tagger.predict_batch(np.stack([photo, photo]))) == 2


class TestOptions:
    def test_deployed_thresholds_by_default(self, tagger: Tagger, photo: np.ndarray) -> None:
        result = tagger.predict(photo)
        np.testing.assert_allclose(result.thresholds, np.linspace(0.3, 0.6, 5), rtol=1e-6)
        expected = [name for name, s, t in zip(tagger.labels, result.scores, result.thresholds, strict=True) if s >= t]
        assert sorted(tag.label for tag in result) == sorted(expected)

    def test_one_threshold_for_all_and_per_label(self, plan: Path, tagger: Tagger, photo: np.ndarray) -> None:
        assert len(tagger.predict(photo, threshold=0.0)) == 5
        assert len(tagger.predict(photo, threshold=1.0)) == 0
        one = tagger.predict(photo, threshold={"cat": 0.0})
        assert one.thresholds[1] == 0.0
        assert one.thresholds[0] == np.float32(0.3)
        made = Tagger(plan, threshold={"cat": 0.9}, top_k=1)
        changed = made.predict(photo, threshold={"person": 0.1})
        assert changed.thresholds[:2].tolist() == [np.float32(0.1), np.float32(0.9)]
        assert len(made.predict(photo, threshold=0.0)) == 1
        assert len(made.predict(photo, threshold=0.0, top_k=4)) == 4

    def test_top_k_keeps_the_best_that_reach_their_threshold(self, tagger: Tagger, photo: np.ndarray) -> None:
        all_tags = tagger.predict(photo, threshold=0.0).tags
        assert tagger.predict(photo, threshold=0.0, top_k=2).tags == all_tags[:2]
        cut = (all_tags[0].score + all_tags[1].score) / 2
        assert [tag.label for tag in tagger.predict(photo, threshold=cut, top_k=2)] == [all_tags[0].label]

    @pytest.mark.parametrize("threshold", [-0.1, 1.1, float("nan"), "0.5", True, {"cat": 2}, {"cat": None}])
    def test_bad_thresholds(self, plan: Path, tagger: Tagger, photo: np.ndarray, threshold: Any) -> None:
        with pytest.raises(errors.OptionError):
            tagger.predict(photo, threshold=threshold)
        with pytest.raises(errors.OptionError):
            Tagger(plan, threshold=threshold)

    @pytest.mark.parametrize("top_k", [0, -1, 1.5, True, "3"])
    def test_bad_top_k(self, plan: Path, tagger: Tagger, photo: np.ndarray, top_k: Any) -> None:
        with pytest.raises(errors.OptionError):
            tagger.predict(photo, top_k=top_k)
        with pytest.raises(errors.OptionError):
            Tagger(plan, top_k=top_k)

    def test_unknown_label(self, tagger: Tagger, photo: np.ndarray) -> None:
        with pytest.raises(errors.UnknownLabelError, match="Did you mean 'cat'"):
            tagger.predict(photo, threshold={"cats": 0.5})

    @pytest.mark.parametrize(
        "options", [{"device": "npu"}, {"precision": "fp8"}, {"num_threads": 0}, {"num_threads": 1.5}, {"device": None}]
    )
    def test_bad_options(self, plan: Path, options: dict[str, Any]) -> None:
        with pytest.raises(errors.OptionError):
            Tagger(plan, **options)

    def test_info_and_labels(self, plan: Path, exported: Any) -> None:
        made = Tagger(plan, num_threads=1, device="cpu")
        assert made.labels == ["person", "cat", "coffee cup", "rocket", "dining table"]
        assert made.info["threads"] == 1
        assert made.info["backend"] == "openvino"
        assert made.info["precision"] in ("fp32", "bf16")
        assert made.info["plan"] == str(plan)
        made.labels.clear()
        assert len(made.labels) == 5


class TestBadPlans:
    def test_self_test_finds_a_model_that_computes_something_else(self, own_plan: Path) -> None:
        import json

        path = manifest_path(own_plan)
        manifest = json.loads(path.read_text())
        manifest["golden"]["logits"][2] += 0.5
        path.write_text(json.dumps(manifest))
        with pytest.raises(errors.SelfTestError, match=r"0\.5"):
            Tagger(own_plan)

    def test_self_test_also_covers_the_pixels(self, own_plan: Path) -> None:
        import json

        path = manifest_path(own_plan)
        manifest = json.loads(path.read_text())
        manifest["input"]["mean"] = [120, 127, 127]
        path.write_text(json.dumps(manifest))
        with pytest.raises(errors.SelfTestError):
            Tagger(own_plan)

    def test_golden_frame_that_is_no_picture(self, own_plan: Path) -> None:
        import json

        path = manifest_path(own_plan)
        for text in ("AAAA", "?"):
            manifest = json.loads(path.read_text())
            manifest["golden"]["frame_png"] = text
            path.write_text(json.dumps(manifest))
            with pytest.raises(errors.ManifestError):
                Tagger(own_plan)

    def _with_payload(self, plan: Path, payload: bytes) -> Path:
        from pvlr_sdk.bundle import write_bundle

        bundle = Bundle.open(plan)
        write_bundle(plan, payload, bundle.labels, bundle.manifest.model_dump(mode="json", exclude={"files"}))
        return plan

    @pytest.mark.parametrize("payload", [b"no network at all", b"\x08\x08\x12\x02hi", b"\0" * 5000])
    def test_payload_that_is_no_network(self, own_plan: Path, payload: bytes) -> None:
        with pytest.raises(errors.ModelError):
            Tagger(self._with_payload(own_plan, payload))

    @pytest.mark.parametrize(
        "changes",
        [{"input_name": "x"}, {"output_name": "y"}, {"names": ["a", "b", "c"]}],
        ids=["input", "output", "labels"],
    )
    def test_foreign_network(
        self, own_plan: Path, tmp_path: Path, make_network: Callable[..., Any], changes: dict[str, Any]
    ) -> None:
        foreign = make_network(tmp_path / "foreign", **changes)
        with pytest.raises(errors.ModelError):
            Tagger(self._with_payload(own_plan, foreign.onnx.read_bytes()))

    def test_another_networks_weights(self, own_plan: Path, tmp_path: Path, make_network: Callable[..., Any]) -> None:
        """Same shapes, other weights; also shows that the cache of compiled networks does not mix them up."""
        Tagger(own_plan)
        other = make_network(tmp_path / "other", seed=1)
        with pytest.raises(errors.SelfTestError):
            Tagger(self._with_payload(own_plan, other.onnx.read_bytes()))

    def test_non_finite_output(self, own_plan: Path, tmp_path: Path, make_network: Callable[..., Any]) -> None:
        broken = make_network(tmp_path / "broken", broken=True)
        with pytest.raises(errors.NonFiniteError):
            Tagger(self._with_payload(own_plan, broken.onnx.read_bytes()))

    def test_the_verified_bytes_are_the_ones_that_run(self, own_plan: Path, photo: np.ndarray) -> None:
        """Files that change after they were verified make no difference: nothing is read a second time."""
        expected = Tagger(own_plan, precision="fp32").predict(photo).logits
        bundle = Bundle.open(own_plan)
        for path in own_plan.parent.iterdir():
            path.write_bytes(b"changed behind our back")
        backend = open_backend(bundle, precision="fp32", num_threads=1)
        logits = logits_of(photo, backend, Preprocessor(bundle.manifest.input))
        np.testing.assert_allclose(logits, expected, atol=1e-5)


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
        alive = weakref.ref(made._backend._compiled[1])  # type: ignore[union-attr]
        made.close()
        gc.collect()
        assert alive() is None

    @pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
    @pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
    def test_forked_child_gets_an_error_instead_of_hanging(self, tagger: Tagger, photo: np.ndarray) -> None:
        child = os.fork()
        if child == 0:
            signal.alarm(10)  # hanging is what this is about
            try:
                tagger.predict(photo)
            except errors.BackendError as error:
                os._exit(7 if "fork" in str(error) else 1)
            os._exit(0)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7

    def test_failed_inference_loses_no_slot_of_others(self, tagger: Tagger, photo: np.ndarray) -> None:
        expected = tagger.predict(photo)
        for _ in range(3):
            with pytest.raises(errors.FrameError):
                tagger.predict(np.zeros((0, 3, 3), np.uint8))
        assert_same(tagger.predict(photo), expected)


class TestImport:
    def run(self, code: str) -> str:
        return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout

    def test_is_light(self) -> None:
        heavy = ["torch", "numpy", "cv2", "av", "openvino", "pydantic", "rich", "typer", "PIL", "safetensors"]
        code = f"import pvlr_sdk, sys; print([name for name in {heavy} if name in sys.modules])"
        assert self.run(code) == "[]\n"

    def test_tagging_never_imports_torch(self, plan: Path) -> None:
        code = (
            "import sys, numpy; from pvlr_sdk import Tagger; "
            f"Tagger({str(plan)!r}).predict(numpy.zeros((9, 9, 3), 'u1')); "
            "print([name for name in ('torch', 'onnx', 'PIL') if name in sys.modules])"
        )
        assert self.run(code) == "[]\n"

    def test_public_names(self) -> None:
        for name in pvlr_sdk.__all__:
            assert getattr(pvlr_sdk, name) is not None
            assert name in dir(pvlr_sdk)
        with pytest.raises(AttributeError):
            pvlr_sdk.nothing  # noqa: B018


def test_submit_gives_what_predict_gives(tagger: Tagger, photo: np.ndarray) -> None:
    """Several frames under way at once, asked for in any order, more than once."""
    frames = [photo, photo[::-1], photo[:100, :77]]
    pending = [tagger.submit(frame, color="rgb") for frame in frames]
    for position in (2, 0, 1, 0):
        assert_same(pending[position].result(), tagger.predict(frames[position], color="rgb"))
    with pytest.raises(errors.FrameShapeError):
        tagger.submit(np.zeros((3, 4, 5), np.uint8))


class TestAsync:
    def test_futures_give_what_predict_gives(self, plan: Path, photo: np.ndarray) -> None:
        tagger = Tagger(plan)
        crops = [photo[n : n + 90, n : n + 120] for n in range(0, 200, 10)]
        futures = [tagger.predict_async(crop, top_k=2) for crop in crops]
        for future, crop in zip(futures, crops, strict=True):
            expected = tagger.predict(crop, top_k=2)
            np.testing.assert_array_equal(future.result(20).logits, expected.logits)
            assert [tag.label for tag in future.result()] == [tag.label for tag in expected]

    def test_a_bad_frame_fails_in_its_future_and_a_bad_option_at_once(self, tagger: Tagger, photo: np.ndarray) -> None:
        bad, good = tagger.predict_async(photo.astype(np.float32)), tagger.predict_async(photo)
        assert isinstance(bad.exception(20), errors.FrameDtypeError)
        assert good.result(20)
        with pytest.raises(errors.OptionError):
            tagger.predict_async(photo, threshold=2.0)

    def test_closing_lets_what_was_asked_for_end(self, plan: Path, photo: np.ndarray) -> None:
        tagger = Tagger(plan)
        futures = [tagger.predict_async(photo) for _ in range(6)]
        tagger.close()
        assert all(np.isfinite(future.result(20).logits).all() for future in futures)
        with pytest.raises(errors.BackendError):
            tagger.predict_async(photo)

    def test_with_asyncio(self, tagger: Tagger, photo: np.ndarray) -> None:
        import asyncio

        async def both() -> list[Any]:
            return await asyncio.gather(*(asyncio.wrap_future(tagger.predict_async(photo)) for _ in range(2)))

        first, second = asyncio.run(both())
        np.testing.assert_array_equal(first.logits, second.logits)


def test_timing(tagger: Tagger, photo: np.ndarray) -> None:
    timing = tagger.predict(photo).timing
    assert set(timing) == {"decode", "preprocess", "inference", "head", "total"}
    assert all(value >= 0 for value in timing.values())
    assert timing["total"] == pytest.approx(sum(timing.values()) - timing["total"])
