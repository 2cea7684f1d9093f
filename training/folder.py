"""What the folder of a run contains, without the import of PyTorch, which takes seconds."""

from __future__ import annotations

from pathlib import Path

from pvlr_sdk.errors import CheckpointError

STATE = "state.safetensors"
"""The state of an unfinished run."""
BEST = "best.safetensors"
"""The averaged weights of the epoch with the highest mAP so far, of an unfinished run with ``train.best``."""
PREVALENCE = "prevalence.json"
"""How frequent labels are where the plan of the run is used: {label: share of images}."""


def has_state(folder: Path) -> bool:
    """Whether the folder contains an unfinished run."""
    return (folder / STATE).exists()


def check_folder(folder: Path, resume: bool) -> None:
    """Raises CheckpointError if a run is in the folder and is not to be resumed."""
    unfinished = has_state(folder)
    if not resume and (unfinished or (folder / "model.safetensors").exists()):
        raise CheckpointError(
            str(folder),
            "a new folder",
            "an unfinished run" if unfinished else "a finished run",
            "Add --resume, or delete the folder."
            if unfinished
            else "Choose another one with --out, or delete it.",
        )
