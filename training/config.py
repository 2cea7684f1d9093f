"""The configuration of an experiment: one YAML file, every key checked."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import Field, ValidationError, ValidationInfo, field_validator
from pydantic_core import PydanticCustomError

from pvlr_sdk.errors import ConfigError
from pvlr_sdk.models.catalogue import is_model
from pvlr_sdk.workshop.evaluation.labels_csv import read_columns, read_rename

from .data.config import DataConfig, NusWideSource, SourceConfig, VocSource
from .invalid import config_error
from .model.config import ModelConfig, Strict

Stage = Literal["head", "finetune"]
STAGES: tuple[Stage, ...] = ("head", "finetune")


class StageConfig(Strict):
    """One stage of training. ``lr`` is for the head, ``backbone_lr`` for the unfrozen part of the backbone."""

    epochs: int = Field(12, ge=0)
    batch: int = Field(32, ge=1)
    lr: float = Field(5e-4, gt=0)
    backbone_lr: float = Field(0.0, ge=0)
    weight_decay: float = Field(1e-2, ge=0)


class FinetuneConfig(StageConfig):
    """The second stage, with defaults of its own."""

    epochs: int = Field(3, ge=0)
    lr: float = Field(2e-4, gt=0)
    backbone_lr: float = Field(1e-4, ge=0)


class TeacherConfig(Strict):
    """Finished runs whose probabilities are learned too: they replace ``weight`` of each known label, and with ``fill``
    are all that is learned of an unknown one, which otherwise stays unknown.

    They see each whole image once, and their average counts.
    """

    runs: tuple[Path, ...] = ()
    weight: float = Field(0.5, ge=0, le=1)
    fill: bool = True


class TrainConfig(Strict):
    """Stage *head* trains the head on cached features of the frozen backbone (``views`` augmented copies per image);
    stage *finetune* trains the head and the backbone from block ``unfreeze_from`` on.

    The loss is ASL, which weights absent labels by their scores to the power of ``gamma_neg``; 0 is binary
    cross-entropy. ``label_dropout`` is the share of the labels that each batch leaves out of the bank, so that DMA
    learns to read any selection of them (for open plans). ``precision`` ``auto`` is bf16 if the hardware supports it.
    With ``balance``, images of labels that fewer than this share of the images show are drawn more often
    (:func:`.loop.draw_weights`).
    The state is saved every ``save_every`` minutes and after each epoch. With a ``budget`` in minutes, the epochs are
    the most that each stage may take: views and epochs are reduced to what the measured speed allows.
    """

    seed: int = Field(0, ge=0, lt=2**31)
    init: Path | None = None
    """A finished run, a plan or the name of a model to start from; its weights are used if name and shape match."""
    keep: float = Field(0.0, ge=0, lt=1)
    """Share of the weights of ``init`` in the final ones: a run that adapts a model to other images keeps what it knew
    (WiSE-FT, Wortsman et al. 2022)."""
    best: bool = False
    """End with the weights of the epoch with the highest mAP on the held-out images, not with those of the last."""
    teacher: TeacherConfig = TeacherConfig()
    precision: Literal["auto", "bf16", "fp32"] = "auto"
    save_every: float = Field(5.0, ge=0)
    budget: float | None = Field(None, gt=0)
    views: int = Field(4, ge=1)
    head: StageConfig = StageConfig()
    finetune: FinetuneConfig = FinetuneConfig()
    unfreeze_from: int = Field(3, ge=0)
    gamma_neg: float = Field(2.0, ge=0)
    label_dropout: float = Field(0.0, ge=0, lt=1)
    balance: float = Field(0.0, ge=0, le=1)
    ema: float = Field(0.998, ge=0, lt=1)
    grad_clip: float = Field(1.0, gt=0)

    def stage(self, stage: Stage) -> StageConfig:
        """The settings of this stage."""
        return getattr(self, stage)


class Config(Strict):
    """A whole experiment."""

    name: str = "model"
    model: ModelConfig = ModelConfig()
    data: DataConfig
    train: TrainConfig = TrainConfig()

    @field_validator("train")
    @classmethod
    def _fits(cls, train: TrainConfig, others: ValidationInfo) -> TrainConfig:
        if train.keep and not train.init:
            raise PydanticCustomError("keep", "keep 0 without init, whose weights it would keep")
        model = others.data.get("model")
        if train.label_dropout and model and not model.reads_any_labels:
            message = "label_dropout 0: only the head pvlr reads any labels"
            raise PydanticCustomError("label_dropout", message)
        return train


def load_config(path: Path, overrides: list[str] | tuple[str, ...] = ()) -> Config:
    """Read an experiment from YAML; ``overrides`` are ``key.sub=value``.

    A file with the key ``base`` changes keys of that file. Paths in a file are relative to it, those in ``overrides``
    to the working directory; ``$VARS`` in them expand.

    Raises:
        ConfigError: names the unknown or invalid key.
    """
    raw = read_config(path)
    if "base" in raw:
        raw = merged(read_config(Path(str(raw.pop("base")))), raw)
    for item in overrides:
        _override(raw, item)
    try:
        config = Config.model_validate(
            {"name": path.stem, **_resolve_paths(raw, path.parent, complete=True)}
        )
    except ValidationError as error:
        raise config_error(Config, path, raw, error) from None
    if config.data.labels:
        return config
    labels = dict.fromkeys(label for source in config.data.sources for label in _labels_of(source))
    return config.model_copy(
        update={"data": config.data.model_copy(update={"labels": tuple(labels)})}
    )


def stored_config(raw: dict[str, Any]) -> Config:
    """The configuration in a checkpoint, without the settings that version 0.2 had and this one has not, if they have
    no effect.

    Raises:
        ValueError: it is invalid.
    """
    removed: dict[str, dict[str, Any]] = {
        "model": {"csra": ..., "ml_decoder": ..., "attention": ..., "pooling": "soft", "classifier": "labels",
                  "knowledge": "none", "knowledge_gain": ...},
        "train": {"features": ...},
    }  # fmt: skip
    kept = {
        section: {
            key: value
            for key, value in raw[section].items()
            if key not in keys or keys[key] not in (..., value)
        }
        for section, keys in removed.items()
        if isinstance(raw, dict) and isinstance(raw.get(section), dict)
    }
    return Config.model_validate({**raw, **kept} if kept else raw)


def read_config(path: Path) -> dict[str, Any]:
    """The keys of a YAML file as they are, with paths relative to it; raises ConfigError as :func:`load_config`."""
    hint = "See the examples in training/configs/."
    try:
        raw = yaml.safe_load(path.read_text())
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ConfigError(str(path), "a YAML file", str(error).replace("\n", " "), hint) from None
    if not isinstance(raw, dict):
        raise ConfigError(str(path), "a mapping of keys", type(raw).__name__, hint)
    resolved: dict[str, Any] = _resolve_paths(raw, path.parent)
    return resolved


def merged(base: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    """``base`` with ``changes``: sections are merged, other values replaced."""
    result = dict(base)
    for key, value in changes.items():
        section = base.get(key)
        both = isinstance(section, dict) and isinstance(value, dict)
        result[key] = merged(section, value) if both else value
    return result


def _labels_of(source: SourceConfig) -> list[str]:
    """The labels that a file of annotations has, with the model's names."""
    if isinstance(source, VocSource | NusWideSource):
        raise ConfigError(
            "data.labels",
            "names of labels",
            f"none, for {source.kind}",
            "List the labels to train.",
        )
    renames = read_rename(source.rename) if source.rename else {}
    columns = read_columns(source.labels)
    return [renames.get(column, column) for column in columns]


_PATH_KEYS = {"base", "images", "rename", "descriptions", "devkit", "root", "init", "runs"}


def _resolve_paths(node: Any, base: Path, key: str = "", *, complete: bool = False) -> Any:
    """Expand ``$VARS`` and make relative paths relative to ``base``; the name of a model to start from stays as it is.

    A path with a variable that is not set stays as it is, since another value may replace it, or is an error if the
    configuration is ``complete``.
    """
    if isinstance(node, dict):
        return {k: _resolve_paths(v, base, k, complete=complete) for k, v in node.items()}
    if isinstance(node, list):
        # The items of "labels" are names, which may contain a dot.
        return [
            _resolve_paths(v, base, key if key in _PATH_KEYS else "", complete=complete)
            for v in node
        ]
    if isinstance(node, str) and (key in _PATH_KEYS or (key == "labels" and Path(node).suffix)):
        expanded = os.path.expandvars(os.path.expanduser(node))
        if key == "init" and is_model(expanded) and not (base / expanded).exists():
            return expanded
        if "$" not in expanded:
            return str((base / expanded).resolve())
        if complete:
            raise ConfigError(key, "a path", node, "Set the environment variable first.")
    return node


def _override(raw: dict[str, Any], item: str) -> None:
    dotted, separator, value = item.partition("=")
    if not separator:
        raise ConfigError(item, "key=value", repr(item), "For example train.finetune.epochs=8.")
    *parents, last = dotted.split(".")
    node: Any = raw
    for parent in parents:
        node = node.setdefault(parent, {})
        if not isinstance(node, dict):
            raise ConfigError(
                dotted, "a known key", f"{parent!r}, which has no subkeys", "See docs/training.md."
            )
    try:
        parsed = yaml.safe_load(value)
    except yaml.YAMLError as error:
        raise ConfigError(
            dotted,
            "a value in YAML",
            f"{value!r} ({str(error).splitlines()[0]})",
            "For example '[dog, cat]'.",
        ) from None
    node[last] = _resolve_paths(parsed, Path.cwd(), last)  # not relative to the file
