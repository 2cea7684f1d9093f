"""predict_async: the results of predict, errors in their futures, asyncio, and early ends."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pvlr_sdk import Tagger, errors


class TestAsync:
    def test_futures_give_what_predict_gives(self, plan: Path, photo: np.ndarray) -> None:
        tagger = Tagger(plan)
        crops = [photo[n : n + 90, n : n + 120] for n in range(0, 200, 10)]
        futures = [tagger.predict_async(crop, top_k=2) for crop in crops]
        for future, crop in zip(futures, crops, strict=True):
            expected = tagger.predict(crop, top_k=2)
            np.testing.assert_array_equal(future.result(20).logits, expected.logits)
            assert [tag.label for tag in future.result()] == [tag.label for tag in expected]

    def test_a_bad_frame_fails_in_its_future_and_a_bad_option_at_once(
        self, tagger: Tagger, photo: np.ndarray
    ) -> None:
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
            first = await tagger.predict_async(photo)
            return [first, *await asyncio.gather(asyncio.wrap_future(tagger.predict_async(photo)))]

        first, second = asyncio.run(both())
        np.testing.assert_array_equal(first.logits, second.logits)

    @pytest.mark.slow
    @pytest.mark.parametrize(
        "call",
        [
            "[tagger.predict_async(frame) for _ in range(40)]",
            "next(tagger.predict_stream([frame] * 40))",
        ],
    )
    def test_a_script_may_end_with_work_in_flight(self, plan: Path, call: str) -> None:
        """Without a crash: the interpreter must not be finalised while a thread is inside the runtime."""
        code = (
            f"import numpy; from pvlr_sdk import Tagger; tagger = Tagger({str(plan)!r}); "
            f"frame = numpy.zeros((1080, 1920, 3), 'u1'); keep = {call}"
        )
        for _ in range(3):
            done = subprocess.run(
                [sys.executable, "-c", code], capture_output=True, text=True, check=False
            )
            assert (done.returncode, done.stderr) == (0, "")
