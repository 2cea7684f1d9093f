"""Whether a TensorRT plan can run here, decided before TensorRT sees it: a plan is native code."""

from __future__ import annotations

import platform
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from ... import errors
from ...manifest import Manifest, TensorRtSpec
from ...tensorrt.library import parse_version
from .cuda import Gpu


class Misfit(NamedTuple):
    """One reason why a plan does not run here."""

    what: str
    built_for: str
    here: str


def misfits(spec: TensorRtSpec, version: str, gpu: Gpu, plugins: str | None) -> list[Misfit]:
    """All reasons why a plan does not run here; none: it should.

    Args:
        spec: what the plan was built with.
        version: TensorRT's version here.
        gpu: the GPU here.
        plugins: version of our plugin library here; None: it is not there.
    """
    return list(_misfits(spec, version, gpu, plugins))


def _misfits(spec: TensorRtSpec, version: str, gpu: Gpu, plugins: str | None) -> Iterator[Misfit]:
    if spec.machine != platform.machine():
        yield Misfit("processor", spec.machine, platform.machine())
    if not _version_fits(spec, version):
        newer = " or newer" if spec.version_compatible else ""
        yield Misfit("TensorRT", spec.version + newer, version)
    here = "{}.{}".format(*gpu.capability)
    if spec.hardware == "ampere+":
        if gpu.capability < (8, 0):
            yield Misfit("GPU", "Ampere and newer", f"{gpu.name}, compute capability {here}")
    elif spec.capability != here:
        yield Misfit(
            "GPU", f"{spec.gpu}, compute capability {spec.capability}", f"{gpu.name}, compute capability {here}"
        )
    elif spec.hardware == "this" and spec.gpu != gpu.name:
        yield Misfit("GPU", spec.gpu, gpu.name)
    elif spec.hardware == "this" and spec.multiprocessors not in (None, gpu.multiprocessors):
        built, here = (
            f"{gpu.name} with {count} multiprocessors" for count in (spec.multiprocessors, gpu.multiprocessors)
        )
        yield Misfit("GPU", built, here)
    if spec.plugins is not None and spec.plugins != plugins:
        yield Misfit("plugin library", f"version {spec.plugins}", f"version {plugins}" if plugins else "none")


def check(manifest: Manifest, path: Path, version: str, gpu: Gpu, plugins: str | None) -> None:
    """Raises PlanMismatchError with every reason, and the command that builds the plan for this machine."""
    assert manifest.tensorrt is not None
    found = misfits(manifest.tensorrt, version, gpu, plugins)
    if found:
        raise errors.PlanMismatchError(
            str(path),
            expected="; ".join(f"{misfit.what}: {misfit.built_for}" for misfit in found),
            got="; ".join(misfit.here for misfit in found),
            hint=f"Build it on this machine: {build_command(manifest, path)}",
        )


def build_command(manifest: Manifest, path: Path) -> str:
    """The command that builds this plan again."""
    spec = manifest.tensorrt
    assert spec is not None
    options = [f"--batch {':'.join(map(str, spec.batch))}", f"--attention {spec.attention}"]
    if spec.hardware != "this":
        options.append(f"--hardware {spec.hardware}")
    if spec.version_compatible:
        options.append("--version-compatible")
    if spec.dla is not None:
        options.append(f"--dla {spec.dla}")
    source = manifest.built.get("onnx", "model.onnx")
    return f"pvlr build {source} -o {path.name} --device tensorrt {' '.join(options)}"


def _version_fits(spec: TensorRtSpec, version: str) -> bool:
    built, here = parse_version(spec.version), parse_version(version)
    return here >= built if spec.version_compatible else here == built
