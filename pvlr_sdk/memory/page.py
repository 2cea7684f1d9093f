"""Remembered pictures as one HTML page without scripts."""

from __future__ import annotations

from collections.abc import Iterable

from .._util.escape import html
from ..result.drawing import thumbnail

_PAGE = """<!DOCTYPE html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; img-src data:; style-src 'unsafe-inline'">
<meta name="color-scheme" content="light dark">
<title>{title}</title>
<style>
body {{ margin: 16px; font: 16px/1.4 system-ui, sans-serif; overflow-wrap: anywhere; }}
main {{ display: grid; grid-template-columns: repeat(auto-fill, minmax(min(100%, 280px), 1fr)); gap: 16px; }}
figure {{ margin: 0; }}
</style>
<main>
<h1>{title}</h1>
{figures}
</main>
</html>
"""


def gallery(title: str, pictures: Iterable[tuple[bytes | None, str]]) -> str:
    """A page of pictures, as JPEG, with their captions; None: the picture is gone."""
    figures = (f"<figure>{thumbnail(jpeg, description=text)}<figcaption>{html(text)}</figcaption></figure>"
               for jpeg, text in pictures)  # fmt: skip
    return _PAGE.format(title=html(title), figures="\n".join(figures))
