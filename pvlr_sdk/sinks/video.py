"""Annotated video of what a camera sees."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ..stream import Observation


class VideoSink:
    """To be written."""

    def __init__(self, folder: Path, minutes: float) -> None:
        self.name = f"video {folder}"

    def write(self, item: Observation) -> None:
        """To be written."""

    def close(self) -> None:
        """To be written."""
