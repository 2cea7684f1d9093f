"""The corruptions that cameras make: valid images of any shape, stronger with the strength."""

from __future__ import annotations

import numpy as np
import pytest

from pvlr_training.data.corruptions import CORRUPTIONS, corrupted, infrared

PHOTO = (
    np.random.default_rng(0)
    .integers(0, 256, (12, 16, 3))
    .repeat(6, 0)
    .repeat(6, 1)
    .astype(np.uint8)
)


@pytest.mark.parametrize("name", CORRUPTIONS)
@pytest.mark.parametrize("shape", [(1, 1), (3, 500), (37, 2), (72, 96)])
def test_any_shape_and_strides_and_strength(name: str, shape: tuple[int, int]) -> None:
    image = np.random.default_rng(1).integers(0, 256, (*shape, 3), np.uint8)
    for strength in (0.01, 0.5, 1.0):
        made = CORRUPTIONS[name](image[:, ::-1], strength, np.random.default_rng(2))
        assert (made.shape, made.dtype) == (image.shape, np.uint8)


@pytest.mark.parametrize("name", CORRUPTIONS)
def test_a_greater_strength_changes_more(name: str) -> None:
    before = PHOTO.copy()
    changes = [
        np.mean(
            [
                np.abs(
                    CORRUPTIONS[name](PHOTO, strength, np.random.default_rng(s)).astype(int) - PHOTO
                ).mean()
                for s in range(8)
            ]
        )
        for strength in (0.1, 0.4, 1.0)
    ]
    assert 0 < changes[0] <= changes[1] <= 1.1 * changes[2]
    assert (before == PHOTO).all()


def test_a_share_of_the_images_is_corrupted_and_a_seed_repeats_it() -> None:
    changed = [
        (corrupted(PHOTO, 0.3, np.random.default_rng(seed)) != PHOTO).any() for seed in range(300)
    ]
    assert 0.2 < np.mean(changed) < 0.4
    one, two = (corrupted(PHOTO, 1.0, np.random.default_rng(5)) for _ in range(2))
    assert (one == two).all()
    assert (corrupted(PHOTO, 0.0, np.random.default_rng(5)) == PHOTO).all()


@pytest.mark.parametrize("shape", [(1, 1), (3, 500), (37, 2), (72, 96)])
def test_an_infrared_picture_is_grey_and_darker_at_its_edges(shape: tuple[int, int]) -> None:
    image = np.full((*shape, 3), (40, 120, 200), np.uint8)
    made = [infrared(image[:, ::-1], np.random.default_rng(seed)) for seed in range(40)]
    for view in made:
        assert (view.shape, view.dtype) == (image.shape, np.uint8)
        assert (view == view[..., :1]).all()
    assert len({view.tobytes() for view in made}) > 20
    if min(shape) > 30:
        mean = np.mean(made, 0)
        middle = mean[shape[0] // 3 : 2 * shape[0] // 3, shape[1] // 3 : 2 * shape[1] // 3].mean()
        assert middle > 1.1 * mean[0].mean()
