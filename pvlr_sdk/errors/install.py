"""The pip command in the message of an error about a missing package."""

from __future__ import annotations


def install_hint(extra: str, options: str = "") -> str:
    """A hint with the pip command that installs an extra from where this package came from.

    That is the checkout that it runs in, or the folder, wheel or repository that pip installed it from. Where none of
    them is known, it is a wheel: no index has the project yet, and anyone could register its name there.
    """
    command = " ".join(["pip install", *options.split()])
    requirement = _requirement(extra)
    if requirement is None:
        return f'Run {command} "WHEEL[{extra}]" with the path of your wheel of pvlr-sdk.'
    return f'Run {command} "{requirement}".'


def _requirement(extra: str) -> str | None:
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
            return None
    return f"{'.' if root == Path.cwd() else root}[{extra}]"
