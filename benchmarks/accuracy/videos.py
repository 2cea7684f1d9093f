"""Spans of ``pvlr tag --spans`` in a film joined from labelled footage, with every frame and with a part of them.

    python -m benchmarks.accuracy.videos $PVLR_DATA/sequences benchmarks/accuracy/cameras/clips

The clips follow each other in a random order, each as often as all others, until the film is long enough. Frames keep
their times; they are fitted into 768 x 432 pixels and encoded as H.264.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Annotated

import cv2
import numpy as np
import typer
from numpy.typing import NDArray

from pvlr_sdk import Tagger
from pvlr_sdk.cameras.sources.timed import read_times
from pvlr_sdk.cameras.stream.video import SpanFinder, tag_video
from pvlr_sdk.errors import FrameError
from pvlr_sdk.frames.find import read
from pvlr_sdk.result.spans import VideoTags

from ..common import Json, Table, conditions, run, save
from .cameras.score import Floats, Score, Span, Truth, score
from .cameras.sequences import Footage, check_labels, read_sequences
from .data import Plan, Threads

_WIDTH, _HEIGHT = 768, 432
_CLOCK = 1000
"""Ticks per second of the film's times."""
_STEP = 0.1
"""Seconds between the moments at which spans and annotations are compared."""


def main(
    folders: Annotated[list[Path], typer.Argument(help="Folders of sequences or clips.")],
    minutes: Annotated[float, typer.Option(help="Length of the film.")] = 60.0,
    fps: Annotated[
        float | None, typer.Option(help="Frames per second of the film. Default: of the clips.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Of the order of the clips.")] = 0,
    operating_point: Annotated[str, typer.Option(help="f1, as pvlr tag, or precise.")] = "f1",
    plan: Plan = None,
    threads: Threads = None,
    out: Json = None,
) -> None:
    """Compare spans from every frame, and from the frames that are chosen, with annotations."""
    footage = [clip for folder in folders for clip in read_sequences(folder)]
    options = {"operating_point": operating_point, "num_threads": threads, "optimize": "throughput"}
    with Tagger(plan, **options) as tagger, tempfile.TemporaryDirectory() as folder:
        check_labels(footage, tagger.labels)
        film = Path(folder, "film.mp4")
        times, truth = join(footage, film, tagger.labels, 60 * minutes, fps, seed)
        videos = {"every frame": tag_every_frame(tagger, film), "chosen": tag_video(tagger, film)}
        scores = {
            name: compare(video, tagger.labels, times, truth) for name, video in videos.items()
        }
    rows = []
    report = {}
    for name, video in videos.items():
        counts = scores[name].to_dict()
        precision, recall = counts["precision"], counts["recall"]
        measures = {
            "computed_percent": round(100 * video.computed / video.frames, 1),
            "spans": len(video.spans),
            "false_spans": counts["false_events"],
            "found": f"{counts['found']}/{counts['appearances']}",
            "precision": precision,
            "recall": recall,
            "F1": round(2 * precision * recall / (precision + recall), 1),
        }
        report[name] = measures
        rows.append([name, *map(str, measures.values())])
    title = f"{len(times)} frames, {times[-1]:.0f} s, {operating_point}"
    Table(title, ["", *report["chosen"]], rows).print(width=100)
    save(out, {"film": title, **report, "conditions": conditions(threads)})


def join(
    footage: Sequence[Footage],
    film: Path,
    labels: Sequence[str],
    seconds: float,
    fps: float | None,
    seed: int,
) -> tuple[Floats, Truth]:
    """Write a film of clips; returns the times of its T frames in seconds, and their truth (T, C)."""
    import av

    times: list[Floats] = []
    truth: list[Truth] = []
    order = np.random.default_rng(seed)
    now = 0.0
    with av.open(str(film), "w") as file:
        stream = file.add_stream("libx264", rate=30, options={"crf": "20", "preset": "veryfast"})
        stream.width, stream.height, stream.pix_fmt = _WIDTH, _HEIGHT, "yuv420p"
        stream.codec_context.time_base = Fraction(1, _CLOCK)
        while now < seconds:
            for index in order.permutation(len(footage)).tolist():
                moments = np.array([moment for moment, _ in frames_of(footage[index])])
                kept = thinned(moments, fps)
                for row, (moment, pixels) in enumerate(frames_of(footage[index])):
                    if kept[row]:
                        picture = av.VideoFrame.from_ndarray(fitted(pixels), "bgr24")
                        picture.pts = round((now + moment) * _CLOCK)
                        picture.time_base = Fraction(1, _CLOCK)
                        file.mux(stream.encode(picture))
                times.append(now + moments[kept])
                truth.append(footage[index].annotation.values(moments, labels)[kept])
                now += moments[-1] + float(np.median(np.diff(moments)))
        file.mux(stream.encode())
    return np.concatenate(times), np.concatenate(truth)


def frames_of(clip: Footage) -> Iterator[tuple[float, NDArray[np.uint8]]]:
    """Seconds since the first frame, and the pixels, of each frame of a folder or video."""
    if clip.uri.is_dir():
        for name, moment in (read_times(clip.uri) or {}).items():
            yield moment, cv2.imread(str(clip.uri / name))
    else:
        for frame in read(clip.uri):
            yield frame.seconds or 0.0, np.asarray(frame.pixels)


def thinned(moments: Floats, fps: float | None) -> NDArray[np.bool_]:
    """(T,): the first frame of each interval of 1 / fps seconds; None: all."""
    if fps is None:
        return np.ones(len(moments), np.bool_)
    intervals = np.floor(moments * fps + 1e-6)
    return np.diff(intervals, prepend=-1) > 0


def fitted(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """A frame in the size of the film, with black borders where its shape differs."""
    height, width = pixels.shape[:2]
    scale = min(_HEIGHT / height, _WIDTH / width)
    size = round(width * scale), round(height * scale)
    film = np.zeros((_HEIGHT, _WIDTH, 3), np.uint8)
    film[: size[1], : size[0]] = cv2.resize(pixels, size, interpolation=cv2.INTER_AREA)
    return film


def tag_every_frame(tagger: Tagger, film: Path) -> VideoTags:
    """The spans of a film all of whose frames are computed."""
    finder = SpanFinder(tagger.labels, tagger.thresholds)
    frames: list[tuple[int, float]] = []

    def pixels() -> Iterator[NDArray[np.uint8]]:
        for frame in read(film):
            frames.append((frame.frame or 0, finder.look(frame)))
            yield np.asarray(frame.pixels)

    for row, result in enumerate(tagger.predict_stream(pixels())):
        if isinstance(result, FrameError):
            raise result
        finder.add(*frames[row], result)
    return finder.close()


def compare(video: VideoTags, labels: Sequence[str], times: Floats, truth: Truth) -> Score:
    """The spans of a film against what is visible at each moment: frames with more per second do not count more."""
    moments = np.arange(0, times[-1], _STEP)
    rows = np.searchsorted(times, moments + 1e-6, side="right") - 1
    tags = np.zeros((len(moments), len(labels)), np.bool_)
    spans = [Span(labels.index(span.label), span.start, span.end) for span in video.spans]
    for span in spans:
        tags[(moments >= span.start) & (moments < span.end), span.label] = True
    return score("film", labels, moments, truth[rows], tags, spans)


if __name__ == "__main__":
    run(main)
