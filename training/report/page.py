"""Renders the page's data into one HTML file that loads nothing from anywhere."""

from __future__ import annotations

import base64
import hashlib
from importlib import resources
from typing import Any

from jinja2 import Environment

_FILES = resources.files(__package__) / "page"


def render(data: dict[str, Any]) -> str:
    """The whole page as text.

    Names of labels, files and runs may hold anything: the template escapes them, the scripts only ever set text, and
    the page's own policy lets no script run but these.
    """
    style = _text("style.css")
    script = "\n".join(_text(name) for name in ("charts.js", "sections.js"))
    environment = Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True)
    environment.policies["json.dumps_kwargs"] = {"sort_keys": False, "separators": (",", ":"), "allow_nan": False}
    template = environment.from_string(_text("template.html"))
    return template.render(
        **data, data=data, style=style, script=script, style_hash=_hash(style), script_hash=_hash(script)
    )


def _text(name: str) -> str:
    return (_FILES / name).read_text(encoding="utf-8").strip()


def _hash(text: str) -> str:
    """As a content security policy wants it."""
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode("ascii")
