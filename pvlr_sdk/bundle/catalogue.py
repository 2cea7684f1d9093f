"""Models by name: the catalogue, where a model is installed, and its download.

``pvlr_sdk/models/catalogue.json`` lists every released model with the size and SHA-256 of its files; ``python
models/update.py`` writes it. Nothing is downloaded unless :func:`fetch` is called or ``PVLR_DOWNLOAD=1`` is set.
"""

from __future__ import annotations

import difflib
import functools
import hashlib
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from .. import errors
from ..files import write_files
from .manifest import FileSpec
from .trust import TrustLike, resolve, verify_contents

PACKAGE = Path(__file__).parents[1]
_KNOWLEDGE = ".knowledge.safetensors"
"""The end of the file that open models have for labels from words. It is no part of the bundle, and not signed."""
_TIMEOUT = 30.0
"""Seconds without a byte after which a download is given up."""
_SLOWEST = 10_000
"""Bytes per second that a download needs on average, after the first _TIMEOUT seconds."""


class Accuracy(BaseModel):
    """The mAP in percent on a number of images of a data set."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    data: str
    images: int
    mAP: float  # noqa: N815


class Model(BaseModel):
    """A released model. ``files`` maps the ends of the file names, such as ``.plan``, to sizes and hashes."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    labels: int
    label_set: str
    input: tuple[int, int]
    accuracy: tuple[Accuracy, ...]
    ms: float | None = None
    trained_on: str
    licence: str
    files: dict[str, FileSpec]

    @property
    def bytes(self) -> int:
        """The size of all files."""
        return sum(file.bytes for file in self.files.values())


class Catalogue(BaseModel):
    """The released models, and the address below which their files lie (None: not published)."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    url: str | None
    models: tuple[Model, ...]


@functools.cache
def catalogue() -> Catalogue:
    """The catalogue of this version."""
    return Catalogue.model_validate_json((PACKAGE / "models" / "catalogue.json").read_bytes())


def is_model(name: object) -> bool:
    """Whether the catalogue has a model of this name."""
    return _named(str(name)) is not None


def find_plan(plan: str | os.PathLike[str]) -> Path:
    """Find a plan by its path, its folder or the name of a model; a path takes precedence over a name.

    Raises:
        PlanNotFoundError: there is none, or the model is not installed.
        PvlrError: ``PVLR_DOWNLOAD=1`` is set and :func:`fetch` failed.
    """
    path = Path(plan)
    if os.path.isfile(path):  # unlike Path.is_file, it is False for a name that is too long
        return path
    if os.path.isfile(path / "engine.plan"):
        return path / "engine.plan"
    name = os.fspath(plan)
    model = _named(name)
    if model is None:
        raise errors.PlanNotFoundError(
            name,
            expected="a plan file, its folder or the name of a model",
            got=_what_is_there(path),
            hint=f"{_suggest(name)}Build a plan with pvlr build, or list the models with pvlr models.",
        )
    if found := locate(model):
        return found[1]
    if os.environ.get("PVLR_DOWNLOAD") == "1":
        return fetch(name)
    raise errors.PlanNotFoundError(
        name, expected="an installed model", got=_what_is_installed(model), hint=_ways_to(model)
    )


def find_knowledge(knowledge: str | os.PathLike[str]) -> Path:
    """A knowledge file (see :class:`pvlr_sdk.words.knowledge.Knowledge`) by its path, or that of a model by its name.

    Raises:
        OptionError: the model has none, or there is no model of this name, but one with a similar name.
        PlanNotFoundError, PvlrError: as :func:`find_plan`, for a model.
    """
    name = os.fspath(knowledge)
    model = None if os.path.exists(name) else _named(name)
    if model is None and not os.path.exists(name) and (hint := _suggest(name)):
        expected = "a knowledge file, or the name of an open model"
        raise errors.OptionError("knowledge", expected=expected, got=repr(name), hint=hint.rstrip())
    if model is None:
        return Path(knowledge)
    if _KNOWLEDGE not in model.files:
        names = " or ".join(other.name for other in catalogue().models if _KNOWLEDGE in other.files)
        raise errors.OptionError(
            "knowledge", expected="a model with open labels", got=model.name, hint=f"Use {names or 'a file'}."
        )
    return find_plan(model.name).with_name(f"engine{_KNOWLEDGE}")


def locate(model: Model) -> tuple[str, Path] | None:
    """Where a model is installed: ``bundled``, ``checkout`` or ``cached``, and its plan; None if it is not.

    The package and its checkout are trusted; elsewhere, every file must have the size and hash of the catalogue.
    """
    for place, folder, trusted in _places():
        plan = folder / model.name / "engine.plan"
        files = zip(_files(model, plan.parent), model.files.values(), strict=True)
        if os.path.isfile(plan) and (trusted or all(_is_released(path, file) for path, file in files)):
            return place, plan
    return None


def fetch(name: str, progress: Callable[[int], None] | None = None, trust: TrustLike = None) -> Path:
    """Download a model into the cache, unless it is installed, and return the path of its plan.

    The files come from ``PVLR_MODELS_URL``, or from the address in the catalogue. They are verified before any is
    written, so that a failed download changes nothing.

    Args:
        name: a model of the catalogue.
        progress: called with the number of bytes received since its last call.
        trust: keys that may have signed it, as for ``Bundle.open``. A model that is installed is not verified here.

    Raises:
        SignatureError: it is not signed as ``trust`` demands.
        PlanNotFoundError: the catalogue has no model of this name.
        OptionError: the cache is turned off, or there is no address to download from.
        DownloadError: the server cannot be reached, is too slow, or does not have the file.
        FileSizeError, FileHashError: it sent other bytes than those of the catalogue.
        OutputError: the cache cannot be written.
    """
    model = _named(name)
    if model is None:
        raise errors.PlanNotFoundError(
            name,
            expected="the name of a model",
            got="an unknown name",
            hint=f"{_suggest(name)}List the models with pvlr models.",
        )
    if found := locate(model):
        return found[1]
    cache, url = _cache(), os.environ.get("PVLR_MODELS_URL") or catalogue().url
    if cache is None:
        raise errors.OptionError(
            "PVLR_CACHE_DIR", expected="a folder", got="an empty value, which turns the cache off", hint="Unset it."
        )
    if url is None or not url.startswith(("https://", "http://")) or "@" in url:
        raise errors.OptionError(
            "PVLR_MODELS_URL",
            expected="an address that begins with https:// or http://, without a password",
            got="none" if url is None else "one with an @" if "@" in url else url,
            hint=f"Set it to the address below which {name}.plan lies; this version has none of its own."
            if url is None
            else f"Set it to the address below which {name}.plan lies.",
        )
    paths = _files(model, cache / name)
    data = [
        _download(f"{url.rstrip('/')}/{name}{end}", file, progress or (lambda _: None))
        for end, file in model.files.items()
    ]
    contents = dict(zip(paths, data, strict=True))
    if required := resolve(trust):
        signed = {path: data for path, data in contents.items() if not path.name.endswith(_KNOWLEDGE)}
        verify_contents(signed, required)
    try:
        cache.parent.mkdir(mode=0o700, parents=True, exist_ok=True)  # private: it also holds compiled networks
    except OSError as error:
        raise errors.OutputError(
            str(cache), expected="a writable folder", got=error.strerror or str(error), hint="Set PVLR_CACHE_DIR."
        ) from None
    write_files(contents)
    return cache / name / "engine.plan"


def _download(url: str, file: FileSpec, progress: Callable[[int], None]) -> bytes:
    from http.client import HTTPException
    from urllib.request import Request, urlopen

    data, late = bytearray(), time.monotonic() + _TIMEOUT + file.bytes / _SLOWEST
    try:
        with urlopen(Request(url, headers={"User-Agent": "pvlr-sdk"}), timeout=_TIMEOUT) as response:
            # read1 returns what has arrived: a server that sends a byte now and then is noticed, too.
            while len(data) <= file.bytes and (chunk := response.read1(1 << 16)):
                data += chunk
                progress(len(chunk))
                if time.monotonic() > late:
                    raise TimeoutError(f"{len(data)} bytes in {_TIMEOUT + file.bytes / _SLOWEST:.0f} s")
    except (OSError, HTTPException, ValueError) as error:
        code, reason = getattr(error, "code", ""), getattr(error, "reason", None) or str(error) or type(error).__name__
        raise errors.DownloadError(
            url,
            expected=f"a file of {file.bytes} bytes",
            got=f"HTTP {code} {reason}" if code else str(reason),
            hint="Check the connection and PVLR_MODELS_URL, then try again; nothing was changed.",
        ) from None
    again = "Try again, or check PVLR_MODELS_URL; nothing was changed."
    if len(data) != file.bytes:
        got = f"{len(data)} bytes" if len(data) < file.bytes else "more"
        raise errors.FileSizeError(url, expected=f"{file.bytes} bytes", got=got, hint=again)
    if (digest := hashlib.sha256(data).hexdigest()) != file.sha256:
        raise errors.FileHashError(url, expected=f"SHA-256 {file.sha256[:16]}...", got=f"{digest[:16]}...", hint=again)
    return bytes(data)


def _named(name: str) -> Model | None:
    return next((model for model in catalogue().models if model.name == name), None)


def _suggest(name: str) -> str:
    close = difflib.get_close_matches(name, [model.name for model in catalogue().models], n=3, cutoff=0.6)
    return f"Did you mean {' or '.join(close)}? " if close else ""


def _places() -> Iterator[tuple[str, Path, bool]]:
    yield "bundled", PACKAGE / "models", True
    if (PACKAGE.parent / "pyproject.toml").is_file():
        yield "checkout", PACKAGE.parent / "models", True
    yield "checkout", Path("models").absolute(), False  # the package may be installed from here, not imported
    if cache := _cache():
        yield "cached", cache, False


def _cache() -> Path | None:
    """The folder of downloaded models, beside that of compiled networks; None: the cache is turned off."""
    setting = os.environ.get("PVLR_CACHE_DIR")
    try:
        if setting is not None:
            return Path(setting) / "models" if setting else None
        return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "pvlr_sdk" / "models"
    except RuntimeError:  # no home folder
        return None


def _files(model: Model, folder: Path) -> list[Path]:
    return [folder / f"engine{end}" for end in model.files]


def _is_released(path: Path, file: FileSpec) -> bool:
    try:
        return path.stat().st_size == file.bytes and hashlib.sha256(path.read_bytes()).hexdigest() == file.sha256
    except OSError:
        return False


def _what_is_installed(model: Model) -> str:
    for _, folder, _ in _places():
        files = zip(_files(model, folder / model.name), model.files.values(), strict=True)
        if other := next((path for path, file in files if os.path.exists(path) and not _is_released(path, file)), None):
            return f"{other}, which is not that of the release"
    return "one that is not installed"


def _ways_to(model: Model) -> str:
    if os.environ.get("PVLR_MODELS_URL") or catalogue().url:
        return f"Download it ({model.bytes / 1e6:.1f} MB): pvlr models fetch {model.name}, or set PVLR_DOWNLOAD=1."
    clone = f"Give the path of models/{model.name} in a clone of the repository"
    return f"{clone}, or set PVLR_MODELS_URL and run pvlr models fetch {model.name}."


def _what_is_there(path: Path) -> str:
    if os.path.isdir(path):
        return "a folder without engine.plan"
    return "not a regular file" if os.path.exists(path) else "no such file or model"
