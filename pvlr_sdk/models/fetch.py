"""Downloads released models. Nothing is downloaded unless :func:`fetch` is called or ``PVLR_DOWNLOAD=1`` is set."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable
from pathlib import Path

from .. import errors
from .._util.deadline import within
from .._util.files import system_errors, write_files
from ..bundle.manifest import FileSpec
from ..trust import resolve
from ..trust.verify import TrustLike, verify_contents
from .catalogue import cache_folder, locate, models_url, named, paths_in, suggestion

_TIMEOUT = 30.0
"""Seconds for the connection and the head of a response, and the longest without a byte."""
_SLOWEST = 10_000
"""Bytes per second that a download needs on average, at any moment after the first _TIMEOUT seconds."""


def fetch(
    name: str, progress: Callable[[int], None] | None = None, trust: TrustLike = None
) -> Path:
    """Download a model into the cache, unless it is installed, and return the path of its plan.

    The files come from ``PVLR_MODELS_URL``, or from the address in the catalogue. They are verified before any is
    written, so that a failed download changes nothing.

    Args:
        name: a model of the catalogue.
        progress: called with the number of bytes received since its last call.
        trust: as for :func:`pvlr_sdk.bundle.bundle.open_bundle`. The signature of an installed model is not verified.

    Raises:
        SignatureError: it is not signed as ``trust`` demands.
        PlanNotFoundError: the catalogue has no model of this name.
        OptionError: the cache is turned off, or there is no address to download from.
        DownloadError: the server cannot be reached, is too slow, or does not have the file.
        FileSizeError, FileHashError: its bytes differ from the catalogue.
        OutputError: the cache cannot be written.
    """
    model = named(name)
    if model is None:
        raise errors.PlanNotFoundError(
            name,
            "the name of a model",
            "an unknown name",
            f"{suggestion(name)}List the models with pvlr models.",
        )
    if located := locate(model):
        return located[1]
    cache = cache_folder()
    url = models_url()
    if cache is None:
        raise errors.OptionError(
            "PVLR_CACHE_DIR", "a folder", "an empty value, which turns the cache off", "Unset it."
        )
    if url is None or not url.startswith(("https://", "http://")) or "@" in url:
        expected = "an address that begins with https:// or http://, without a password"
        got = "none" if url is None else "one with an @" if "@" in url else url
        hint = f"Set it to the address below which {name}.plan lies."
        if url is None:
            hint = f"Set it to the address below which {name}.plan is stored; this version has no default address."
        raise errors.OptionError("PVLR_MODELS_URL", expected, got, hint)
    paths = paths_in(model, cache / name)
    data = [
        _download(f"{url.rstrip('/')}/{name}{end}", file, progress or (lambda _: None))
        for end, file in model.files.items()
    ]
    contents = dict(zip(paths, data, strict=True))
    if required := resolve(trust):
        verify_contents(contents, required)
    with system_errors(
        errors.OutputError, str(cache), expected="a writable folder", hint="Set PVLR_CACHE_DIR."
    ):
        # private: it also holds compiled networks
        cache.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    write_files(contents)
    return cache / name / "engine.plan"


def _download(url: str, file: FileSpec, progress: Callable[[int], None]) -> bytes:
    from http.client import HTTPException
    from urllib.request import Request, urlopen

    data = bytearray()
    began = time.monotonic()
    try:
        # Not closed: that would wait for a thread that still reads.
        response = within(
            _TIMEOUT,
            lambda: urlopen(Request(url, headers={"User-Agent": "pvlr-sdk"}), timeout=_TIMEOUT),
        )
        while len(data) <= file.bytes:
            left = began + _TIMEOUT + len(data) / _SLOWEST - time.monotonic()
            if not (chunk := within(left, lambda: response.read1(1 << 16))):  # what has arrived
                break
            data += chunk
            progress(len(chunk))
    except (OSError, HTTPException, ValueError) as error:
        code = getattr(error, "code", "")
        reason = getattr(error, "reason", None) or str(error) or type(error).__name__
        raise errors.DownloadError(
            url,
            f"a file of {file.bytes} bytes",
            f"HTTP {code} {reason}" if code else str(reason),
            "Check the connection and PVLR_MODELS_URL, then try again; nothing was changed.",
        ) from None
    again = "Try again, or check PVLR_MODELS_URL; nothing was changed."
    if len(data) != file.bytes:
        raise errors.FileSizeError(
            url,
            f"{file.bytes} bytes",
            f"{len(data)} bytes" if len(data) < file.bytes else "more",
            again,
        )
    if (digest := hashlib.sha256(data).hexdigest()) != file.sha256:
        raise errors.FileHashError(
            url, f"SHA-256 {file.sha256[:16]}...", f"{digest[:16]}...", again
        )
    return bytes(data)
