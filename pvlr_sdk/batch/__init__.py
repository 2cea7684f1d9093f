"""Tags archives: a callable class on Arrow tables for any engine, and jobs that continue where they were stopped."""

from __future__ import annotations

from .. import errors

try:
    import fsspec  # noqa: F401
    import pyarrow  # noqa: F401
except ImportError as error:
    raise errors.missing_package("pvlr_sdk.batch", "pyarrow and fsspec", error, "batch") from error

from .job import Job, Summary
from .tag_batch import TagBatch

__all__ = ["Job", "Summary", "TagBatch"]
