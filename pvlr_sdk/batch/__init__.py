"""Tags archives: a callable class on Arrow tables for any engine, and jobs that continue where they were stopped."""

from __future__ import annotations

from .. import errors

try:
    import fsspec  # noqa: F401
    import pyarrow  # noqa: F401
except ImportError as error:
    raise errors.MissingPartError(
        "pvlr_sdk.batch", expected="pyarrow and fsspec", got=str(error), hint=errors.install_hint("batch")
    ) from error

from .job import Job, Summary
from .tag_batch import TagBatch

__all__ = ["Job", "Summary", "TagBatch"]
