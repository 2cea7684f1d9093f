"""The pip command in the message of an error about a missing package."""

from __future__ import annotations


def install_hint(extra: str, options: str = "") -> str:
    """A hint with the pip command that installs an extra from where this package came from.

    That is the checkout that it runs in, the folder, wheel or repository that pip installed it from, or an index.
    """
    return f'Run {" ".join(["pip install", *options.split()])} "{_requirement(extra)}".'


def _requirement(extra: str) -> str:
    import json
    from importlib import metadata
    from pathlib import Path
    from urllib.parse import unquote, urlsplit

    root = Path(__file__).parents[2]
    if not (root / "pyproject.toml").is_file():
        try:
            origin = json.loads(
                metadata.distribution("pvlr-sdk").read_text("direct_url.json") or "{}"
            )
        except (metadata.PackageNotFoundError, ValueError):
            origin = {}
        url = urlsplit(origin.get("url", ""))
        if "vcs_info" in origin:
            return f"pvlr-sdk[{extra}] @ {origin['vcs_info']['vcs']}+{origin['url']}"
        root = Path(unquote(url.path))
        if url.scheme != "file" or not root.exists():
            return f"pvlr-sdk[{extra}]"
    return f"{'.' if root == Path.cwd() else root}[{extra}]"
