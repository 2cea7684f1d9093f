"""Loading, hold-out split, batches and views."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch

from pvlr_sdk.errors import LabelsFileError
from pvlr_training.config import Config, load_config
from pvlr_training.data import augmentation
from pvlr_training.data import images as data
from pvlr_training.data.augmentation import Views
from pvlr_training.data.images import image_batches, load_dataset, split_holdout


@pytest.fixture
def config(write_config: Any) -> Config:
    return load_config(write_config())


def test_photo_that_does_not_decode_is_left_out_and_named(
    config: Config, photos: Path, tmp_path: Path
) -> None:
    labels = tmp_path / "labels.csv"
    labels.write_text(
        "file,split,red,green,blue\n0.png,train,1,-1,\nbroken.jpg,train,1,1,1\n1.png,train,-1,0,1\n"
    )
    for name in ("0.png", "1.png"):
        (tmp_path / name).write_bytes((photos / name).read_bytes())
    (tmp_path / "broken.jpg").write_text("no picture")
    source = config.data.sources[0].model_copy(update={"images": tmp_path, "labels": labels})
    loaded = load_dataset(config.data.model_copy(update={"sources": (source,)}))
    assert list(loaded.failed) == [str(tmp_path / "broken.jpg")]
    assert loaded.names == ["0.png", "1.png"]
    assert loaded.targets.tolist() == [[1, -1, 0], [-1, 0, 1]]


def test_photos_are_kept_as_small_as_the_smallest_crop_allows(
    config: Config, tmp_path: Path
) -> None:
    """A crop of ``min_crop`` of the area with an aspect ratio 4/3 off still has the input's resolution."""
    pictures = {
        f"{number}.png": size
        for number, size in enumerate([(900, 300), (500, 1100), (70, 640), (64, 64)])
    }
    for name, (height, width) in pictures.items():
        cv2.imwrite(
            str(tmp_path / name),
            np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8),
        )
    rows = [f"{name},train,1,-1,-1" for name in pictures]
    (tmp_path / "labels.csv").write_text("\n".join(["file,split,red,green,blue", *rows]) + "\n")
    source = config.data.sources[0].model_copy(
        update={"images": tmp_path, "labels": tmp_path / "labels.csv"}
    )
    changes = {"sources": (source,), "min_crop": 0.5, "holdout": 0.2}
    photos = load_dataset(config.data.model_copy(update=changes))
    held = set(split_holdout(photos)[1].names)
    assert held == {"1.png", "3.png"}
    smallest = (0.5 * 3 / 4) ** 0.5
    for name, image in zip(photos.names, photos.images, strict=True):
        height, width = image.shape[:2]
        if name in held:  # thresholds are chosen on deployed pixels
            assert (height, width) == pictures[name]
            continue
        assert width / height == pytest.approx(pictures[name][1] / pictures[name][0], rel=0.02)
        needed = 64 / smallest
        assert min(height, width) >= min(*pictures[name], needed) - 1
        assert min(height, width) <= needed + 1


def test_photos_that_do_not_fit_into_memory_are_decoded_when_needed(
    config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = load_dataset(config.data)
    lazy = load_dataset(config.data.model_copy(update={"cache": "none"}))
    # half of it holds about forty images
    monkeypatch.setattr(data, "available_memory", lambda: 2 * 40 * 80 * 80 * 3)
    some = load_dataset(config.data)
    counts = [
        sum(isinstance(image, np.ndarray) for image in photos.images)
        for photos in (kept, some, lazy)
    ]
    assert counts == [96, 64, 0]  # memory is checked every 64 images
    for index in range(96):
        np.testing.assert_array_equal(lazy.image(index), kept.image(index))
        np.testing.assert_array_equal(some.image(index), kept.image(index))


def test_a_photo_that_decodes_no_more_has_no_part(
    config: Config, photos: Path, tmp_path: Path
) -> None:
    for name in ("0.png", "1.png"):
        (tmp_path / name).write_bytes((photos / name).read_bytes())
    (tmp_path / "labels.csv").write_text(
        "file,split,red,green,blue\n0.png,train,1,-1,1\n1.png,train,-1,1,1\n"
    )
    source = config.data.sources[0].model_copy(
        update={"images": tmp_path, "labels": tmp_path / "labels.csv"}
    )
    lazy = load_dataset(config.data.model_copy(update={"sources": (source,), "cache": "none"}))
    (tmp_path / "1.png").write_bytes(b"")
    views = Views(config.data, 0)
    for _ in range(2):
        ((images, targets),) = image_batches(lazy, [1, 0], 2, lambda image, _: views.plain(image))
        assert images.shape == (2, 3, 64, 64)
        assert targets.tolist() == [[0, 0, 0], [1, -1, 1]]  # unknown: no loss, no metric
    assert list(lazy.failed) == [str(tmp_path / "1.png")]  # once
    assert lazy.subset([0]).failed is lazy.failed


def test_photos_without_one_label_are_an_error(
    config: Config, photos: Path, tmp_path: Path
) -> None:
    labels = tmp_path / "labels.csv"
    labels.write_text("file,split,red,green,blue\n0.png,train,-1,-1,-1\n")
    source = config.data.sources[0].model_copy(update={"labels": labels})
    with pytest.raises(LabelsFileError, match="none labelled"):
        load_dataset(config.data.model_copy(update={"sources": (source,)}))


def test_holdout_is_disjoint_and_does_not_depend_on_the_order(config: Config) -> None:
    photos = load_dataset(config.data)
    training, held = split_holdout(photos)
    assert len(training) + len(held) == len(photos)
    assert not set(training.names) & set(held.names)
    assert 5 < len(held) < 40
    backwards = photos.subset(list(reversed(range(len(photos)))))
    assert set(split_holdout(backwards)[1].names) == set(held.names)


def test_a_share_of_the_photos_leaves_the_held_out_ones_alone(config: Config) -> None:
    def names(share: float) -> tuple[set[str], set[str]]:
        data = config.data.model_copy(update={"share": share, "holdout": 0.2})
        training, held = split_holdout(load_dataset(data))
        return set(training.names), set(held.names)

    all_photos, all_held = names(1.0)
    half, held = names(0.5)
    tenth, _ = names(0.1)
    assert held == all_held
    assert tenth < half < all_photos
    assert 0.3 < len(half) / len(all_photos) < 0.7


def test_augmented_views_follow_from_seed_epoch_and_index(config: Config) -> None:
    image = load_dataset(config.data).images[0]
    views, again = Views(config.data, seed=1), Views(config.data, seed=1)
    first = views.augmented(image, 3, 7)
    assert first.shape == (3, 64, 64)
    np.testing.assert_array_equal(first, again.augmented(image, 3, 7))
    for other in (
        views.augmented(image, 4, 7),
        views.augmented(image, 3, 8),
        Views(config.data, 2).augmented(image, 3, 7),
    ):
        assert not np.array_equal(first, other)


def test_plain_view_is_the_pixel_contract(config: Config) -> None:
    image = load_dataset(config.data).images[0]
    rgb = torch.from_numpy(image[:, :, ::-1].copy()).permute(2, 0, 1)[None].double()
    resized = torch.nn.functional.interpolate(
        rgb, (64, 64), mode="bilinear", antialias=True, align_corners=False
    )
    expected = ((resized[0] - 127) / 64).numpy()
    np.testing.assert_allclose(Views(config.data, 0).plain(image), expected, atol=1e-4)


def test_batches_keep_order_and_targets(config: Config) -> None:
    photos = load_dataset(config.data)
    order = [5, 3, 9, 0, 7, 1, 2]
    views = Views(config.data, 0)
    batches = list(image_batches(photos, order, 3, lambda image, _: views.plain(image)))
    assert [len(images) for images, _ in batches] == [3, 3, 1]
    images = torch.cat([images for images, _ in batches])
    assert torch.equal(torch.cat([targets for _, targets in batches]), photos.targets[order])
    for row, index in enumerate(order):
        np.testing.assert_array_equal(images[row].numpy(), views.plain(photos.images[index]))


@pytest.mark.slow
def test_a_photo_of_100_megapixels_is_reduced_or_decoded_when_needed(
    config: Config, tmp_path: Path
) -> None:
    cv2.imwrite(str(tmp_path / "0.jpg"), np.full((10_000, 10_000), 99, np.uint8))
    (tmp_path / "1.jpg").symlink_to(tmp_path / "0.jpg")
    (tmp_path / "labels.csv").write_text(
        "file,split,red,green,blue\n0.jpg,train,1,-1,-1\n1.jpg,val,1,-1,-1\n"
    )
    source = config.data.sources[0].model_copy(
        update={"images": tmp_path, "labels": tmp_path / "labels.csv"}
    )
    loaded = load_dataset(config.data.model_copy(update={"sources": (source,), "holdout": "val"}))
    assert loaded.held == [False, True]
    assert loaded.images[0].nbytes < 100_000
    assert loaded.images[1] == tmp_path / "1.jpg"


def test_a_split_is_held_out(config: Config, photos: Path, tmp_path: Path) -> None:
    split = lambda i: ["train", "val", "other"][i % 3]
    rows = "".join(f"{i}.png,{split(i)},1,-1,-1\n" for i in range(9))
    (tmp_path / "labels.csv").write_text("file,split,red,green,blue\n" + rows)
    source = config.data.sources[0].model_copy(update={"labels": tmp_path / "labels.csv"})
    data = config.data.model_copy(update={"sources": (source,), "holdout": "val"})
    for splits, trained in ((("train",), ["0", "3", "6"]), ((), ["0", "2", "3", "5", "6", "8"])):
        data = data.model_copy(update={"sources": (source.model_copy(update={"splits": splits}),)})
        training, held = split_holdout(load_dataset(data))
        assert training.names == [f"{name}.png" for name in trained]
        assert held.names == ["1.png", "4.png", "7.png"]


def test_blank_frames_are_trained_on_without_any_label(write_config: Any) -> None:
    config = load_config(write_config(), ["data.blank=20"]).data
    training, holdout = split_holdout(load_dataset(config))
    plain, plain_holdout = split_holdout(load_dataset(config.model_copy(update={"blank": 0})))
    assert (len(training), len(holdout)) == (len(plain) + 20, len(plain_holdout))
    assert (training.targets[-20:] == -1).all()
    frames = np.stack([training.image(index) for index in range(len(plain), len(training))])
    assert frames.shape == (20, config.input.height, config.input.width, 3)
    brightness = frames.mean((1, 2, 3))
    assert brightness.min() < 60
    assert brightness.max() > 190
    assert len({frame.tobytes() for frame in frames}) == 20


def test_a_share_of_the_views_is_infrared_and_the_others_stay_as_they_were(config: Config) -> None:
    photo = np.random.default_rng(0).integers(0, 256, (80, 80, 3), np.uint8)
    data = config.data.model_copy(update={"jitter": 0.0})
    plain = [Views(data, 0).augmented(photo, 0, index) for index in range(100)]
    for share, low, high in ((0.0, 0, 0), (0.3, 15, 45), (1.0, 100, 100)):
        views = [
            Views(data.model_copy(update={"infrared": share}), 0).augmented(photo, 0, i)
            for i in range(100)
        ]
        grey = [bool(np.ptp(view, axis=0).max() < 1e-6) for view in views]
        assert low <= sum(grey) <= high
        assert all(
            np.array_equal(a, b)
            for a, b, is_grey in zip(views, plain, grey, strict=True)
            if not is_grey
        )


def test_without_infrared_no_number_is_drawn_for_it(
    config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So that runs of earlier versions keep their views: with a draw, the brightness that is drawn next is another."""
    monkeypatch.setattr(augmentation, "infrared", lambda view, rng: view)
    photo = np.random.default_rng(0).integers(0, 256, (80, 80, 3), np.uint8)
    plain, drawn = (
        Views(config.data.model_copy(update={"infrared": share}), 0).augmented(photo, 0, 0)
        for share in (0.0, 1.0)
    )
    assert not np.array_equal(plain, drawn)
