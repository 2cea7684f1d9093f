"""A recipe: the runs that lead to one model, in one file, from the photos to a plan that is measured."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import yaml
from pydantic import Field, ValidationError
from rich.console import Console

from pvlr_sdk import Tagger
from pvlr_sdk._util.files import write_files
from pvlr_sdk.errors import ConfigError
from pvlr_sdk.labels.thresholds import Objective
from pvlr_sdk.workshop.compile.build import build
from pvlr_sdk.workshop.compile.calibration import CalibrationImages
from pvlr_sdk.workshop.compile.onnx.quantize import check_nncf
from pvlr_sdk.workshop.evaluation.evaluate import evaluate
from pvlr_sdk.workshop.evaluation.labels_csv import LabelTable, read_labels, read_rename
from pvlr_sdk.workshop.evaluation.thresholds import set_thresholds

from .config import Config, load_config, merged, read_config
from .data.sources import read_all
from .invalid import config_error
from .logs import RunLog
from .model.config import Strict

_SPLIT = "testdev"
_CALIBRATION = 1000
"""Photos for the rounding of the weights, and for the comparison with fp32."""


_Stage = Annotated[str, Field(pattern=r"^\w[\w.-]*$")]
"""The name of a folder and a file below ``--out``, never a path to another one."""


class Photos(Strict):
    """The photos of a role: a folder below ``$PVLR_DATA``, with ``images/`` and ``labels.csv``.

    ``folder`` is its name, by default that of the role, so that parts of a folder can be roles.
    """

    folder: str | None = None
    splits: tuple[str, ...] = ()
    rename: Path | None = None
    """A JSON file {label of the source: label of the model}."""
    holdout: float | None = None
    only: dict[str, tuple[str, ...]] = Field({})
    without: dict[str, tuple[str, ...]] = Field({})
    """These as in :class:`.data.config.CsvSource`."""


class Open(Strict):
    """An open plan: its most labels, and the role whose photos its knowledge file is computed from.

    ``captions``: a CSV file below ``$PVLR_DATA`` with captions of the photos in ``images/`` beside it, for
    :mod:`everyday words <.captions>`.
    """

    max_labels: int = Field(128, ge=1)
    knowledge: str | None = None
    captions: str | None = None


class Recipe(Strict):
    """The keys of a recipe beside those of a configuration, which hold for all stages.

    Each stage is a run: its name, and the keys that differ; ``without`` are roles that it does not train on.
    ``train.init`` and ``train.teacher.runs`` may name earlier stages. ``tiles``: layouts, such as ``2x2``, whose
    thresholds are chosen on the held-out photos of the last stage. ``expected``: the mAP on the split testdev of a
    role, in percent.
    """

    stages: dict[_Stage, dict[str, Any]] = Field(min_length=1)
    photos: dict[str, Photos] = Field(min_length=1)
    open: Open | None = None
    tiles: tuple[Annotated[str, Field(pattern="^[1-4]x[1-4]$")], ...] = ()
    expected: dict[str, float] = Field({})


def is_recipe(path: Path) -> bool:
    """Whether a configuration has stages."""
    return "stages" in read_config(path)


def default_folder(path: Path) -> Path:
    """The folder of a recipe without ``--out``."""
    return Path("runs") / path.stem


def train_recipe(
    path: Path,
    overrides: Sequence[str] = (),
    *,
    out: Path | None = None,
    resume: bool = False,
    dry_run: bool = False,
    console: Console | None = None,
) -> tuple[Path | None, dict[str, tuple[float, float]]]:
    """Train all stages, each in its own folder below ``out``; export and build the last one, and measure its plan.

    Args:
        overrides: ``key.sub=value`` for all stages, such as ``train.seed=1``.
        out: by default ``runs/`` and the name of the recipe.
        resume: continue after an interruption; finished stages are left unchanged.
        dry_run: only check the keys of all stages, and what the first one would train.

    Returns:
        The path of the plan (None for a dry run); for each role of ``expected`` that is there, its mAP on these photos
        and the expected one, in percent.

    Raises:
        ConfigError: an invalid key in any stage, before the first one starts; no photos.
        MissingPartError: the packages that round the weights are not installed.
        as :func:`.train.train`, :func:`.export.export` and :func:`pvlr_sdk.workshop.compile.build.build`.
    """
    folder = out or default_folder(path)
    console = console or Console(stderr=True)
    log = RunLog(folder, console)
    recipe, configs = write_stages(path, folder, overrides)
    check_nncf()  # before hours of training
    for role in recipe.photos:
        if _folder(role, recipe) is None:
            log.warn(f"{role}: no such folder below $PVLR_DATA; trained without its photos")
    from .export import export
    from .train import train

    options = {"resume": resume, "dry_run": dry_run, "console": console, "summary": False}
    for name, config in configs.items():
        log.say(f"stage {name}")
        run = train(config, tuple(overrides), out=folder / name, **options)
        if dry_run:
            return None, {}
    network = export(run, folder, max_labels=recipe.open.max_labels if recipe.open else None)
    if photos := _knowledge_photos(recipe):
        from .concepts import learn

        learn(run, network, photos, captions=_captions(recipe, log))
    table = _held_out(load_config(config, tuple(overrides)))
    count = len(table.files)
    plan = folder / "engine.plan"
    log.say(f"rounds the weights to 8 bits, with {min(_CALIBRATION, count)} held-out photos")
    build(
        network,
        plan,
        calibration_images=CalibrationImages.listed(folder, table).evenly(_CALIBRATION),
    )
    for layout in recipe.tiles:
        log.say(f"thresholds of {layout} tiles, on {count} held-out photos")
        columns, rows = map(int, layout.split("x"))
        set_thresholds(plan, folder, table, Objective(), tiles=(columns, rows))
    return plan, _measure(plan, recipe)


def write_stages(
    path: Path, folder: Path, overrides: Sequence[str] = ()
) -> tuple[Recipe, dict[str, Path]]:
    """Write the configuration of each stage below ``folder``; returns the recipe and their paths. Errors as
    :func:`train_recipe`."""
    shared = read_config(path)
    own = {key: shared.pop(key) for key in Recipe.model_fields if key in shared}
    try:
        recipe = Recipe.model_validate(own)
    except ValidationError as error:
        raise config_error(Recipe, path, own, error) from None
    sources = {
        role: {
            "images": str(found / "images"),
            "labels": str(found / "labels.csv"),
            **photos.model_dump(mode="json", exclude={"folder"}),
        }
        for role, photos in recipe.photos.items()
        if (found := _folder(role, recipe))
    }
    if not sources:
        raise ConfigError(
            "photos",
            f"a folder of {', '.join(recipe.photos)}",
            f"none in {os.environ.get('PVLR_DATA') or 'PVLR_DATA, which is not set'}",
            "Set PVLR_DATA to the folder that contains them.",
        )
    shared = merged({"name": path.stem}, shared)
    configs: dict[str, Path] = {}
    for name, changes in recipe.stages.items():
        # The names of earlier stages were read as paths relative to the recipe.
        earlier = {
            str(path.parent.resolve() / stage): str((folder / stage).resolve()) for stage in configs
        }
        changes = dict(changes)
        left_out = _roles(f"stages.{name}.without", changes.pop("without", []), recipe)
        used = [source for role, source in sources.items() if role not in left_out]
        config = merged(merged(shared, {"data": {"sources": used}}), changes)
        train = config.get("train", {})
        if train.get("init") in earlier:
            train["init"] = earlier[train["init"]]
        if runs := train.get("teacher", {}).get("runs"):
            train["teacher"]["runs"] = [earlier.get(run, run) for run in runs]
        configs[name] = folder / f"{name}.yaml"
        write_files({configs[name]: yaml.safe_dump(config, sort_keys=False).encode()})
        load_config(configs[name], tuple(overrides))
    return recipe, configs


def _roles(argument: str, names: object, recipe: Recipe) -> list[str]:
    """The roles that a stage names. Raises ConfigError for anything else."""
    if isinstance(names, list) and all(name in recipe.photos for name in names):
        return names
    raise ConfigError(
        argument, f"a list of {', '.join(recipe.photos)}", repr(names), "Correct the recipe."
    )


def _knowledge_photos(recipe: Recipe) -> Path | None:
    """The images that the knowledge file is computed from, if the recipe has one and they are there."""
    role = recipe.open.knowledge if recipe.open else None
    folder = _folder(role, recipe) if role else None
    return folder and folder / "images"


def _captions(recipe: Recipe, log: RunLog) -> Path | None:
    """The captions of the recipe, if it has some and they are there."""
    name = recipe.open.captions if recipe.open else None
    if name is None:
        return None
    path = Path(os.environ.get("PVLR_DATA", ".")) / name
    if not path.is_file():
        log.warn(f"open.captions: {path} is absent; the knowledge file has no everyday words")
        return None
    return path


def _held_out(config: Config) -> LabelTable:
    """The held-out photos of a run, by their paths."""
    held = [sample for sample in read_all(config.data) if sample.is_held]
    targets = np.stack([sample.targets for sample in held])
    return LabelTable([str(sample.path) for sample in held], targets, [], [])


def _folder(role: str, recipe: Recipe) -> Path | None:
    data = os.environ.get("PVLR_DATA")
    photos = recipe.photos.get(role)
    folder = Path(data) / ((photos and photos.folder) or role) if data else None
    return folder if folder and (folder / "labels.csv").is_file() else None


def _measure(plan: Path, recipe: Recipe) -> dict[str, tuple[float, float]]:
    """For each role of ``expected`` that is there: the mAP of the plan, and the expected one."""
    measured = {}
    with Tagger(plan, optimize="throughput") as tagger:
        for role, expected in recipe.expected.items():
            if folder := _folder(role, recipe):
                rename = recipe.photos[role].rename if role in recipe.photos else None
                names = read_rename(rename) if rename else None
                table = read_labels(folder / "labels.csv", _SPLIT, tagger.labels, names)
                measured[role] = evaluate(tagger, folder / "images", table).mAP, expected
    return measured
