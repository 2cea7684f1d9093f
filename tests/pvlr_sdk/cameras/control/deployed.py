"""What the tests of deployments look at: the plan in use, and the site file."""

from __future__ import annotations

import json
from pathlib import Path

from pvlr_sdk.bundle.bundle import manifest_path
from pvlr_sdk.cameras.control.site_file import SiteFile


def sha(plan: Path) -> str:
    """The SHA-256 of the plan in a folder."""
    digest: str = json.loads(manifest_path(plan / "engine.plan").read_text())["files"]["plan"]["sha256"]
    return digest


def keys(folder: Path) -> tuple[str, str | None]:
    """The plan and the previous plan in the site file of a folder."""
    return SiteFile(folder / "site.yaml").texts()
