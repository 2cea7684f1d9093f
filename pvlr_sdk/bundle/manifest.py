"""The manifest (``engine.json``): what a plan is, where it runs, and the results it must reproduce.

The payload stays a plain file that other tools can load; the manifest holds everything else.
"""

from __future__ import annotations

import json
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    TypeAdapter,
    ValidationError,
    field_validator,
    model_validator,
)

from .. import errors
from .._util.plain_json import Limits, read_json
from .._util.validation import first_problem
from . import schema

FORMAT = 3
"""The newest manifest format that this version reads. Format 2 added precise thresholds, format 3 those of tiles."""
_NETWORK_FORMAT = 1
"""The format of the ``pvlr`` entry in a network's metadata."""
MAX_BYTES = 2**24
"""Of a manifest; nearly all of it is the golden frame."""
_LIMITS = Limits(MAX_BYTES, values=2**20, depth=32)
_FP32_TOLERANCE = 0.1
_LEAST_TOLERANCE = 0.5
"""Bounds of ``golden.tolerance``: for fp32, and for other precisions of a network whose logits are all similar."""
_REBUILD = "Copy the bundle again, or build it again with pvlr build."
_Text = Annotated[str, Field(min_length=1)]
_Batch = Annotated[int, Field(ge=1, le=65536)]
_Pixel = Annotated[float, Field(ge=-1000, le=1000)]
_Layout = Annotated[str, Field(pattern="^[1-9][0-9]?x[1-9][0-9]?$")]
_Threshold = Annotated[float, Field(gt=0, lt=1)]
_Scale = Annotated[float, Field(ge=0.001, le=100_000)]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class InputSpec(_Strict):
    """The pixel contract: how a frame becomes the network's input (``docs/kernels.md``).

    ``mean``, ``std`` and ``pad`` are in units of 8-bit pixel values (0..255), in RGB order.
    """

    width: int = Field(gt=0, le=8192)
    height: int = Field(gt=0, le=8192)
    resize: Literal["stretch", "letterbox"] = "stretch"
    mean: tuple[_Pixel, _Pixel, _Pixel]
    std: tuple[_Scale, _Scale, _Scale]
    pad: tuple[_Pixel, _Pixel, _Pixel] = (114.0, 114.0, 114.0)


class AttentionSpec(_Strict):
    """A label's map: the softmax over N of ``alpha * similarity`` (B, N, C), where N = rows * columns."""

    rows: int = Field(gt=0, le=8192)
    columns: int = Field(gt=0, le=8192)
    alpha: float = Field(ge=-1e6, le=1e6)


class OpenSpec(_Strict):
    """An open plan: its label bank is an input of the network, with room for ``max_labels`` of ``width`` numbers each.

    ``space`` names the banks that it can use: those whose provenance has the same. ``features`` names the features of
    images, ``feature_width`` numbers each, that labels are taught on: a bank with taught labels must have the same.
    """

    max_labels: int = Field(gt=0, le=100_000)
    width: int = Field(gt=0, le=8192)
    space: str = Field(min_length=1, max_length=200)
    feature_width: int = Field(gt=0, le=8192)
    features: str = Field(min_length=1, max_length=200)


class ModelSpec(_Strict):
    """An exported network's description: the ``pvlr`` entry in the ONNX file's metadata."""

    format: int = Field(default=_NETWORK_FORMAT, ge=1)
    name: str
    input: InputSpec
    attention: AttentionSpec
    fp32_until: str | None = None
    """The tensor up to which an engine of lower precision computes in fp32; None: no part in fp32."""
    precision: schema.Precision = "fp32"
    """The precision of the graph itself. All but fp32 are for TensorRT."""
    source: dict[str, Any] = Field(default_factory=dict)
    open: OpenSpec | None = None

    def to_json(self) -> str:
        """The entry's text; that of a closed network is what it was before there were open ones."""
        return self.model_dump_json(exclude={"open"} if self.open is None else None)


class LabelSpec(_Strict):
    """A label and its threshold: the score at or above which it is reported.

    ``precise_threshold`` belongs to the operating point ``precise``; None: ``threshold`` serves for both.
    """

    name: str = Field(min_length=1, max_length=schema.MAX_LABEL_LENGTH)
    threshold: float = Field(gt=0, lt=1)
    precise_threshold: float | None = Field(default=None, gt=0, lt=1)

    @model_validator(mode="after")
    def _precise_is_higher(self) -> LabelSpec:
        if self.precise_threshold is not None and self.precise_threshold < self.threshold:
            raise ValueError(
                f"precise_threshold: {self.precise_threshold:g} is below threshold, {self.threshold:g}"
            )
        return self


class FileSpec(_Strict):
    """Size and SHA-256 of one file of the bundle."""

    bytes: int = Field(gt=0, le=2**34)
    sha256: str = Field(pattern="^[0-9a-f]{64}$")


class GoldenSpec(_Strict):
    """The golden frame and its fp32 logits: the self-test at load.

    ``frame_png`` is a base64 PNG (lossless); ``tolerance`` the largest logit difference allowed for each precision. For
    fp32 it is at most 0.1; for others at most the spread of the logits, or 0.5: beyond that any network would pass.
    """

    frame_png: _Text
    logits: tuple[Annotated[float, Field(ge=-1e6, le=1e6)], ...]
    tolerance: dict[schema.Precision, Annotated[float, Field(ge=0)]]

    @model_validator(mode="after")
    def _telling(self) -> GoldenSpec:
        spread = max(self.logits, default=0) - min(self.logits, default=0)
        for precision, tolerance in self.tolerance.items():
            limit = _FP32_TOLERANCE if precision == "fp32" else max(_LEAST_TOLERANCE, spread)
            if tolerance > limit:
                raise ValueError(f"tolerance.{precision}: {tolerance:.3g} is more than {limit:.3g}")
        return self


class TensorRtSpec(_Strict):
    """The build environment of a TensorRT plan, which determines where it runs."""

    version: str = Field(pattern=r"^[0-9]{1,6}(\.[0-9]{1,6}){1,3}$")  # of TensorRT
    capability: str = Field(pattern=r"^[0-9]{1,6}\.[0-9]{1,6}$")  # of the GPU
    gpu: _Text
    multiprocessors: int | None = Field(default=None, ge=1, le=2**31 - 1)
    """Those of the GPU; None: unknown. They may differ between GPUs of one name."""
    machine: _Text
    """The processor as in ``platform.machine()``: ``x86_64`` or ``aarch64``."""
    hardware: schema.Hardware = "this"
    # whether newer versions can run it, through its own lean runtime
    version_compatible: bool = False
    batch: tuple[_Batch, _Batch, _Batch] = (1, 1, 1)
    """Smallest batch, the batch that kernels are optimised for, and largest batch."""
    attention: schema.Attention = "native"
    plugins: _Text | None = None
    """The required version of the plugin library; None: no plugins."""
    maps: bool = True  # whether it has the output for attention maps
    dla: int | None = Field(default=None, ge=0, le=2**31 - 1)

    @model_validator(mode="after")
    def _ordered(self) -> TensorRtSpec:
        if not self.batch[0] <= self.batch[1] <= self.batch[2]:
            raise ValueError("batch must rise")
        return self


class Manifest(_Strict):
    """Everything about a bundle except its payload. ``files`` has an entry for each role: ``plan`` and ``labels``, and
    ``label_network`` where a plan for TensorRT is open."""

    format: int = Field(default=1, ge=1, le=FORMAT)
    name: _Text
    backend: schema.Backend
    precision: schema.PlanPrecision = "auto"
    fp32_until: _Text | None = None
    tensorrt: TensorRtSpec | None = None
    input: InputSpec
    attention: AttentionSpec
    labels: tuple[LabelSpec, ...] = Field(min_length=1, max_length=100_000)
    files: dict[Literal["plan", "labels", "label_network"], FileSpec]
    golden: GoldenSpec
    open: OpenSpec | None = None
    """None: the labels are part of the plan."""
    tiles: dict[_Layout, dict[schema.OperatingPoint, tuple[_Threshold, ...]]] = Field(
        default_factory=dict
    )
    """By layout, columns x rows, and operating point: a threshold per label."""
    built: dict[str, Any] = Field(default_factory=dict)
    measured: dict[str, Any] = Field(default_factory=dict)

    @field_validator("built")
    @classmethod
    def _dated(cls, built: dict[str, Any]) -> dict[str, Any]:
        if "time" in built:
            datetime.fromisoformat(str(built["time"]))
        return built

    @field_validator("measured")
    @classmethod
    def _in_numbers(cls, measured: dict[str, Any]) -> dict[str, Any]:
        _PRECISIONS.validate_python(measured.get("precisions", {}))
        return measured

    @model_validator(mode="after")
    def _has_distinct_labels(self) -> Manifest:
        names = [label.name for label in self.labels]
        if len(set(names)) != len(names):
            raise ValueError("labels: two labels have the same name")
        if len(self.golden.logits) != len(names):
            raise ValueError(
                f"golden.logits: {len(self.golden.logits)} values for {len(names)} labels"
            )
        return self

    @model_validator(mode="after")
    def _fits_its_backend(self) -> Manifest:
        roles = ["plan", "labels"]
        if self.open and self.backend == "tensorrt":
            roles.append("label_network")
        if set(self.files) != set(roles):
            raise ValueError(f"files: must name exactly {' and '.join(map(repr, roles))}")
        if self.open is not None and len(self.labels) > self.open.max_labels:
            raise ValueError(f"open: needs at most {self.open.max_labels} labels")
        if (self.tensorrt is None) == (self.backend == "tensorrt"):
            raise ValueError("tensorrt: must be there for the tensorrt backend, and for no other")
        return self

    @model_validator(mode="after")
    def _fits_its_format(self) -> Manifest:
        count = len(self.labels)
        precise = {label.precise_threshold is not None for label in self.labels}
        if precise != {self.format > 1}:
            raise ValueError(
                "labels: all must have a precise_threshold in format 2 and 3, and none in format 1"
            )
        counts = {
            len(layout.get(point, ()))
            for layout in self.tiles.values()
            for point in schema.OPERATING_POINTS
        }
        if counts != ({count} if self.format > 2 else set()):
            raise ValueError(
                f"tiles: must have {count} thresholds per operating point in format 3, else none"
            )
        return self

    def thresholds(self, operating_point: str) -> list[float]:
        """The threshold of each label at an operating point; a plan in format 1 has the same at both.

        Raises:
            OptionError: there is no such operating point.
        """
        errors.check_choice("operating_point", operating_point, schema.OPERATING_POINTS)
        precise = operating_point == "precise"
        return [(precise and label.precise_threshold) or label.threshold for label in self.labels]


class _Measurement(BaseModel):
    """What is displayed of a precision's measurements; there may be more."""

    inference_ms: float
    photos: int
    tag_sets: float
    mAP: float = 0  # noqa: N815 - the field's name for it


_PRECISIONS = TypeAdapter(dict[str, _Measurement])


def parse_manifest(text: str | bytes, path: Path) -> Manifest:
    """Validate a manifest's JSON.

    Raises:
        ManifestVersionError: it was written in a newer format.
        ManifestError: it is invalid JSON, or a field is missing, unknown or invalid.
    """
    if len(text) > MAX_BYTES:
        raise errors.ManifestError(
            str(path),
            f"at most {MAX_BYTES} bytes",
            f"{len(text)}",
            "Build the plan again, with a smaller golden frame.",
        )
    try:
        raw = read_json(text, _LIMITS)
    except ValueError as error:
        raise errors.ManifestError(
            str(path), "a JSON manifest", f"invalid JSON ({error})", _REBUILD
        ) from None
    if isinstance(raw, dict):
        raw.pop("checksum", None)  # of the manifest itself, in those that 0.2.0 wrote
    if _is_newer(raw, FORMAT):
        raise errors.ManifestVersionError(
            str(path),
            f"manifest format {FORMAT} or older",
            f"format {raw['format']}",
            "Update pvlr_sdk, or build the plan again with this version (pvlr build).",
        )
    try:
        # as libpvlr: no number in a text
        return Manifest.model_validate_json(json.dumps(raw), strict=True)
    except ValidationError as error:
        raise errors.ManifestError(
            str(path), "a valid pvlr manifest", first_problem(error), _REBUILD
        ) from None


def parse_spec(text: str | None, source: str) -> ModelSpec:
    """Validate the ``pvlr`` entry of a network's metadata, None if there is none.

    Raises:
        ModelError: it is missing, newer or wrong.
    """
    if text is None:
        raise errors.ModelError(
            source,
            "an ONNX network with pvlr metadata",
            "one without",
            "Export it with pvlr export.",
        )
    try:
        raw = read_json(text, _LIMITS)
        spec = None if _is_newer(raw, _NETWORK_FORMAT) else ModelSpec.model_validate(raw)
    except ValueError as error:  # pydantic's is one too
        raise errors.ModelError(
            source,
            "valid pvlr metadata",
            first_problem(error) if isinstance(error, ValidationError) else str(error),
            "Export it again with this version of pvlr_sdk.",
        ) from None
    if spec is None:
        raise errors.ModelError(
            source,
            f"format {_NETWORK_FORMAT} or older",
            f"format {raw['format']}",
            "Update pvlr_sdk.",
        )
    return spec


def _is_newer(raw: Any, newest: int) -> bool:
    """Whether the format is newer than this version reads, which may then have other fields too."""
    return isinstance(raw, dict) and isinstance(raw.get("format"), int) and raw["format"] > newest
