"""A catalogue with one small model, an empty cache, and the script that writes the real catalogue."""

from __future__ import annotations

import hashlib
import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

from pvlr_sdk.models import catalogue as module
from pvlr_sdk.models.catalogue import Catalogue, FileSpec, Model, catalogue
from tests.pvlr_sdk.trust.conftest import keys as keys
from tests.pvlr_sdk.trust.conftest import sign as sign

ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def update() -> ModuleType:
    """``models/update.py``."""
    spec = importlib.util.spec_from_file_location("update", ROOT / "models" / "update.py")
    assert spec
    assert spec.loader
    loaded = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(loaded)
    return loaded


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache, no package and no checkout with models, an empty working directory."""
    package = tmp_path / "lib" / "pvlr_sdk"
    package.mkdir(parents=True)
    work = tmp_path / "work"
    work.mkdir()
    catalogue()  # read before the package is out of sight
    monkeypatch.setattr(module, "PACKAGE", package)
    monkeypatch.setenv("PVLR_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.delenv("PVLR_MODELS_URL", raising=False)
    monkeypatch.delenv("PVLR_DOWNLOAD", raising=False)
    monkeypatch.chdir(work)
    return tmp_path / "cache"


@pytest.fixture
def bodies() -> dict[str, bytes]:
    """The files of the model ``cats``."""
    return {".labels.safetensors": b"bank" * 100, ".plan": b"plan" * 50_000, ".json": b"{}"}


@pytest.fixture
def small(cache: Path, bodies: dict[str, bytes], monkeypatch: pytest.MonkeyPatch) -> Model:
    """A catalogue with one small model, ``cats``."""
    files = {
        end: FileSpec(bytes=len(data), sha256=hashlib.sha256(data).hexdigest())
        for end, data in bodies.items()
    }
    model = Model(
        name="cats",
        labels=1,
        label_set="own",
        input=(8, 8),
        accuracy=(),
        trained_on="cats",
        licence="MIT",
        files=files,
    )
    monkeypatch.setattr(module, "catalogue", lambda: Catalogue(url=None, models=(model,)))
    return model
