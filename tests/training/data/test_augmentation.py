"""RandAugment matches torchvision's, but draws from the given generator; images with others in them."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from torchvision.transforms import InterpolationMode, autoaugment

from pvlr_training.data.augmentation import OPERATIONS, rand_augment

FILL = (127.0, 12.0, 200.0)
NAMES = list(autoaugment.RandAugment()._augmentation_space(31, (10, 10)))


@pytest.fixture
def picture() -> np.ndarray:
    rng = np.random.default_rng(0)
    smooth = np.add.outer(np.arange(37), np.arange(53))[:, :, None] * [1.0, 2.0, 1.5]
    return np.clip(smooth + rng.normal(0, 20, (37, 53, 3)), 10, 240).astype(np.uint8)


@pytest.mark.slow
@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize("magnitude", [0, 3, 9, 30])
@pytest.mark.parametrize("index", range(len(OPERATIONS)), ids=NAMES)
def test_each_operation_is_torchvisions(
    picture: np.ndarray, index: int, magnitude: int, sign: int
) -> None:
    image = torch.from_numpy(picture).permute(2, 0, 1)
    strengths, signed = autoaugment.RandAugment()._augmentation_space(31, (37, 53))[NAMES[index]]
    strength = float(strengths[magnitude]) if strengths.ndim else 0.0
    strength *= sign if signed else 1
    expected = autoaugment._apply_op(
        image, NAMES[index], strength, InterpolationMode.NEAREST, list(FILL)
    )
    mine = OPERATIONS[index](image, sign * magnitude / 30, list(FILL))
    # torchvision's strengths are float32: truncation and pixels on edges may differ.
    differs = ((mine.int() - expected.int()).abs() > 1).any(0).double().mean().item()
    assert differs <= 0.005
    if magnitude == 30 and NAMES[index] != "Identity":
        assert not torch.equal(mine, image)


def test_operations_are_as_many_as_torchvisions() -> None:
    assert len(OPERATIONS) == len(NAMES)


def test_all_operations_are_drawn_and_nothing_else_decides(picture: np.ndarray) -> None:
    def augment(seed: int) -> np.ndarray:
        return rand_augment(picture, 2, 9, FILL, np.random.default_rng(seed))

    results = [augment(seed) for seed in range(60)]
    assert all(result.shape == picture.shape and result.dtype == np.uint8 for result in results)
    assert len({result.tobytes() for result in results}) > 50
    torch.manual_seed(5)
    state = torch.get_rng_state()
    with ThreadPoolExecutor(2) as pool:
        again = list(pool.map(augment, range(60)))
    assert all(np.array_equal(*pair) for pair in zip(results, again, strict=True))
    assert torch.equal(torch.get_rng_state(), state), (
        "it drew from the generator that dropout draws from"
    )


def test_the_picture_itself_is_left_alone(picture: np.ndarray) -> None:
    before = picture.copy()
    for seed in range(20):
        rand_augment(picture[:, ::-1], 3, 30, FILL, np.random.default_rng(seed))
    np.testing.assert_array_equal(picture, before)
