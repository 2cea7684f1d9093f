"""The catalogue of released models, and where each is installed.

``pvlr_sdk/models/catalogue.json`` lists every released model with the size and SHA-256 of its files; ``python
models/update.py`` writes it.
"""

from __future__ import annotations

import functools
import hashlib
import os
from collections.abc import Iterator
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from .._util.validation import did_you_mean
from ..bundle.manifest import FileSpec

PACKAGE = Path(__file__).parents[1]


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
    return named(str(name)) is not None


def models_url() -> str | None:
    """The address below which the models' files are: ``PVLR_MODELS_URL``, or the catalogue's address, if it has one."""
    return os.environ.get("PVLR_MODELS_URL") or catalogue().url


def locate(model: Model) -> tuple[str, Path] | None:
    """Where a model is installed: ``bundled``, ``checkout`` or ``cached``, and its plan; None if it is not.

    The package and its checkout are trusted; elsewhere, every file must have the size and hash of the catalogue.
    """
    for place, folder, trusted in places():
        plan = folder / model.name / "engine.plan"
        files = zip(paths_in(model, plan.parent), model.files.values(), strict=True)
        if os.path.isfile(plan) and (
            trusted or all(is_released(path, file) for path, file in files)
        ):
            return place, plan
    return None


def named(name: str) -> Model | None:
    """The model of this name."""
    return next((model for model in catalogue().models if model.name == name), None)


def suggestion(name: str) -> str:
    """A sentence that names similar models; empty if there is none."""
    question = did_you_mean(name, [model.name for model in catalogue().models], quoted=False)
    return question and f"{question} "


def places() -> Iterator[tuple[str, Path, bool]]:
    """The folders that may hold models: where that is, the folder, and whether its files are trusted."""
    yield "bundled", PACKAGE / "models", True
    if (PACKAGE.parent / "pyproject.toml").is_file():
        yield "checkout", PACKAGE.parent / "models", True
    # the package may be installed from here, not imported
    yield (
        "checkout",
        Path("models").absolute(),
        False,
    )
    if cache := cache_folder():
        yield "cached", cache, False


def cache_folder() -> Path | None:
    """The folder of downloaded models, next to that of compiled networks; None: the cache is turned off."""
    setting = os.environ.get("PVLR_CACHE_DIR")
    try:
        if setting is not None:
            return Path(setting) / "models" if setting else None
        return (
            Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "pvlr_sdk" / "models"
        )
    except RuntimeError:  # no home folder
        return None


def paths_in(model: Model, folder: Path) -> list[Path]:
    """The paths of a model's files in a folder."""
    return [folder / f"engine{end}" for end in model.files]


def is_released(path: Path, file: FileSpec) -> bool:
    """Whether a file has the size and hash of the catalogue."""
    try:
        return (
            path.stat().st_size == file.bytes
            and hashlib.sha256(path.read_bytes()).hexdigest() == file.sha256
        )
    except OSError:
        return False
