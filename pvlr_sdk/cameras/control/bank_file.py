"""The file of the label bank in use, which a site may replace."""

from __future__ import annotations

from pathlib import Path

from ... import errors
from ..._util.files import own_file, state_folder
from ...bundle.label_bank import LabelBank
from ...trust import Trust


def check_bank(path: Path, bank: LabelBank, trust: Trust | None) -> None:
    """Check that the file of the label bank in use can be replaced.

    Raises:
        DeployError: it has other contents: labels would be lost.
        OptionError: the next start would refuse it, since it has no signature and is not in the state folder.
    """
    if trust and not own_file(path):
        raise errors.OptionError(
            "bank",
            f"a file in {state_folder()} that only this user can write",
            str(path),
            "With trusted keys, other label banks must be signed, and the site cannot change them.",
        )
    if path.is_file() and LabelBank.load(path, trust=False).sha256 != bank.sha256:
        raise errors.DeployError(
            str(path),
            "the label bank in use",
            "another one",
            "Another process has changed the file. Restart to use it.",
        )
