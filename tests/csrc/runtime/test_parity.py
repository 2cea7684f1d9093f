"""libpvlr computes what Tagger computes, bit for bit: logits, scores, tags and attention maps."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from pvlr_sdk import LabelBank, Tagger, TagResult
from pvlr_sdk.bundle.bundle import write_thresholds
from pvlr_sdk.frames.tiles import Tiles, layout_name
from pvlr_sdk.models.find import load_bundle
from pvlr_sdk.workshop.compile.build import build
from pvlr_sdk.workshop.compile.calibration import CalibrationImages
from tests.manifests import edit_manifest

from ..library import ROOT
from .conftest import Runtime

pytestmark = pytest.mark.slow

PLANS = sorted((*ROOT.glob("pvlr_sdk/models/*/engine.plan"), *ROOT.glob("models/*/engine.plan")))
PHOTOS = int(os.environ.get("PVLR_PARITY_PHOTOS", "40"))
FORMATS = {"bgr": 1, "rgb": 2, "bgra": 3, "rgba": 4, "gray": 5, "nv12": 6, "i420": 7}
U8 = NDArray[np.uint8]


class Case(NamedTuple):
    """A frame for Tagger, and the same pixels for C: three (offset, pitch), and the bytes."""

    frame: U8
    color: str
    size: tuple[int, int]
    planes: list[tuple[int, int]]
    data: bytes

    def line(self, path: Path) -> str:
        name, *suffixes = self.color.split("-")
        if self.frame.ndim == 2 and name in ("bgr", "rgb"):
            name = "gray"
        elif self.frame.ndim == 3 and self.frame.shape[2] == 4:
            name += "a"
        height, width = self.size
        planes = [*self.planes, *[(0, 0)] * (3 - len(self.planes))]
        numbers = [
            FORMATS[name],
            int("bt709" in suffixes),
            int("full" in suffixes),
            width,
            height,
            *sum(planes, ()),
        ]
        return f"{' '.join(map(str, numbers))} {path}\n"


def packed(frame: U8, color: str, gap: int = 0, *, upwards: bool = False) -> Case:
    """Interleaved or grey pixels; rows have a gap between them, or lie bottom up."""
    rows = frame.reshape(len(frame), -1)
    pitch = rows.shape[1] + gap
    data = np.pad(rows, ((0, 0), (0, gap)), constant_values=7)
    offset = 0
    if upwards:
        data, offset, pitch = data[::-1], (len(rows) - 1) * pitch, -pitch
    return Case(frame, color, (frame.shape[0], frame.shape[1]), [(offset, pitch)], data.tobytes())


def nv12(frame: U8, color: str, gap: int = 0) -> Case:
    """(height * 3 / 2, width) as one buffer with a gap after each row, which Tagger reads in place."""
    height, width = frame.shape[0] * 2 // 3, frame.shape[1]
    buffer = np.pad(frame, ((0, 0), (0, gap)), constant_values=7)
    pitch = width + gap
    return Case(
        buffer[:, :width],
        color,
        (height, width),
        [(0, pitch), (height * pitch, pitch)],
        buffer.tobytes(),
    )


def i420(frame: U8, color: str, gap: int = 0) -> Case:
    """(height * 3 / 2, width) as three planes, of other pitches and in another order."""
    height, width = frame.shape[0] * 2 // 3, frame.shape[1]
    luma, (u, v) = frame[:height], frame[height:].reshape(2, height // 2, width // 2)
    planes, data = {}, b""
    for index, plane, extra in ((2, v, gap), (0, luma, 2 * gap), (1, u, 3 * gap)):
        planes[index] = len(data), plane.shape[1] + extra
        data += np.pad(plane, ((0, 0), (0, extra)), constant_values=7).tobytes()
    return Case(frame, color, (height, width), [planes[i] for i in range(3)], data)


def even(image: U8) -> U8:
    return image[: image.shape[0] // 2 * 2, : image.shape[1] // 2 * 2]


def photo_case(index: int, path: Path) -> Case:
    """A photo in one of the formats, with one of the layouts."""
    image = cv2.imread(str(path))
    gap = (0, 1, 13)[index % 3]
    as_i420 = cv2.cvtColor(even(image), cv2.COLOR_BGR2YUV_I420)
    as_nv12 = as_i420.copy()
    height = len(as_i420) * 2 // 3
    as_nv12[height:] = as_i420[height:].reshape(2, -1).T.reshape(height // 2, -1)
    return (
        packed(image, "bgr", gap),
        packed(np.ascontiguousarray(image[:, :, ::-1]), "rgb", gap, upwards=True),
        packed(np.dstack([image, image[:, :, 0]]), "bgr"),
        packed(cv2.cvtColor(image, cv2.COLOR_BGR2GRAY), "bgr", gap),
        nv12(as_nv12, ("nv12", "nv12-bt709", "nv12-full")[index // 8 % 3], gap),
        i420(as_i420, ("i420", "i420-bt709", "i420-bt709-full")[index // 8 % 3], gap),
        packed(np.dstack([image[:, :, ::-1], image[:, :, 0]]), "rgb", gap),
        packed(image, "bgr", upwards=True),
    )[index % 8]


def synthetic_cases() -> list[Case]:
    """Sizes that photos do not have: single pixels and lines, odd sides, and more than the input's."""
    random = np.random.default_rng(0)
    sizes = [(1, 1), (1, 500), (333, 1), (7, 5), (289, 287), (1081, 1921)]
    cases = [packed(random.integers(0, 256, (*size, 3), np.uint8), "bgr", 3) for size in sizes]
    yuv = random.integers(0, 256, (3 * 23, 38), np.uint8)
    return [
        *cases,
        *(nv12(yuv, f"nv12{s}", 5) for s in ("", "-bt709", "-full", "-bt709-full")),
        i420(yuv, "i420", 5),
    ]


@pytest.fixture(scope="session")
def cases() -> list[Case]:
    data = os.environ.get("PVLR_DATA")
    paths = sorted(Path(data).glob("*/images/**/*.jpg")) if data else []
    photos = paths[:: max(1, len(paths) // PHOTOS)][:PHOTOS]
    clips = sorted(Path(data).glob("video/*.mp4")) if data else []
    frames = [packed(frame, "bgr") for path in clips for frame in camera_frames(path, every=200)]
    return [
        *synthetic_cases(),
        *(photo_case(index, path) for index, path in enumerate(photos)),
        *frames,
    ]


def camera_frames(path: Path, every: int) -> Iterator[U8]:
    capture = cv2.VideoCapture(str(path))
    for index in itertools.count():
        read, frame = capture.read()
        if not read:
            return
        if index % every == 0:
            yield frame


def result_bytes(tagger: Tagger, result: TagResult) -> bytes:
    """What tag_frames writes."""
    index = {name: position for position, name in enumerate(tagger.labels)}
    tags = [
        np.uint64(index[tag.label]).tobytes() + np.float32([tag.score, tag.threshold]).tobytes()
        for tag in result
    ]
    whole = result.tiles[0].result if result.tiles else result
    maps = [whole.attention(label, "grid").tobytes() for label in tagger.labels]
    head = [result.logits.tobytes(), result.scores.tobytes(), np.uint64(len(result)).tobytes()]
    return b"".join([*head, *tags, np.int32(result._region).tobytes(), *maps])


def compare(
    plan: Path,
    runtime: Runtime,
    cases: list[Case],
    tmp_path: Path,
    *bank: Path,
    tiles: Tiles | None = None,
    **options: Any,
) -> None:
    """``options`` of Tagger: precision, num_threads, operating_point and threshold; all or none."""
    lines = []
    for number, case in enumerate(cases):
        path = tmp_path / str(number)
        path.write_bytes(case.data)
        lines.append(case.line(path))
    (tmp_path / "list").write_text("".join(lines))
    arguments: list[object] = [*(bank or ("",))]
    arguments.append("-1x0" if tiles == "auto" else layout_name(tiles) if tiles else "0x0")
    if options:
        arguments += [options["precision"], options["num_threads"]]
        arguments += [int(options["operating_point"] == "precise"), options["threshold"] or 0]
    runtime.run("tag_frames", plan, tmp_path / "list", tmp_path / "out", *arguments)
    got = (tmp_path / "out").read_bytes()
    with Tagger(plan, allow_unsigned=True, tiles=tiles, **options) as tagger:
        for path in bank:
            tagger.set_labels(LabelBank.load(path))
        for number, case in enumerate(cases):
            expected = result_bytes(tagger, tagger.predict(case.frame, color=case.color))
            assert got[: len(expected)] == expected, f"case {number}: {case.color}, {case.size}"
            got = got[len(expected) :]
    assert got == b""


@pytest.mark.parametrize("plan", PLANS, ids=lambda plan: plan.parent.name)
def test_results_are_those_of_the_tagger(
    plan: Path, runtime: Runtime, cases: list[Case], tmp_path: Path
) -> None:
    compare(plan, runtime, cases, tmp_path)


@pytest.mark.parametrize("tiles", [(2, 2), (3, 2), (1, 7), "auto"])
@pytest.mark.parametrize("plan", PLANS[:2], ids=lambda plan: plan.parent.name)
def test_tiles(
    plan: Path, tiles: Tiles, runtime: Runtime, cases: list[Case], tmp_path: Path
) -> None:
    fitting = [case for case in cases if tiles == "auto" or min(case.size) > 14]
    compare(plan, runtime, fitting, tmp_path, tiles=tiles)


def test_measured_thresholds_of_tiles(bundle: Path, runtime: Runtime, tmp_path: Path) -> None:
    labels = len(load_bundle(bundle).labels)
    limits = np.random.default_rng(2).uniform(0.001, 0.1, labels).astype(np.float32).tolist()
    layout = {"f1": limits, "precise": limits}
    edit_manifest(bundle, lambda manifest: manifest.update(format=3, tiles={"2x2": layout}))
    cases = [case for case in synthetic_cases() if min(case.size) > 14]
    for tiles in ((2, 2), (2, 1)):
        compare(bundle, runtime, cases, tmp_path, tiles=tiles)


def test_letterboxed_frames(bundle: Path, runtime: Runtime, tmp_path: Path) -> None:
    """All shipped models stretch; the golden image is square, so that letterbox leaves it as it is."""
    changes = {"resize": "letterbox", "pad": [1.5, 2.5, 3.5], "std": [128.0, 128.0, 128.0]}
    edit_manifest(bundle, lambda manifest: manifest["input"].update(changes))
    compare(bundle, runtime, synthetic_cases(), tmp_path)
    compare(bundle, runtime, synthetic_cases()[-6:], tmp_path, tiles=(2, 3))


@pytest.fixture(scope="module")
def stored_in_8_bits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bundled model with weights of 8 bits."""
    plan = tmp_path_factory.mktemp("weights") / "engine.plan"
    photo = cv2.imread(str(ROOT / "docs/images/chelsea.jpg"))
    images = CalibrationImages(
        [np.ascontiguousarray(photo[:, 4 * i : 4 * i + 200]) for i in range(32)]
    )
    build(
        ROOT / "pvlr_sdk/models/pvlr-lite2-open/engine.plan",
        plan,
        calibration_images=images,
        min_agreement=0,
    )
    assert plan.stat().st_size < 6_700_000
    return plan


@pytest.mark.parametrize("precision", ["fp32", "auto", "int8"])
def test_weights_of_8_bits(
    stored_in_8_bits: Path, runtime: Runtime, tmp_path: Path, precision: str
) -> None:
    edit_manifest(stored_in_8_bits, lambda manifest: manifest.update(precision=precision))
    compare(stored_in_8_bits, runtime, synthetic_cases(), tmp_path)


def test_odd_sizes_are_the_same_in_nv12_and_i420(runtime: Runtime, tmp_path: Path) -> None:
    """Tagger has no odd YUV frames."""
    random = np.random.default_rng(1)
    luma = random.integers(0, 256, 7 * 5, np.uint8)
    chroma = random.integers(0, 256, (2, 4 * 3), np.uint8)
    (tmp_path / "data").write_bytes(luma.tobytes() + chroma.tobytes() + chroma.T.tobytes())
    planar = f"7 1 0 5 7 0 5 35 3 47 3 {tmp_path / 'data'}\n"
    paired = f"6 1 0 5 7 0 5 59 6 0 0 {tmp_path / 'data'}\n"
    (tmp_path / "list").write_text(planar + paired)
    runtime.run("tag_frames", PLANS[0], tmp_path / "list", tmp_path / "out")
    got = (tmp_path / "out").read_bytes()
    assert got[: len(got) // 2] == got[len(got) // 2 :]


@pytest.mark.parametrize(
    ("precision", "num_threads", "operating_point", "threshold"),
    [("fp32", 1, "f1", 1e-5), ("auto", 2, "precise", 0.5)],
)
def test_options(
    precision: str,
    num_threads: int,
    operating_point: str,
    threshold: float,
    closed_plan: Path,
    runtime: Runtime,
    tmp_path: Path,
) -> None:
    compare(
        closed_plan,
        runtime,
        synthetic_cases(),
        tmp_path,
        precision=precision,
        num_threads=num_threads,
        operating_point=operating_point,
        threshold=threshold,
    )


def test_the_thresholds_of_an_operating_point(
    bundle: Path, runtime: Runtime, tmp_path: Path
) -> None:
    opened = load_bundle(bundle)
    lowest = np.full(len(opened.labels), 1e-7, np.float32)  # so that labels are tags
    write_thresholds(opened, lowest, lowest * 10)
    options = {"precision": "auto", "num_threads": 1, "threshold": None}
    for point in ("f1", "precise"):
        options["operating_point"] = point
        compare(bundle, runtime, synthetic_cases()[:1], tmp_path, **options)
