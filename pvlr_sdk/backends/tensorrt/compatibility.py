"""Whether a TensorRT plan fits this machine, checked before TensorRT reads it: a plan is native code."""

from __future__ import annotations

import platform
from collections.abc import Iterator
from pathlib import Path
from shlex import quote
from typing import NamedTuple

from ... import errors
from ...bundle.manifest import Manifest, TensorRtSpec
from .cuda import Gpu
from .library import parse_version


class Mismatch(NamedTuple):
    """One reason why a plan does not run on this machine."""

    what: str
    built_for: str
    here: str


def mismatches(
    spec: TensorRtSpec, version: str, gpu: Gpu, plugins: str | None
) -> Iterator[Mismatch]:
    """All reasons why a plan does not run on this machine.

    Args:
        spec: what the plan was built with.
        version: the installed version of TensorRT.
        gpu: this machine's GPU.
        plugins: version of the installed plugin library; None: it is not installed.
    """
    if spec.machine != platform.machine():
        yield Mismatch("processor", spec.machine, platform.machine())
    if not _version_fits(spec, version):
        newer = " or newer" if spec.version_compatible else ""
        yield Mismatch("TensorRT", spec.version + newer, version)
    here = "{}.{}".format(*gpu.capability)
    if spec.hardware == "ampere+":
        if gpu.capability < (8, 0):
            yield Mismatch("GPU", "Ampere and newer", f"{gpu.name}, compute capability {here}")
    elif spec.capability != here:
        yield Mismatch(
            "GPU",
            f"{spec.gpu}, compute capability {spec.capability}",
            f"{gpu.name}, compute capability {here}",
        )
    elif spec.hardware == "this" and spec.gpu != gpu.name:
        yield Mismatch("GPU", spec.gpu, gpu.name)
    elif spec.hardware == "this" and spec.multiprocessors not in (None, gpu.multiprocessors):
        built, here = (
            f"{gpu.name} with {count} multiprocessors"
            for count in (spec.multiprocessors, gpu.multiprocessors)
        )
        yield Mismatch("GPU", built, here)
    if spec.plugins is not None and spec.plugins != plugins:
        yield Mismatch(
            "plugin library", f"version {spec.plugins}", f"version {plugins}" if plugins else "none"
        )


def check(manifest: Manifest, path: Path, version: str, gpu: Gpu, plugins: str | None) -> None:
    """Raises PlanMismatchError with every mismatch and the command that builds the plan on this machine."""
    assert manifest.tensorrt is not None
    differences = list(mismatches(manifest.tensorrt, version, gpu, plugins))
    if differences:
        raise errors.PlanMismatchError(
            str(path),
            "; ".join(f"{mismatch.what}: {mismatch.built_for}" for mismatch in differences),
            "; ".join(mismatch.here for mismatch in differences),
            f"Build it on this machine: {build_command(manifest, path)}",
        )


def build_command(manifest: Manifest, path: Path) -> str:
    """The command that rebuilds this plan."""
    spec = manifest.tensorrt
    assert spec is not None
    options = [f"--batch {':'.join(map(str, spec.batch))}", f"--attention {spec.attention}"]
    if manifest.precision != "fp16":
        options.append(f"--precision {manifest.precision}")
    if manifest.precision == "int8":
        options.append("--calibration-images DIR")
    if spec.hardware != "this":
        options.append(f"--hardware {spec.hardware}")
    if spec.version_compatible:
        options.append("--version-compatible")
    if not spec.maps:
        options.append("--no-maps")
    if spec.dla is not None:
        options.append(f"--dla {spec.dla}")
    files = quote(str(manifest.built.get("onnx", "model.onnx"))), quote(path.name)
    return f"pvlr build {files[0]} -o {files[1]} --device tensorrt {' '.join(options)}"


def _version_fits(spec: TensorRtSpec, version: str) -> bool:
    built = parse_version(spec.version)
    here = parse_version(version)
    return here >= built if spec.version_compatible else here == built
