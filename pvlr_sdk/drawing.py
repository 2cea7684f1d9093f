"""Tags drawn onto a frame."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from .frames import FrameLike, load_bgr

if TYPE_CHECKING:
    from .result import Tag

_SMALLEST_SIDE = 240
"""Pixels; below this, letters would be a few pixels high."""
_LONGEST_SIDE = 2000
"""Pixels; no frame is enlarged beyond it."""
_LINES_PER_HEIGHT = 16
"""Lines of text that would fill the frame from top to bottom: sets the size of the letters."""
_INK, _BAR, _BAR_BACK = (255, 255, 255), (90, 200, 90), (90, 90, 90)
_PANEL_OPACITY = 0.6


def draw_tags(frame: FrameLike, color: str, tags: Sequence[Tag]) -> NDArray[np.uint8]:
    """A copy of the frame, uint8 (H, W, 3) BGR, with a panel of the tags, best first, and a bar for each score.

    A frame with a side below 240 pixels is enlarged by a whole factor, up to 2000 pixels. Tags that don't
    fit are counted in a last line.
    """
    import cv2

    canvas = load_bgr(frame, color).copy()
    shorter, longer = sorted(canvas.shape[:2])
    factor = min(-(-_SMALLEST_SIDE // shorter), _LONGEST_SIDE // longer)
    if factor > 1:
        canvas = canvas.repeat(factor, axis=0).repeat(factor, axis=1)
    height, width = canvas.shape[:2]
    line = max(15, min(height, width) // _LINES_PER_HEIGHT)
    margin, scale, thickness = line // 3, line / 34, max(1, line // 22)

    room = max(1, (height - 2 * margin) // line)
    texts = [f"{_printable(tag.label)} {100 * tag.score:.0f}%" for tag in tags]
    scores = [tag.score for tag in tags]
    if len(texts) > room:
        hidden = len(texts) - room + 1
        texts, scores = [*texts[: room - 1], f"... and {hidden} more"], scores[: room - 1]
    texts = texts or ["no tags"]

    widest = max(cv2.getTextSize(text, cv2.FONT_HERSHEY_SIMPLEX, scale, thickness)[0][0] for text in texts)
    panel = canvas[: len(texts) * line + 2 * margin, : widest + 2 * margin]
    panel[:] = (panel * (1 - _PANEL_OPACITY)).astype(np.uint8)
    bar_width = panel.shape[1] - 2 * margin
    for row, text in enumerate(texts):
        top = margin + row * line
        if row < len(scores):
            bar = canvas[top + int(line * 0.82) : top + int(line * 0.82) + max(2, line // 10), margin:][:, :bar_width]
            bar[:] = _BAR_BACK
            bar[:, : round(bar_width * scores[row])] = _BAR
        origin = (margin, top + int(line * 0.64))
        cv2.putText(canvas, text, origin, cv2.FONT_HERSHEY_SIMPLEX, scale, _INK, thickness, cv2.LINE_AA)
    return canvas


def _printable(text: str) -> str:
    """OpenCV's built-in letters are ASCII only before version 5."""
    import cv2

    return text if int(cv2.__version__.split(".")[0]) >= 5 else text.encode("ascii", "replace").decode()
