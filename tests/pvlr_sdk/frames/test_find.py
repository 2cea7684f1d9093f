"""Finding and reading inputs: files, folders, patterns, videos."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from pvlr_sdk import errors
from pvlr_sdk.frames import find as sources
from tests.waiting import LONG


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    for name in (
        "b.jpg",
        "a.PNG",
        "sub/c.jpeg",
        "sub/clip.mp4",
        "notes.txt",
        ".hidden.jpg",
        ".git/d.jpg",
    ):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"x")
    (tmp_path / "empty").mkdir()
    return tmp_path


@pytest.fixture
def clip(make_clip: Callable[..., Path]) -> Path:
    """30 frames at 10 frames per second; frame i is gray of value 8 i."""
    return make_clip(30, step=8, size=(32, 16))


def find(*inputs: object) -> tuple[list[Path], list[str]]:
    failed: list[str] = []
    return sources.find(
        [str(given) for given in inputs], lambda given, error: failed.append(given)
    ), failed


def test_a_folder_is_searched_sorted_and_without_hidden_files(tree):
    files, failed = find(tree)
    assert files == [tree / "a.PNG", tree / "b.jpg", tree / "sub/c.jpeg", tree / "sub/clip.mp4"]
    assert not failed


def test_patterns_files_and_folders_together_give_each_file_once(tree):
    files, failed = find(tree / "sub/c.jpeg", tree / "**/*.jp*g", tree / "sub", tree / "notes.txt")
    assert files == [tree / "sub/c.jpeg", tree / "b.jpg", tree / "sub/clip.mp4", tree / "notes.txt"]
    assert not failed


def test_a_file_whose_name_looks_like_a_pattern_is_that_file(tree):
    path = tree / "shot[1].jpg"
    path.write_bytes(b"x")
    assert find(path) == ([path], [])


def test_a_url_is_reported_as_it_was_given(tree, monkeypatch):
    monkeypatch.chdir(tree)
    problems: dict[str, str] = {}
    for url in ("https://example.com/a.jpg", "s3://bucket/a.jpg?part=1"):
        assert sources.find(
            [url, "b.jpg"], lambda given, error: problems.update({given: str(error)})
        ) == [Path("b.jpg")]
        shown = url.partition("?")[0]
        assert problems[url].startswith(
            f"{shown}: expected at least one image or video, got a URL. Download it first"
        )
    Path("https:").mkdir()
    Path("https:/a.jpg").write_bytes(b"x")
    assert find("https://a.jpg") == ([Path("https:/a.jpg")], [])


def test_inputs_that_stand_for_nothing_are_reported_and_the_others_go_on(tree):
    files, failed = find(tree / "empty", tree / "*.bmp", "", tree / "b.jpg")
    assert files == [tree / "b.jpg"]
    assert failed == [str(tree / "empty"), str(tree / "*.bmp"), ""]


def test_patterns_that_the_file_system_refuses_are_reported(tree):
    assert find("x" * 300 + "*") == ([], ["x" * 300 + "*"])


def test_a_broken_link_with_the_name_of_a_pattern_is_that_link(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    os.symlink("nowhere", "*")
    assert find("*") == ([Path("*")], [])


def test_a_folder_that_cannot_be_read_is_reported_and_the_others_searched(tree, monkeypatch):
    real = os.scandir

    def scandir(path):
        if Path(path).name == "sub":
            raise PermissionError(13, "Permission denied", str(path))
        return real(path)

    monkeypatch.setattr(os, "scandir", scandir)  # file permissions do not apply to root
    assert find(tree) == ([tree / "a.PNG", tree / "b.jpg"], [str(tree / "sub")])


def test_a_name_too_long_to_exist_is_left_to_whoever_opens_it():
    name = "x" * 5000 + ".mp4"
    assert find(name) == ([Path(name)], [])
    assert sources.count(Path(name)) == 1
    with pytest.raises(errors.ImageNotFoundError):
        list(sources.read(Path(name)))


def test_a_still_image_is_passed_on_unread(tree):
    path = tree / "b.jpg"
    assert list(sources.read(path, every=5)) == [sources.InputFrame(str(path), path)]


@pytest.mark.parametrize(
    ("pace", "expected"),
    [
        ({}, list(range(30))),
        ({"every": 7}, [0, 7, 14, 21, 28]),
        ({"every": 100}, [0]),
        ({"fps": 10.0}, list(range(30))),
        ({"fps": 25.0}, list(range(30))),
        ({"fps": 5.0}, list(range(0, 30, 2))),
        ({"fps": 0.5}, [0, 20]),
        ({"fps": 4.0}, [0, 3, 5, 8, 10, 13, 15, 18, 20, 23, 25, 28]),
    ],
)
def test_frames_of_a_video(clip, pace, expected):
    frames = list(sources.read(clip, **pace))
    assert [frame.frame for frame in frames] == expected
    assert sources.count(clip, **pace) == len(expected)
    for frame in frames:
        assert frame.source == str(clip)
        assert frame.seconds == pytest.approx(frame.frame / 10)
        assert frame.pixels.shape == (16, 32, 3)
        assert abs(float(frame.pixels.mean()) - 8 * frame.frame) < 4  # the frame of that number


def test_frames_are_not_overwritten_by_later_ones(clip):
    frames = list(sources.read(clip, every=10))
    assert len({frame.pixels.tobytes() for frame in frames}) == 3


def test_a_video_cut_short_gives_its_frames_and_then_an_error(clip):
    data = clip.read_bytes()
    clip.write_bytes(data[: len(data) // 2])
    frames = sources.read(clip)
    assert [next(frames).frame, next(frames).frame] == [0, 1]
    with pytest.raises(errors.ImageDecodeError, match="truncated"):
        list(frames)


@pytest.mark.parametrize("contents", [b"", b"hello", b"\0" * 5000])
def test_no_video(tmp_path, contents):
    path = tmp_path / "clip.mp4"
    path.write_bytes(contents)
    with pytest.raises(errors.ImageDecodeError) as caught:
        list(sources.read(path))
    assert caught.value.argument == str(path)
    assert sources.count(path) == 1  # whoever reads it reports it


@pytest.mark.parametrize(
    ("pace", "expected"), [({}, 2**31 - 1), ({"every": 10}, 214748365), ({"fps": 1.0}, 214748365)]
)
def test_a_header_that_promises_billions_of_frames_is_not_counted_through(clip, pace, expected):
    data = bytearray(clip.read_bytes())
    total, length = data.index(b"avih") + 8 + 16, data.index(b"strh") + 8 + 32
    for place in (total, length):
        data[place : place + 4] = (2**31 - 1).to_bytes(4, "little")
    clip.write_bytes(data)
    began = time.perf_counter()
    assert sources.count(clip, **pace) == expected
    assert time.perf_counter() - began < LONG  # counting would take hours


def test_a_video_with_frames_beyond_the_limit(clip, monkeypatch):
    monkeypatch.setattr("pvlr_sdk.frames.limits.MAX_PIXELS", 32 * 16 - 1)
    with pytest.raises(errors.ImageSizeError, match="32 x 16"):
        next(sources.read(clip))
    assert sources.count(clip) == 1


def test_a_video_that_is_not_there(tmp_path):
    path = tmp_path / "clip.mp4"
    with pytest.raises(errors.ImageNotFoundError):
        list(sources.read(path))
    assert sources.count(path) == 1


@pytest.mark.parametrize(
    "pace",
    [{"every": 0}, {"every": -1}, {"fps": 0.0}, {"fps": float("nan")}, {"every": 2, "fps": 1.0}],
)
def test_a_pace_that_cannot_be(clip, pace):
    with pytest.raises(errors.OptionError):
        list(sources.read(clip, **pace))
