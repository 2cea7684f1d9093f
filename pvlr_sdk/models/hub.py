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
            hint = "Run pip install huggingface_hub, or give the path of a folder."
            raise errors.MissingPartError(
                "repository", expected="huggingface_hub", got=f"{error}", hint=hint
            ) from error
        local = os.environ.get("PVLR_DOWNLOAD") != "1"
        try:
            folder = Path(
                snapshot_download(
                    os.fspath(repository), allow_patterns=_FILES, local_files_only=local
                )
            )
        except Exception as error:  # of the Hub, of its cache, of the connection
            got = str(error).partition("\n")[0]
            hint = f"Run hf download {repository}, or set PVLR_DOWNLOAD=1."
            expected = "a folder, or a repository that has been downloaded"
            raise errors.PlanNotFoundError(
                str(repository), expected=expected, got=got, hint=hint
            ) from None
    plan = folder / "engine.plan"
    if not plan.is_file():
        hint = "Write one with pvlr export-hub."
        raise errors.PlanNotFoundError(
            str(folder), expected="engine.plan in it", got="no such file", hint=hint
        )
    return plan
