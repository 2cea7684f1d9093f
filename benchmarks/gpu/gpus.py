"""Limits of GPUs for the occupancy and their peaks for the roofline, from NVIDIA's documents; nothing is measured."""

from __future__ import annotations

import re
from dataclasses import dataclass
from math import ceil


@dataclass(frozen=True)
class Limits:
    """Resources of one multiprocessor; shared memory in bytes."""

    warps: int
    blocks: int
    shared: int
    shared_of_block: int
    reserved_of_block: int = 1024
    shared_unit: int = 128


LIMITS_SOURCE = (
    'CUDA C++ Programming Guide 13.0, "Technical Specifications per Compute Capability"; allocation units from '
    "cuda_occupancy.h of CUDA 13.0"
)
_REGISTERS = 64 * 1024  # 32-bit registers of a multiprocessor, the same on all architectures here
_REGISTER_UNIT = 256  # allocation unit of a warp's registers
_PARTITIONS = 4  # partitions of a multiprocessor, each with a quarter of the registers

_KIB = 1024
LIMITS = {
    75: Limits(32, 16, 64 * _KIB, 64 * _KIB, reserved_of_block=0, shared_unit=256),
    80: Limits(64, 32, 164 * _KIB, 163 * _KIB),
    86: Limits(48, 16, 100 * _KIB, 99 * _KIB),
    87: Limits(48, 16, 164 * _KIB, 163 * _KIB),
    89: Limits(48, 24, 100 * _KIB, 99 * _KIB),
    90: Limits(64, 32, 228 * _KIB, 227 * _KIB),
    100: Limits(64, 32, 228 * _KIB, 227 * _KIB),
    110: Limits(48, 24, 228 * _KIB, 227 * _KIB),
    120: Limits(48, 24, 100 * _KIB, 99 * _KIB),
}
"""By compute capability: 87 stands for 8.7."""


def occupancy(capability: int, threads: int, registers: int, shared: int) -> tuple[float, str]:
    """Theoretical occupancy (0.0 where not even one block fits) and the resource that limits it.

    Args:
        threads: per block.
        registers: per thread.
        shared: bytes of shared memory per block, static and dynamic.
    """
    limits = LIMITS[capability]
    warps = ceil(threads / 32)
    if shared > limits.shared_of_block:
        return 0.0, "shared memory"
    of_warp = ceil(registers * 32 / _REGISTER_UNIT) * _REGISTER_UNIT
    of_block = ceil((shared + limits.reserved_of_block) / limits.shared_unit) * limits.shared_unit
    fitting = {
        "warps": limits.warps // warps,
        "blocks": limits.blocks,
        "registers": _REGISTERS // _PARTITIONS // of_warp * _PARTITIONS // warps,
        "shared memory": limits.shared // of_block if of_block else limits.blocks,
    }
    reason = min(fitting, key=fitting.__getitem__)
    return fitting[reason] * warps / limits.warps, reason


@dataclass(frozen=True)
class Device:
    """Peaks of a GPU: ``tensor`` for dense matrix products of two-byte types on tensor cores and ``float32`` without
    them, in FLOP/s; ``bandwidth`` of the memory in bytes per second. ``source`` documents the numbers. ``pattern`` is a
    regular expression for the device name in CUDA; Jetsons differ by their number of multiprocessors."""

    name: str
    capability: int
    tensor: float
    float32: float
    bandwidth: float
    source: str
    pattern: str
    multiprocessors: int | None = None


# fmt: off
DEVICES = (
    Device(
        "Jetson Orin Nano 8GB", 87, 16.7e12, 2.09e12, 102e9,
        "Jetson Orin Nano Super Developer Kit data sheet: 67 INT8 TOPS with sparsity, 1024 CUDA cores at 1020 MHz, "
        "102 GB/s (MAXN SUPER mode). Two-byte dense is a quarter of sparse INT8; float32 is cores x 2 x clock",
        "Orin", 8,
    ),
    Device(
        "Jetson AGX Orin 64GB", 87, 42.5e12, 5.3e12, 204.8e9,
        "Jetson AGX Orin Series Technical Brief: GPU with 170 INT8 TOPS with sparsity, 5.3 FP32 TFLOPS, 204.8 GB/s. "
        "Two-byte dense is a quarter of sparse INT8",
        "Orin", 16,
    ),
    Device(
        "L4", 89, 121e12, 30.3e12, 300e9,
        "NVIDIA L4 data sheet: FP16 242 TFLOPS with sparsity (dense is half), FP32 30.3 TFLOPS, 300 GB/s",
        r"\bL4\b",
    ),
    Device(
        "H100 SXM", 90, 989.5e12, 67e12, 3.35e12,
        "NVIDIA H100 data sheet: FP16 1,979 TFLOPS with sparsity (dense is half), FP32 67 TFLOPS, 3.35 TB/s. Only "
        "wgmma reaches this peak; the kernels use mma.sync",
        r"\bH100\b(?!.*(PCIe|NVL))",
    ),
)
# fmt: on


_PARTITION_EXPS = 4  # exponentials per clock and partition, a quarter of a multiprocessor's 16
_PARTITION_ADDS = 32  # float32 multiply-adds, a quarter of 128
_PRODUCT = 16 * 16 * 8  # multiply-adds of one tensor-core instruction (m16n8k16)


def pass_cycles(device: Device, products: int, exponentials: int) -> tuple[float, float]:
    """Cycles of a partition's tensor cores and of its unit for exponentials, for one warp's pass of a main loop."""
    rate = device.tensor / device.float32 * _PARTITION_ADDS
    return products * _PRODUCT / rate, exponentials * 32 / _PARTITION_EXPS


def find(name: str, multiprocessors: int = 0) -> Device | None:
    """The data sheet of a card, by its name in CUDA or in this file; None if it is unknown."""
    for device in DEVICES:
        fits = device.multiprocessors in (None, multiprocessors) and re.search(device.pattern, name)
        if device.name == name or fits:
            return device
    return None


EXP_SOURCE = (
    'CUDA C++ Programming Guide, "Throughput of Native Arithmetic Instructions": 16 exponentials per clock and '
    "multiprocessor on all of these, and 128 float32 multiply-adds"
)


def bound(device: Device, flops: float, exps: float, moved: float, *, tensor: bool) -> tuple[float, str]:
    """Lower bound of the time in seconds, and the roof that sets it (a roofline with a third roof for exponentials).

    Args:
        flops: operations; a multiply-add counts as two.
        exps: exponentials and other special functions.
        moved: bytes, each input read once and each output written once.
        tensor: whether the arithmetic runs on tensor cores.
    """
    roofs = {
        "arithmetic": flops / (device.tensor if tensor else device.float32),
        "exponentials": exps / (device.float32 / 16),
        "memory": moved / device.bandwidth,
    }
    highest = max(roofs, key=roofs.__getitem__)
    return roofs[highest], highest
