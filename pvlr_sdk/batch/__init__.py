"""Tags archives: a callable class on Arrow tables for any engine, and jobs that continue where they were stopped."""

from __future__ import annotations

from .. import errors

with errors.needed("pvlr_sdk.batch", "pyarrow and fsspec", "batch"):
    import fsspec  # noqa: F401
    import pyarrow  # noqa: F401

from .job import Job, Summary
from .tag_batch import TagBatch

__all__ = ["Job", "Summary", "TagBatch"]
