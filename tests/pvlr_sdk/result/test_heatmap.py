"""``TagResult.draw(heatmap=...)``: the attention map of a label over the frame."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from pvlr_sdk import Tagger, TagResult, errors
from pvlr_sdk.frames.bgr import encode_jpeg
from pvlr_sdk.result import Tag
from pvlr_sdk.result.drawing import draw_tags

WHITE = np.full((400, 600, 3), 255, np.uint8)


def _brightness(drawn: np.ndarray) -> np.ndarray:
    return np.asarray(cv2.cvtColor(drawn, cv2.COLOR_BGR2GRAY), int)


def test_the_frame_is_brightest_where_the_weights_are_greatest() -> None:
    heat = np.zeros((4, 6), np.float32)
    heat[3, 5] = 0.25
    drawn = draw_tags(WHITE, "bgr", [], heat)
    light = _brightness(drawn)
    light[:100] = 0  # the panel
    y, x = np.unravel_index(light.argmax(), light.shape)
    assert y > 300
    assert x > 500
    assert light[300:, :300].max() < 130  # weight 0: half of white
    # half of white, half of inferno's last
    assert drawn[-1, -1].tolist() == pytest.approx([210, 255, 254], abs=3)
    assert (WHITE == 255).all()


def test_the_map_is_that_of_the_label(tagger: Tagger, photo: np.ndarray) -> None:
    result = tagger.predict(photo)
    plain = result.draw(photo)
    drawn = {label: result.draw(photo, heatmap=label) for label in tagger.labels}
    corner = np.s_[256:, 256:]  # below the panel
    assert (plain[corner] == photo[corner]).all()
    for label, image in drawn.items():
        heat = result.attention(label)
        gray = np.repeat(_brightness(photo)[..., None], 3, 2)
        colors = cv2.applyColorMap((255 * heat / heat.max()).astype(np.uint8), cv2.COLORMAP_INFERNO)
        difference = np.abs(image.astype(int) - (gray + colors) / 2)[corner]
        assert difference.mean() < 1.5, label
    assert len({image.tobytes() for image in drawn.values()}) == len(drawn)


def _panel(result: TagResult, **options: bool | str) -> tuple[list[str], list[str]]:
    """The texts of the lines, and the colours of their bars."""
    texts: list[str] = []
    put, cv2.putText = cv2.putText, lambda canvas, text, *_: texts.append(text)
    try:
        drawn = result.draw(np.full((512, 512, 3), 255, np.uint8), **options)
    finally:
        cv2.putText = put
    bars = [drawn[10 + 32 * line + 27, 12].tolist() for line in range(len(texts))]
    return texts, ["green" if color[1] > color[2] else "orange" for color in bars]


def test_the_label_comes_first_with_an_orange_bar(tagger: Tagger, photo: np.ndarray) -> None:
    result = tagger.predict(photo, threshold=0.0)
    names = [tag.label for tag in result]
    texts, bars = _panel(result, heatmap=names[2])
    assert [text.rsplit(" ", 1)[0] for text in texts] == [names[2], *names[:2], *names[3:]]
    assert bars == ["orange", *["green"] * (len(names) - 1)]
    assert _panel(result, heatmap=True)[0] == _panel(result)[0]
    assert _panel(result)[1] == ["green"] * len(names)


def test_a_label_that_is_no_tag_is_listed_with_its_threshold(
    tagger: Tagger, photo: np.ndarray
) -> None:
    result = tagger.predict(photo, threshold=1.0)
    assert not result.tags
    score = round(100 * result[tagger.labels[1]].score)
    assert _panel(result, heatmap=tagger.labels[1])[0] == [
        f"{tagger.labels[1]} {score}%, threshold 100%"
    ]
    assert _panel(result, heatmap=True)[0] == ["no tags"]
    assert (result.draw(photo, heatmap=True)[400:] == photo[400:]).all()


@pytest.mark.parametrize("label", ["zebra", "", 3, None])
def test_an_unknown_label(tagger: Tagger, photo: np.ndarray, label: str) -> None:
    with pytest.raises(errors.UnknownLabelError):
        tagger.predict(photo).draw(photo, heatmap=label)


@pytest.mark.parametrize("shape", [(65535, 1, 3), (1, 65535, 3), (1, 1, 3), (3, 4000)])
def test_odd_frames(tagger: Tagger, shape: tuple[int, ...]) -> None:
    frame = np.full(shape, 200, np.uint8)
    drawn = tagger.predict(frame).draw(frame, heatmap=tagger.labels[0])
    assert drawn.shape[0] % shape[0] == 0
    decoded = cv2.imdecode(np.frombuffer(encode_jpeg(drawn, 90), np.uint8), cv2.IMREAD_COLOR)
    assert decoded.shape == tuple(min(side, 65500) for side in drawn.shape)


def test_a_map_without_contrast_is_even() -> None:
    """A grid of one cell, and a map whose weight is all in the padding."""
    for heat in (np.ones((1, 1), np.float32), np.zeros((7, 7), np.float32)):
        below = draw_tags(WHITE, "bgr", [Tag("cat", 0.9, 0.5, 0.4)], heat)[100:]
        assert (below == below[0, 0]).all()


def test_the_frame_is_found_again(tagger: Tagger, photo: np.ndarray, tmp_path: Path) -> None:
    path = tmp_path / "photo.png"
    cv2.imwrite(str(path), photo)
    copy = photo.copy()
    results = (
        tagger.predict(path),
        tagger.predict(copy),
        tagger.predict(photo[..., ::-1], color="rgb"),
    )
    expected = results[0].draw(photo, heatmap=True)
    assert (results[0].draw(heatmap=True) == expected).all()
    assert (results[1].draw(heatmap=True) == expected).all()
    del copy
    path.unlink()
    with pytest.raises(errors.ImageNotFoundError):
        results[0].draw()
    for gone in (*results[1:], tagger.predict(encode_jpeg(photo, 90))):
        with pytest.raises(errors.FrameTypeError, match=r"result\.draw\(frame\)"):
            gone.draw()
