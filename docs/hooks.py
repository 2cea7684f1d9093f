"""Hooks of mkdocs.yml: the reference of commands, and links that only work in the repository."""

from __future__ import annotations

import html
import posixpath
import re
import subprocess
import sys
from typing import Any

COMMANDS = "<!-- commands -->"


def on_page_markdown(markdown: str, *, page: Any, files: Any, **_: Any) -> str:
    """Insert the commands of the typer application, and turn links to files outside of docs/ into plain text."""
    if COMMANDS in markdown:
        markdown = markdown.replace(COMMANDS, _commands())

    def local(link: re.Match[str]) -> str:
        text, target = link.groups()
        path = posixpath.normpath(
            posixpath.join("docs", posixpath.dirname(page.file.src_uri), target.split("#")[0])
        )
        if path.startswith("docs/"):
            return link.group()
        return f"`{path}`" if path.endswith(text.strip("`")) else f"{text} (`{path}`)"

    return re.sub(r"(?<!!)\[([^]]+)\]\((\.\./[^)\s]*)\)", local, markdown)


def on_page_content(content: str, **_: Any) -> str:
    """Docstrings mark names as :class:`Name`: show the name alone."""
    return re.sub(r":(?:attr|class|exc|func|meth|mod):(?=<code>)", "", content)


def _commands() -> str:
    command = [sys.executable, "-m", "typer", "pvlr_sdk.cli", "utils", "docs", "--name", "pvlr"]
    text = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
    # Without the title, which the page has, and the list of commands, which the table of contents repeats in full.
    text = re.sub(r"\*\*Commands\*\*:\n\n(\* .*\n)+", "", text.partition("\n")[2])
    text = re.sub(r"<list\[(\w+)\]>", r"<\1>", text)
    # Examples are lines of their own in a terminal; on a page they are a block of code.
    return re.sub(r"<span[^>]*>(Examples?)</span>\n((?:.+\n)+)", _example, text)


def _example(found: re.Match[str]) -> str:
    return f"**{found[1]}**:\n\n```bash\n{html.unescape(found[2])}```\n"
