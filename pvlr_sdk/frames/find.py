"""Finds images and videos (files, folders, patterns) and reads them one frame at a time."""

from __future__ import annotations

import glob
import math
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from .. import errors
from .heif import EXTENSIONS as HEIF
from .images import URL, refused_path
from .limits import check_pixels

if TYPE_CHECKING:
    import cv2

IMAGES = frozenset(
    {
        ".jpg",
        ".jpeg",
        ".jpe",
        ".jfif",
        ".png",
        ".bmp",
        ".webp",
        ".tif",
        ".tiff",
        ".gif",
        ".ppm",
        ".pgm",
        *HEIF,
    }
)
VIDEOS = frozenset(
    {
        ".mp4",
        ".m4v",
        ".mov",
        ".avi",
        ".mkv",
        ".webm",
        ".mpg",
        ".mpeg",
        ".wmv",
        ".flv",
        ".ts",
        ".mts",
    }
)


@dataclass(frozen=True)
class InputFrame:
    """A frame to tag: ``source`` is its file, ``pixels`` what ``Tagger.predict`` accepts: the path of a still image, or
    uint8 (H, W, 3) BGR. ``frame`` is its index in a video and ``seconds`` its time there; None for a still image."""

    source: str
    pixels: Path | NDArray[np.uint8]
    frame: int | None = None
    seconds: float | None = None


def find(inputs: Sequence[str], on_error: Callable[[str, errors.FrameError], None]) -> list[Path]:
    """The files that ``inputs`` match, each once, in the order given and sorted within a folder or pattern.

    An input is a file, a folder (searched recursively for files with an image or video extension) or a pattern such as
    ``shots/**/*.png``. An input without a match is reported to ``on_error(input, error)``.
    """
    unique: dict[Path, None] = {}
    for text in inputs:
        files = list(_expand(text, on_error))
        unique.update(dict.fromkeys(files))
        if not files:
            on_error(text, _nothing_in(text))
    return list(unique)


def check_folder(
    folder: str | os.PathLike[str], option: str, expected: str = "a folder of images"
) -> None:
    """Raises ImageNotFoundError unless there is such a folder; ``option`` is the option to check."""
    if not os.path.isdir(folder):
        raise errors.ImageNotFoundError(
            os.fspath(folder), expected, "no such folder", f"Check {option}."
        )


def is_video(path: Path) -> bool:
    """Whether the file has a video extension."""
    return path.suffix.lower() in VIDEOS


def read(path: Path, *, every: int | None = None, fps: float | None = None) -> Iterator[InputFrame]:
    """Read one file: a still image itself, or the frames of a video.

    Args:
        path: an image or a video, distinguished by extension.
        every: take every n-th frame of a video, starting with the first.
        fps: take this many frames per second of a video (all, if it has fewer).

    Raises:
        OptionError: ``every`` and ``fps`` together, a non-positive value, or ``fps`` for a video without a frame rate.
        ImageNotFoundError: the video does not exist.
        ImageDecodeError: the video cannot be decoded, or ends long before the length in its header.
        ImageSizeError: its frames have more pixels than :mod:`.limits` allows.
    """
    check_pace(every, fps)
    if is_video(path):
        yield from _read_video(path, every, fps)
    else:
        yield InputFrame(str(path), path)


def count(path: Path, *, every: int | None = None, fps: float | None = None) -> int:
    """The number of frames that :func:`read` yields according to the file's header: for progress bars only.

    A file that cannot be read counts as one: the error follows when it is read. Raises OptionError as :func:`read`.
    """
    if not is_video(path):
        return 1
    try:
        video = _open_video(path)
    except errors.FrameError:
        return 1
    frames, rate = _header(video)
    video.release()
    if fps is None:
        # computed, not counted: a damaged header promises any number
        return -(-frames // (every or 1))
    _check_rate(path, rate)
    return frames if fps >= rate else 1 + math.floor((frames - 1) * fps / rate)


def _expand(text: str, on_error: Callable[[str, errors.FrameError], None]) -> Iterator[Path]:
    # os.path returns False where pathlib raises, for example for a name that is too long.
    if os.path.isdir(text):
        yield from _files_below(text, on_error)
    elif glob.has_magic(text) and not os.path.lexists(text):
        for match in sorted(glob.glob(text, recursive=True)):
            yield from _expand(match, on_error)
    elif text and (os.path.lexists(text) or not URL.match(text)):
        yield Path(text)  # a missing file is reported when it is opened


def _files_below(folder: str, on_error: Callable[[str, errors.FrameError], None]) -> Iterator[Path]:
    def unreadable(error: OSError) -> None:
        name = os.fspath(error.filename)
        got = error.strerror or str(error)
        hint = "Check its permissions; the other folders are still searched."
        on_error(name, errors.ImageNotFoundError(name, "a readable folder", got, hint))

    for parent, folders, files in os.walk(folder, onerror=unreadable):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(files):
            if not name.startswith(".") and Path(name).suffix.lower() in IMAGES | VIDEOS:
                yield Path(parent, name)


def _nothing_in(text: str) -> errors.FrameError:
    if os.path.isdir(text):
        got = "a folder without any"
        hint = "Files are recognised by their extension, such as .jpg, .heic or .mp4."
    elif not text:
        got = "an empty string"
        hint = "Check that the shell variable is set."
    else:
        got = "a pattern without a match"
        hint = "Check the pattern; ** matches any number of folders."
    text, got, hint = refused_path(text or "input", got, hint)
    return errors.ImageNotFoundError(text, "at least one image or video", got, hint)


def _read_video(path: Path, every: int | None, fps: float | None) -> Iterator[InputFrame]:
    import cv2

    video = _open_video(path)
    try:
        promised, rate = _header(video)
        keep = _keeper(path, rate, every, fps)
        index = 0
        while video.grab():
            if keep(index):
                ok, pixels = video.retrieve()
                if not ok:
                    break
                seconds = video.get(cv2.CAP_PROP_POS_MSEC) / 1000 or (
                    index / rate if rate else None
                )
                yield InputFrame(str(path), np.asarray(pixels, dtype=np.uint8), index, seconds)
            index += 1
        # Headers may be slightly off, but a video that ends far too early is damaged.
        if index == 0 or index < promised * 0.95 - 2:
            raise errors.ImageDecodeError(
                str(path),
                f"the {promised} frames of its header" if promised else "at least one frame",
                f"{index} decodable frames",
                "The video is damaged or truncated: copy it again. The frames before the damage were read.",
            )
    finally:
        video.release()


def _open_video(path: Path) -> cv2.VideoCapture:
    import cv2

    if not os.path.isfile(path):
        raise errors.ImageNotFoundError(
            str(path),
            "a video",
            "a folder" if os.path.isdir(path) else "no such file",
            "Check the path.",
        )
    # Silences the decoder's messages on stderr; our error names the file and the fix.
    os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")
    video = cv2.VideoCapture(str(path))
    if not video.isOpened():
        raise errors.ImageDecodeError(
            str(path),
            "a video",
            "data that cannot be decoded",
            "Check that the file is complete; converting it to H.264 in .mp4 may help.",
        )
    height, width = (
        int(video.get(side)) for side in (cv2.CAP_PROP_FRAME_HEIGHT, cv2.CAP_PROP_FRAME_WIDTH)
    )
    check_pixels(height, width, str(path))
    return video


def _header(video: cv2.VideoCapture) -> tuple[int, float]:
    """Number of frames and frames per second according to the header; 0 where it has none."""
    import cv2

    frames = video.get(cv2.CAP_PROP_FRAME_COUNT)
    rate = video.get(cv2.CAP_PROP_FPS)
    return int(max(frames, 0)), rate if math.isfinite(rate) and rate > 0 else 0.0


def _keeper(path: Path, rate: float, every: int | None, fps: float | None) -> Callable[[int], bool]:
    if fps is None:
        step = every or 1
        return lambda index: index % step == 0
    _check_rate(path, rate)
    return lambda index: (
        index == 0 or math.floor(index * fps / rate) > math.floor((index - 1) * fps / rate)
    )


def _check_rate(path: Path, rate: float) -> None:
    if not rate:
        raise errors.OptionError(
            "fps", "a video with a frame rate in its header", f"{path} without one", "Use --every."
        )


def check_pace(every: int | None, fps: float | None) -> None:
    """Raises OptionError unless at most one of the two is given and it is positive."""
    if every is not None and fps is not None:
        raise errors.OptionError("every", "every or fps", "both", "Omit one of them.")
    if every is not None and every < 1:
        raise errors.OptionError("every", "1 or more", str(every), "--every 10: every tenth frame.")
    if fps is not None and not (math.isfinite(fps) and fps > 0):
        raise errors.OptionError("fps", "more than 0", str(fps), "--fps 0.5: a frame every 2 s.")
