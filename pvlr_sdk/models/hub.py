"""Plans of the Hugging Face Hub."""

from __future__ import annotations

import os
from pathlib import Path

from .. import errors

_FILES = ["engine.*"]


def find_pretrained(repository: str | os.PathLike[str]) -> Path:
    """The plan in a folder, or in the Hub's cache on this machine; see :meth:`pvlr_sdk.Tagger.from_pretrained`.

    Raises:
        PlanNotFoundError: there is none. With ``PVLR_DOWNLOAD=1`` it would have been downloaded.
        MissingPartError: the name of a repository, without the package huggingface_hub.
    """
    folder = Path(repository)
    if not folder.is_dir():
        try:
            from huggingface_hub import snapshot_download
        except ImportError as error:
            raise errors.MissingPartError(
                "repository",
                "huggingface_hub",
                f"{error}",
                "Run pip install huggingface_hub, or give the path of a folder.",
            ) from error
        local = os.environ.get("PVLR_DOWNLOAD") != "1"
        try:
            folder = Path(
                snapshot_download(
                    os.fspath(repository), allow_patterns=_FILES, local_files_only=local
                )
            )
        except Exception as error:  # of the Hub, of its cache, of the connection
            raise errors.PlanNotFoundError(
                str(repository),
                "a folder, or a repository that has been downloaded",
                str(error).partition("\n")[0],
                f"Run hf download {repository}, or set PVLR_DOWNLOAD=1.",
            ) from None
    plan = folder / "engine.plan"
    if not plan.is_file():
        raise errors.PlanNotFoundError(
            str(folder), "engine.plan in it", "no such file", "Write one with pvlr export-hub."
        )
    return plan
