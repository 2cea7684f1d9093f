"""The interface of a builder, and what all builders share: the request, the fp32 reference and the manifest."""

from __future__ import annotations

import platform
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, cast

import numpy as np
from pydantic import ValidationError

from ... import errors
from ..._util.validation import first_problem
from ..._util.version import __version__
from ...backends.openvino import OpenVinoBackend
from ...bundle.bundle import Bundle, describe_all, label_fields, shortest_decimal
from ...bundle.manifest import GoldenSpec, InputSpec, Manifest
from ...frames.preprocess import Preprocessor
from ...inference import golden
from . import gate

if TYPE_CHECKING:
    from ...backends import Backend
    from .calibration import CalibrationImages
    from .exported import Exported
    from .tensorrt_options import BuildOptions


class Watcher(Protocol):
    """Receives the progress of a build. Called from TensorRT's threads, one call at a time for each phase."""

    def begin(self, phase: str, parent: str | None, steps: int) -> None:
        """A phase of ``steps`` steps begins, inside the phase ``parent`` if that is given."""

    def step(self, phase: str, done: int) -> None:
        """``done`` steps of a phase are complete."""

    def end(self, phase: str) -> None:
        """A phase has ended, possibly early."""


@dataclass(frozen=True)
class BuildRequest:
    """The arguments of :func:`pvlr_sdk.workshop.compile.build.build` that builders read."""

    out: Path
    precision: str
    calibration_images: CalibrationImages | None
    min_agreement: float | None
    options: BuildOptions | None
    watcher: Watcher | None


class Builder(Protocol):
    """Builds plans for one backend."""

    backend: str
    """A key of :data:`pvlr_sdk.bundle.schema.BACKENDS`."""

    def check(self, precision: str, options: BuildOptions | None) -> None:
        """Raises OptionError for options that this backend does not support, before anything is read."""

    def build(self, source: Exported, request: BuildRequest) -> Bundle:
        """Compile a network, check its accuracy, and return the bundle to write.

        Raises: see :func:`pvlr_sdk.workshop.compile.build.build`.
        """


class Reference:
    """An exported network in fp32 on the CPU, which plans are compared with.

    Raises:
        NonFiniteError: the network gives NaN or infinite logits for the golden frame.
    """

    def __init__(self, source: Exported) -> None:
        self.source = source
        self.frame = golden.default_frame()
        self.preprocess = Preprocessor(source.spec.input)
        self.backend = OpenVinoBackend(source.network, "fp32", cached=False)
        self.logits = golden.logits_of(self.frame, self.backend, self.preprocess)
        if not np.isfinite(self.logits).all():
            raise golden.non_finite(source.network.source)

    def difference(self, backend: Backend, name: str) -> float:
        """The largest difference of a backend's golden logits from fp32. Raises NonFiniteError, which names it.

        The CPU preprocesses: a fault of another preprocessing must not widen the tolerance that would reveal it.
        """
        (logits,) = gate.logits_of_all([self.preprocess.load(self.frame)], backend)
        difference = float(np.abs(logits - self.logits).max())
        if not np.isfinite(difference):
            raise golden.non_finite(name)
        return difference

    def bundle(
        self,
        out: Path,
        payload: bytes,
        *,
        precision: str,
        tolerance: dict[str, float],
        built: dict[str, Any],
        measured: dict[str, Any],
        label_network: bytes | None = None,
        **backend: Any,
    ) -> Bundle:
        """Assemble a bundle and its manifest from the plan and the manifest's fields.

        ``built["machine"]`` names the device; ``label_network`` is the part for labels where that is a file of its own;
        ``backend`` are the fields of one backend and its name.

        Raises:
            AccuracyError: a tolerance is so large that other networks would pass the self-test too.
        """
        spec = self.source.spec
        bank = self.source.bank
        if spec.open:  # only then: the manifest of a closed plan does not name what it lacks
            backend["open"] = spec.open
        try:
            golden_spec = GoldenSpec(
                frame_png=golden.encode(self.frame),
                logits=tuple(shortest_decimal(value) for value in self.logits),
                tolerance=cast(Any, tolerance),
            )
        except ValidationError as error:
            raise errors.AccuracyError(
                f"precision {precision}",
                "golden logits closer to fp32",
                first_problem(error),
                "Build the plan in another precision (--precision).",
            ) from error
        manifest = Manifest(
            **label_fields(bank),
            name=spec.name,
            precision=cast(Any, precision),
            input=InputSpec(
                **spec.input.model_dump()
            ),  # sets every field: a manifest has no implicit defaults
            attention=spec.attention,
            golden=golden_spec,
            built={
                "pvlr_sdk": __version__,
                "onnx_sha256": self.source.network.sha256,
                "source": spec.source,
                "time": datetime.now(timezone.utc).isoformat(timespec="seconds"),
                **built,
                "machine": f"{platform.machine()}, {built['machine']}",
            },
            measured=measured,
            files=describe_all(payload, bank, label_network),
            **backend,
        )
        return Bundle(out, manifest, payload, bank, label_network=label_network)
