"""A stream whose cameras, files, frames or tagger fail."""

from __future__ import annotations

import itertools
import logging
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, ClassVar

import cv2
import numpy as np
import pytest

from pvlr_sdk import Camera, Stream, Tagger, errors
from pvlr_sdk.cameras.stream import CameraChange
from tests.pvlr_sdk.cameras.stream.seen import changes, observations

SMALL = "size=160x120"


@pytest.mark.slow
def test_a_lost_camera_disturbs_no_other(tagger: Tagger) -> None:
    cameras = [
        Camera("gone", "rtsp://127.0.0.1:9/nobody", timeout=0.5),
        Camera("frozen", f"test://?{SMALL}&fps=30&freeze_after=10", timeout=0.3),
        Camera("fine", f"test://?{SMALL}&fps=30&frames=60"),
    ]
    with Stream(tagger, cameras, longest_pause=0.1) as stream:
        events = []
        for event in stream:
            events.append(event)
            if isinstance(event, CameraChange) and (event.camera, event.state) == ("fine", "ended"):
                break
        stats = stream.stats()
    assert stats["fine"].tagged > 50
    assert stats["gone"].state == "lost"
    assert stats["gone"].reconnects > 2
    assert "refused" in stats["gone"].reason
    states = [state for name, state in changes(events) if name == "frozen"]
    assert states[:4] == ["live", "lost", "live", "lost"]
    # Changes and observations of one camera keep their order.
    state = None
    for event in events:
        if event.camera == "frozen":
            if isinstance(event, CameraChange):
                state = event.state
            else:
                assert state == "live"


def test_files_that_cannot_be_read_end_instead_of_being_tried_for_ever(
    tagger: Tagger, tmp_path: Path
) -> None:
    (tmp_path / "text.mp4").write_text("no video")
    cameras = [
        Camera("none", str(tmp_path / "none.mp4")),
        Camera("text", str(tmp_path / "text.mp4")),
    ]
    with Stream(tagger, cameras) as stream:
        ended = {event.camera: event for event in stream}
    assert ended["none"].state == ended["text"].state == "ended"
    assert "no such file" in ended["none"].reason


def test_a_folder_comes_whole_and_its_bad_picture_is_counted(
    tagger: Tagger, tmp_path: Path
) -> None:
    for index in range(5):
        cv2.imwrite(str(tmp_path / f"{index}.png"), np.full((8, 8, 3), 50 * index, np.uint8))
    (tmp_path / "3.png").write_bytes(b"not an image")
    with Stream(tagger, [Camera("a", str(tmp_path))]) as stream:
        seen = observations(stream)
        assert stream.stats()["a"].decode_errors == 1
    assert [int(observation.frame.pixels[0, 0, 0]) for observation in seen] == [0, 50, 100, 200]


@pytest.mark.slow
@pytest.mark.parametrize("error", [errors.FrameValueError, errors.NonFiniteError])
@pytest.mark.parametrize("parallel", [1, 2])
def test_frames_that_cannot_be_tagged_are_counted(
    tagger: Tagger, parallel: int, error: type[errors.PvlrError]
) -> None:
    class Picky:
        """Fails each third time."""

        info: ClassVar = {**tagger.info, "parallel": parallel}
        calls: ClassVar = itertools.count()
        workers: ClassVar = ThreadPoolExecutor(parallel + 1)

        def predict(self, frame: np.ndarray, *, color: str = "bgr") -> Any:
            if next(self.calls) % 3 == 0:
                raise error("frame", expected="a good one", got="a bad one", hint="")
            return tagger.predict(frame, color=color)

        def predict_async(self, frame: np.ndarray, *, color: str = "bgr", **_: Any) -> Future[Any]:
            return self.workers.submit(self.predict, frame, color=color)

    picky: Any = Picky()
    with Stream(picky, [Camera("a", f"test://?{SMALL}&fps=60&frames=60")]) as stream:
        seen = observations(stream)
        stats = stream.stats()["a"]
    assert stats.tagged == len(seen) > 0
    assert stats.failed > 0
    assert stats.tagged + stats.failed + stats.dropped == 60


def test_a_camera_whose_frames_all_fail_does_not_fill_the_log(
    tagger: Tagger, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    wrong: Future[Any] = Future()
    wrong.set_exception(
        errors.FrameValueError("frame", expected="a good one", got="a bad one", hint="")
    )
    monkeypatch.setattr(tagger, "predict_async", lambda *_, **__: wrong)
    with Stream(
        tagger, [Camera("a", f"test://?{SMALL}&fps=200&frames=100")], every_frame=True
    ) as stream:
        assert observations(stream) == []
        failed = stream.stats()["a"].failed
    assert failed > 20
    assert (
        len([one for one in caplog.records if "a good one" in one.message]) == failed.bit_length()
    )


def test_a_broken_tagger_ends_the_stream(plan: Path) -> None:
    tagger = Tagger(plan)
    with Stream(tagger, [Camera("a", f"test://?{SMALL}&fps=50")]) as stream:
        next(stream)
        tagger.close()
        with pytest.raises(errors.BackendError):
            list(stream)


def test_a_lost_gpu_ends_the_stream_instead_of_replacing_the_plan(
    plan: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tagger, asked = Tagger(plan), list[object]()
    lost: Future[Any] = Future()
    lost.set_exception(errors.DeviceLostError("plan", expected="a context", got="none", hint=""))
    with Stream(
        tagger,
        [Camera("a", f"test://?{SMALL}&fps=50")],
        recover=lambda error: not asked.append(error),
    ) as stream:
        next(stream)
        monkeypatch.setattr(tagger, "predict_async", lambda *_, **__: lost)
        with pytest.raises(errors.DeviceLostError):
            list(stream)
    assert not asked


def test_what_cannot_be(tagger: Tagger) -> None:
    camera = Camera("a", "test://")
    for cameras, options in (
        ([], {}),
        ([camera, camera], {}),
        ([camera], {"staleness": -1}),
        ([camera], {"longest_pause": float("nan")}),
    ):
        with pytest.raises(errors.OptionError):
            Stream(tagger, cameras, **options)
    with pytest.raises(errors.SourceUriError):
        Camera("a", "nothing://x")
    for region in ((0, 0, 1), (0, 0, 0, 1), (0.5, 0, 0.6, 1), (0, 0, float("nan"), 1), "left"):
        with pytest.raises(errors.OptionError):
            Camera("a", "test://", region=region)


def test_credentials_stay_out_of_everything(
    tagger: Tagger, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level(logging.DEBUG)
    camera = Camera("a", "rtsp://user:hunter2@127.0.0.1:9/x", timeout=0.5)
    with Stream(tagger, [camera], longest_pause=0.05) as stream:
        shown = [repr(next(stream)), repr(stream), repr(camera), repr(stream.stats())]
        stream.stop()
    out, err = capfd.readouterr()
    assert "lost" in caplog.text
    for text in (*shown, caplog.text, out, err):
        assert "hunter2" not in text
