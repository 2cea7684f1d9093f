"""Groups of similar images."""

from __future__ import annotations

from pathlib import Path

import cv2
import pytest

from pvlr_sdk.workshop.evaluation.similar import similar

SHOWN = Path(__file__).parents[4] / "docs" / "images"


@pytest.fixture
def photos(tmp_path: Path) -> list[Path]:
    """Three photos, each with a crop that is brighter, compressed and smaller, and a file that is no image."""
    paths = []
    for name in ("astronaut", "chelsea", "coffee"):
        photo = cv2.imread(str(SHOWN / f"{name}.jpg"))
        height, width = (side // 50 for side in photo.shape[:2])
        copy = cv2.convertScaleAbs(
            cv2.resize(photo[height:-height, width:-width], (200, 150)), alpha=1.2
        )
        for number, pixels in enumerate((photo, copy)):
            paths.append(tmp_path / f"{number}-{name}.jpg")
            cv2.imwrite(str(paths[-1]), pixels, [cv2.IMWRITE_JPEG_QUALITY, 60])
    (tmp_path / "broken.jpg").write_text("?")
    return [*paths, tmp_path / "broken.jpg"]


def test_copies_are_one_group(photos: list[Path]) -> None:
    groups = similar(photos)
    assert groups[0] == groups[1] != groups[2] == groups[3] != groups[4] == groups[5]
    assert len(set(groups)) == 4
    assert similar([]).tolist() == []


def test_the_images_of_a_burst_are_one_group(tmp_path: Path, photos: list[Path]) -> None:
    """A camera that turns: each frame resembles the next one only."""
    wide = cv2.resize(cv2.imread(str(photos[0])), (800, 400))
    frames = [tmp_path / f"burst-{number}.jpg" for number in range(5)]
    for number, path in enumerate(frames):
        cv2.imwrite(str(path), wide[:, 20 * number : 20 * number + 500])
    groups = similar([*frames, *photos[2:]])
    assert len(set(groups[:5])) == 1
    assert groups[0] not in groups[5:]


def test_the_images_of_a_fixed_camera_are_divided_by_time(tmp_path: Path) -> None:
    paths = [tmp_path / f"{number:03}.jpg" for number in range(60)]
    for path in paths:
        path.write_bytes((SHOWN / "coffee.jpg").read_bytes())
    assert similar(paths).tolist() == [number // 3 for number in range(60)]


def test_whole_folders(tmp_path: Path, photos: list[Path]) -> None:
    paths = [tmp_path / f"{number % 2}" / f"{number}.jpg" for number in range(3)]
    for path, photo in zip(paths, photos[::2], strict=False):
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(photo.read_bytes())
    assert len(set(similar(paths))) == 3
    groups = similar(paths, folders=True)
    assert groups[0] == groups[2] != groups[1]
