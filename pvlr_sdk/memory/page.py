"""Remembered pictures as one HTML page without scripts."""

from __future__ import annotations

from collections.abc import Iterable

from .._util.escape import html
from ..labels.page import document
from ..result.drawing import thumbnail


def gallery(title: str, pictures: Iterable[tuple[bytes | None, str]]) -> str:
    """A page of pictures, as JPEG, with their captions; None: the picture is gone."""
    figures = (f"<figure>{thumbnail(jpeg, description=text)}<figcaption>{html(text)}</figcaption></figure>"
               for jpeg, text in pictures)  # fmt: skip
    return document(title, '<main class="photos">\n{}\n</main>'.format("\n".join(figures)))
