"""The manifest (``engine.json``): what a plan is, where it runs, and what it must say.

DESIGN: the payload stays a plain file that other tools can load; everything that we know about it stands here.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from . import errors

FORMAT = 1
"""The manifest format that this version writes, and the newest that it reads."""


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class InputSpec(_Strict):
    """The pixel contract of DESIGN.md section 3: how a frame becomes the network's input.

    ``mean``, ``std`` and ``pad`` are in units of 8-bit pixel values (0..255), in RGB order.
    """

    width: int = Field(gt=0, le=8192)
    height: int = Field(gt=0, le=8192)
    resize: Literal["stretch", "letterbox"] = "stretch"
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    pad: tuple[float, float, float] = (114.0, 114.0, 114.0)

    @model_validator(mode="after")
    def _positive_std(self) -> InputSpec:
        if min(self.std) <= 0:
            raise ValueError("std must be greater than 0")
        return self


class AttentionSpec(_Strict):
    """A label's map: the softmax over N of ``alpha * similarity`` (B, N, C), where N = rows * columns."""

    rows: int = Field(gt=0)
    columns: int = Field(gt=0)
    alpha: float


class ModelSpec(_Strict):
    """What an exported network says of itself: the ``pvlr`` entry in the ONNX file's metadata."""

    format: int = Field(default=FORMAT, ge=1)
    name: str
    input: InputSpec
    attention: AttentionSpec
    fp32_until: str | None = None
    """The tensor up to which an engine of lower precision computes in fp32; None: it does nowhere."""
    precision: Literal["fp32", "fp16", "bf16", "int8"] = "fp32"
    """What the graph itself computes in: all but fp32 are for TensorRT."""
    source: dict[str, Any] = Field(default_factory=dict)


class LabelSpec(_Strict):
    """One label and the score from which on it is a tag."""

    name: str = Field(min_length=1)
    threshold: float = Field(gt=0, lt=1)


class FileSpec(_Strict):
    """Size and SHA-256 of one file of the bundle."""

    bytes: int = Field(gt=0)
    sha256: str = Field(pattern="^[0-9a-f]{64}$")


class GoldenSpec(_Strict):
    """A picture and the logits that the fp32 model gave for it: the self-test at load.

    ``frame_png`` is a base64 PNG (lossless); ``tolerance`` the largest logit difference allowed for each precision.
    """

    frame_png: str
    logits: tuple[float, ...]
    tolerance: dict[str, float]


class TensorRtSpec(_Strict):
    """What a TensorRT plan was built with: where it runs follows from that."""

    version: str = Field(pattern=r"^\d+\.\d+(\.\d+)*$")
    """TensorRT's."""
    capability: str = Field(pattern=r"^\d+\.\d+$")
    """The GPU's compute capability."""
    gpu: str
    multiprocessors: int | None = Field(default=None, ge=1)
    """The GPU's; None: not known. GPUs of one name may differ in it."""
    machine: str
    """The processor, as ``platform.machine()`` says it: ``x86_64`` or ``aarch64``."""
    hardware: Literal["this", "capability", "ampere+"] = "this"
    """GPUs that it may run on: this model, all of this compute capability, or Ampere and newer."""
    version_compatible: bool = False
    """It also runs in newer versions, through their lean runtime."""
    batch: tuple[int, int, int] = (1, 1, 1)
    """Smallest, most usual and largest batch."""
    attention: Literal["fused", "native"] = "native"
    plugins: str | None = None
    """Version of the plugin library that it needs; None: it needs none."""
    dla: int | None = Field(default=None, ge=0)

    @model_validator(mode="after")
    def _ordered(self) -> TensorRtSpec:
        if not 1 <= self.batch[0] <= self.batch[1] <= self.batch[2]:
            raise ValueError("batch must rise from at least 1")
        return self


class Manifest(_Strict):
    """Everything about a bundle but its payload. ``files`` has one entry a role: ``plan`` and ``labels``."""

    format: int = Field(default=FORMAT, ge=1)
    name: str
    backend: Literal["openvino", "tensorrt"]
    precision: Literal["auto", "fp32", "bf16", "fp16", "int8"] = "auto"
    fp32_until: str | None = None
    tensorrt: TensorRtSpec | None = None
    input: InputSpec
    attention: AttentionSpec
    labels: tuple[LabelSpec, ...] = Field(min_length=1)
    files: dict[Literal["plan", "labels"], FileSpec]
    golden: GoldenSpec
    built: dict[str, Any] = Field(default_factory=dict)
    measured: dict[str, Any] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _consistent(self) -> Manifest:
        names = [label.name for label in self.labels]
        if len(set(names)) != len(names):
            raise ValueError("labels: two labels have the same name")
        if len(self.golden.logits) != len(names):
            raise ValueError(f"golden.logits: {len(self.golden.logits)} values for {len(names)} labels")
        if set(self.files) != {"plan", "labels"}:
            raise ValueError("files: must name exactly 'plan' and 'labels'")
        if (self.tensorrt is None) == (self.backend == "tensorrt"):
            raise ValueError("tensorrt: must be there for the tensorrt backend, and for no other")
        return self


def parse_manifest(text: str | bytes, path: Path) -> Manifest:
    """Validate a manifest's JSON.

    Raises:
        ManifestVersionError: it was written in a newer format.
        ManifestError: it is no JSON, or a field is missing, unknown or wrong.
    """
    import json

    try:
        raw = json.loads(text)
    except (UnicodeDecodeError, json.JSONDecodeError, RecursionError) as error:
        raise errors.ManifestError(
            str(path), expected="a JSON manifest", got=f"text that is no JSON ({error})", hint=_REBUILD
        ) from None
    if isinstance(raw, dict) and isinstance(raw.get("format"), int) and raw["format"] > FORMAT:
        raise errors.ManifestVersionError(
            str(path),
            expected=f"manifest format {FORMAT} or older",
            got=f"format {raw['format']}",
            hint="Update pvlr_sdk, or build the plan again with this version (pvlr build).",
        )
    try:
        return Manifest.model_validate(raw)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "manifest"
        raise errors.ManifestError(
            str(path), expected="a valid pvlr manifest", got=f"{where}: {first['msg']}", hint=_REBUILD
        ) from None


def parse_spec(text: str | None, source: str) -> ModelSpec:
    """Validate the ``pvlr`` entry of a network's metadata; None: it has none.

    Raises:
        ModelError: it is missing, newer or wrong.
    """
    if text is None:
        raise errors.ModelError(
            source, expected="an ONNX network with pvlr metadata", got="one without", hint="Make one with pvlr export."
        )
    try:
        spec = ModelSpec.model_validate_json(text)
    except ValidationError as error:
        raise errors.ModelError(
            source,
            expected="valid pvlr metadata",
            got=str(error).splitlines()[0],
            hint="Export it again with this version of pvlr_sdk.",
        ) from None
    if spec.format > FORMAT:
        raise errors.ModelError(
            source, expected=f"format {FORMAT} or older", got=f"format {spec.format}", hint="Update pvlr_sdk."
        )
    return spec


_REBUILD = "Copy the bundle again, or build it again with pvlr build."
