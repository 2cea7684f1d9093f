"""Tags drawn onto a frame, or next to it in HTML."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from .. import errors
from .._util import escape
from ..frames.bgr import encode_jpeg, load_bgr, shrink
from ..frames.frames import Color, FrameLike

if TYPE_CHECKING:
    from .tags import Tag

_SMALLEST_SIDE = 240
"""Pixels; below this, text would be illegible."""
_LONGEST_SIDE = 2000
"""Pixels; frames are never enlarged beyond this."""
_LINES_PER_HEIGHT = 16
"""Lines of text that fit the frame's height; sets the font size."""
_INK = (255, 255, 255)
_BAR = (90, 200, 90)
_BAR_BACK = (90, 90, 90)
_HEAT_BAR = (9, 142, 249)
_HEAT_OPACITY = 0.5
HEAT_SIZE = 512, 512
"""Of a heat map before it is stretched to the frame: enough for a smooth one, and fast for a large frame."""
_PANEL_OPACITY = 0.6
_THUMBNAIL = 320
"""Pixels: the longest side of a frame in HTML."""
_MOST_BARS = 20
# Translucent greys and the text colour of the page suit a light and a dark theme.
_BAR_HTML = (
    '<span style="text-align:right">{label}</span>'
    '<span style="position:relative;height:.9em;background:rgba(128,128,128,.25)">'
    '<span style="position:absolute;left:0;height:100%;width:{score:.1f}%;background:#2e9e4f"></span>'
    '<span style="position:absolute;left:{threshold:.1f}%;top:-.15em;height:1.2em;border-left:2px solid" '
    'title="threshold {threshold:.0f}%"></span></span>'
    "<span>{score:.0f}%</span>"
)


def draw_tags(
    frame: FrameLike, color: Color, tags: Sequence[Tag], heat: NDArray[np.float32] | None = None
) -> NDArray[np.uint8]:
    """Draw a panel of the tags with a bar for each score; returns a copy, uint8 (H, W, 3) BGR.

    A frame with a side below 240 pixels is enlarged by an integer factor, up to 2000 pixels. Tags that don't fit are
    counted in a last line.

    Args:
        frame, color: as for ``Tagger.predict``.
        tags: in the order of the lines; one below its threshold is marked as such.
        heat: the attention map of the first tag at any resolution, float32 (rows, columns), blended over the frame.
    """
    import cv2

    canvas = load_bgr(frame, color).copy()
    shorter, longer = sorted(canvas.shape[:2])
    factor = min(-(-_SMALLEST_SIDE // shorter), _LONGEST_SIDE // longer)
    if factor > 1:
        canvas = canvas.repeat(factor, axis=0).repeat(factor, axis=1)
    if heat is not None:
        blend(canvas, heat)
    height, width = canvas.shape[:2]
    line = max(15, min(height, width) // _LINES_PER_HEIGHT)
    margin = line // 3
    scale = line / 34
    thickness = max(1, line // 22)

    room = max(1, (height - 2 * margin) // line)
    texts = [_text(tag) for tag in tags]
    scores = [tag.score for tag in tags]
    if len(texts) > room:
        hidden = len(texts) - room + 1
        texts = [*texts[: room - 1], f"... and {hidden} more"]
        scores = scores[: room - 1]
    texts = texts or ["no tags"]

    widest = max(
        cv2.getTextSize(text, cv2.FONT_HERSHEY_SIMPLEX, scale, thickness)[0][0] for text in texts
    )
    panel = canvas[: len(texts) * line + 2 * margin, : widest + 2 * margin]
    panel[:] = (panel * (1 - _PANEL_OPACITY)).astype(np.uint8)
    bar_width = panel.shape[1] - 2 * margin
    for row, text in enumerate(texts):
        top = margin + row * line
        if row < len(scores):
            bar = canvas[
                top + int(line * 0.82) : top + int(line * 0.82) + max(2, line // 10), margin:
            ][:, :bar_width]
            bar[:] = _BAR_BACK
            bar[:, : round(bar_width * scores[row])] = _BAR if row or heat is None else _HEAT_BAR
        origin = (margin, top + int(line * 0.64))
        cv2.putText(
            canvas, text, origin, cv2.FONT_HERSHEY_SIMPLEX, scale, _INK, thickness, cv2.LINE_AA
        )
    return canvas


def _text(tag: Tag) -> str:
    text = f"{_drawable(tag.label)} {100 * tag.score:.0f}%"
    return text if tag.margin >= 0 else f"{text}, threshold {100 * tag.threshold:.0f}%"


def blend(canvas: NDArray[np.uint8], heat: NDArray[np.float32]) -> None:
    """Blend a map over the canvas in place, black where it is 0 and yellow at its maximum.

    The frame turns grey: its own colours could be mistaken for the map.
    """
    import cv2

    height, width = canvas.shape[:2]
    weights = heat / max(heat.max(), np.finfo(np.float32).tiny)
    levels = cv2.resize(
        (255 * weights).astype(np.uint8), (width, height), interpolation=cv2.INTER_LINEAR
    )
    colors = cv2.applyColorMap(levels, cv2.COLORMAP_INFERNO)
    gray = cv2.cvtColor(cv2.cvtColor(canvas, cv2.COLOR_BGR2GRAY), cv2.COLOR_GRAY2BGR)
    cv2.addWeighted(gray, 1 - _HEAT_OPACITY, colors, _HEAT_OPACITY, 0, dst=canvas)


def tags_as_html(tags: Sequence[Tag], frame: FrameLike | None, color: Color) -> str:
    """The tags as bars with a mark at each threshold, next to the frame where it is there and can be read.

    Self-contained: inline styles, and the frame as a JPEG of at most 320 pixels in a data URI.
    """
    bars = [
        _BAR_HTML.format(
            label=escape.html(tag.label), score=100 * tag.score, threshold=100 * tag.threshold
        )
        for tag in tags[:_MOST_BARS]
    ]
    if len(tags) > _MOST_BARS:
        bars.append(f'<span style="grid-column:1/-1">... and {len(tags) - _MOST_BARS} more</span>')
    return (
        '<div style="display:flex;flex-wrap:wrap;gap:1em;align-items:center">'
        + thumbnail(frame, color)
        + '<div style="display:grid;grid-template-columns:auto minmax(4em,12em) auto;gap:.4em .7em;align-items:center">'
        + ("".join(bars) or "no tags")
        + "</div></div>"
    )


def thumbnail(
    frame: FrameLike | None, color: Color = "bgr", description: str = "the tagged frame"
) -> str:
    """An ``<img>`` of the frame; nothing where it is gone, was deleted, or lies on a GPU."""
    if frame is None:
        return ""
    try:
        small = shrink(load_bgr(frame, color), _THUMBNAIL)
    except errors.FrameError:
        return ""
    height, width = small.shape[:2]
    data = base64.b64encode(encode_jpeg(small, 80)).decode()
    return (
        f'<img alt="{escape.html(description)}" width="{width}" height="{height}" '
        f'style="max-width:100%;height:auto" src="data:image/jpeg;base64,{data}">'
    )


def _drawable(text: str) -> str:
    """Printable text. OpenCV's built-in font has only ASCII characters before version 5."""
    import cv2

    text = escape.terminal(text)
    return (
        text
        if int(cv2.__version__.split(".")[0]) >= 5
        else text.encode("ascii", "replace").decode()
    )
