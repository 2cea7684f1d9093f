"""Finds and opens plans by their path, their folder or the name of a model."""

from __future__ import annotations

import os
from pathlib import Path

from .. import errors
from ..bundle.bundle import KNOWLEDGE, Bundle, knowledge_path, open_bundle
from ..trust import TrustLike
from .catalogue import (
    PACKAGE,
    Model,
    catalogue,
    is_released,
    locate,
    models_url,
    named,
    paths_in,
    places,
    suggestion,
)
from .fetch import fetch

_DEFAULT_MODEL = "pvlr-lite2-open"


def load_bundle(plan: str | os.PathLike[str] | None = None, *, trust: TrustLike = None) -> Bundle:
    """Find a plan, verify its signature and read its bundle.

    Args:
        plan: as for :func:`find_plan`.
        trust: as for :func:`pvlr_sdk.bundle.bundle.open_bundle`.

    Raises:
        PvlrError: what these two raise.
    """
    return open_bundle(find_plan(plan), trust=trust)


def find_plan(plan: str | os.PathLike[str] | None) -> Path:
    """Find a plan by its path, its folder or the name of a model; a path takes precedence over a name.

    None is the model bundled with the package.

    Raises:
        PlanNotFoundError: there is none, or the model is not installed.
        PvlrError: ``PVLR_DOWNLOAD=1`` is set and :func:`fetch` failed.
    """
    if plan is None:
        return default_plan()
    path = Path(plan)
    if os.path.isfile(path):  # unlike Path.is_file, it is False for a name that is too long
        return path
    if os.path.isfile(path / "engine.plan"):
        return path / "engine.plan"
    name = os.fspath(plan)
    model = named(name)
    if model is None:
        raise errors.PlanNotFoundError(
            name,
            "a plan file, its folder or the name of a model",
            _what_is_there(path),
            f"{suggestion(name)}Build a plan with pvlr build, or list the models with pvlr models.",
        )
    if located := locate(model):
        return located[1]
    if os.environ.get("PVLR_DOWNLOAD") == "1":
        return fetch(name)
    raise errors.PlanNotFoundError(
        name, "an installed model", _what_is_installed(model), _ways_to(model)
    )


def find_knowledge(knowledge: str | os.PathLike[str] | None) -> Path:
    """A knowledge file (:class:`pvlr_sdk.labels.Knowledge`) by its path, its plan, their folder or the name of a model.

    None is that of the model bundled with the package.

    Raises:
        OptionError: the model or the plan has none.
        PlanNotFoundError, PvlrError: as :func:`find_plan`, for a plan.
    """
    if knowledge is not None and os.fspath(knowledge).endswith(".safetensors"):
        return Path(knowledge)
    path = knowledge_path(find_plan(knowledge))
    if not path.is_file():
        names = [model.name for model in catalogue().models if KNOWLEDGE in model.files]
        raise errors.OptionError(
            "knowledge",
            "an open plan with a knowledge file beside it",
            str(knowledge or path),
            f"Use one of {', '.join(names)}.",
        )
    return path


def default_plan() -> Path:
    """The path of the plan bundled with the package.

    Raises:
        PlanNotFoundError: this installation has none.
    """
    path = PACKAGE / "models" / _DEFAULT_MODEL / "engine.plan"
    if not path.is_file():
        raise errors.PlanNotFoundError(
            "plan",
            f"the bundled model {_DEFAULT_MODEL}",
            "an installation without it",
            'Give the path of a plan, Tagger("engine.plan"), or install pvlr_sdk from its wheel.',
        )
    return path


def _what_is_installed(model: Model) -> str:
    for _, folder, _ in places():
        files = zip(paths_in(model, folder / model.name), model.files.values(), strict=True)
        if other := next(
            (path for path, file in files if os.path.exists(path) and not is_released(path, file)),
            None,
        ):
            return f"{other}, which differs from the released file"
    return "one that is not installed"


def _ways_to(model: Model) -> str:
    if models_url():
        return f"Download it ({model.bytes / 1e6:.1f} MB): pvlr models fetch {model.name}, or set PVLR_DOWNLOAD=1."
    clone = f"Give the path of models/{model.name} in a clone of the repository"
    return f"{clone}, or set PVLR_MODELS_URL and run pvlr models fetch {model.name}."


def _what_is_there(path: Path) -> str:
    if os.path.isdir(path):
        return "a folder without engine.plan"
    return "not a regular file" if os.path.exists(path) else "no such file or model"
