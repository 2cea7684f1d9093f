"""What the tests of deployments look at: the plan in use, the site file, and the state folder beside it."""

from __future__ import annotations

import json
from pathlib import Path

from pvlr_sdk.bundle.bundle import manifest_path
from pvlr_sdk.cameras.control.plans import Plans
from pvlr_sdk.cameras.control.state import State
from pvlr_sdk.cameras.site import load_config


def sha(plan: Path) -> str:
    """The SHA-256 of the plan in a folder."""
    digest: str = json.loads(manifest_path(plan / "engine.plan").read_text())["files"]["plan"][
        "sha256"
    ]
    return digest


def plans_of(folder: Path) -> Plans:
    """The plans of the site file in a folder."""
    return Plans(State(folder / "state"), lambda: load_config(folder / "site.yaml"))


def named(folder: Path) -> tuple[Path, Path | None]:
    """The plan of the next start, and the previous one."""
    return plans_of(folder).named()


def copies(folder: Path) -> list[Path]:
    """The folders of deployed plans."""
    return sorted((folder / "state/plans").glob("*"))
