"""What benchmarks/kernel_report.py knows of each CUDA kernel. A new kernel is one more entry here."""

from __future__ import annotations

from dataclasses import dataclass

SIZES = {"float32": 4, "float16": 2, "bfloat16": 2}


@dataclass(frozen=True)
class Function:
    """One ``__global__`` function template.

    Attributes:
        shared: a C++ expression for its dynamic shared memory in bytes; ``{0}`` is its template arguments.
        needs: instructions that it must not lose for two-byte types, of ``HMMA`` (tensor cores), ``LDSM`` (ldmatrix)
            and ``LDGSTS`` (cp.async). How they are called on each architecture is in :func:`required`.
    """

    shared: str
    needs: tuple[str, ...] = ()


@dataclass(frozen=True)
class Workload:
    """One call: floating-point operations (a multiply-add is two), exponentials, elements of the kernel's type that it
    must read or write at least, and bytes of other types beside them."""

    name: str
    flops: float
    exps: float
    elements: float
    other_bytes: float = 0.0


@dataclass(frozen=True)
class Kernel:
    """A family of instantiations: ``csrc/kernels/instances/<name>_<type>[_<size>].cu``.

    ``header`` is what the instantiations include; ``functions`` are those compiled with them, by name.
    """

    name: str
    header: str
    functions: dict[str, Function]
    workloads: tuple[Workload, ...]


def required(opcode: str, capability: int, kind: str) -> str | None:
    """What an instruction is called in the machine code of an architecture; None where it doesn't exist."""
    if kind == "float32":
        return None
    if opcode == "LDGSTS":
        return "LDGSTS" if capability >= 80 else None
    if opcode == "HMMA" and capability < 80:
        return "HMMA.1688.F32" if kind == "float16" else None  # Turing's tensor cores don't know bfloat16
    return "HMMA.16816.F32" if opcode == "HMMA" else opcode


def attention_load(name: str, batch: int, heads: int, tokens: int, labels: int, dim: int) -> Workload:
    """Three products and two softmaxes a head; q_x, v_x, o_x, o_t once an image, k_t and v_t once for all."""
    affinities = float(batch * heads * tokens * labels)
    elements = heads * dim * (3 * batch * tokens + batch * labels + 2 * labels)
    sizes = f"{batch} x {heads} heads, {tokens} tokens, {labels} labels, dim {dim}"
    return Workload(f"{name}: {sizes}", 6 * dim * affinities, 2 * affinities, elements)


def tag_head_load(name: str, batch: int, tokens: int, labels: int, width: int) -> Workload:
    """One product (tokens, width, labels) an image, a softmax over tokens, a sigmoid; logits, scores and tags."""
    similarities = float(batch * tokens * labels)
    other = batch * labels * (4 + 4 + 1) + 2 * 4 * labels + 4 * 4 * width
    elements = batch * (tokens + labels) * width
    sizes = f"{batch} x {tokens} tokens, {labels} labels, width {width}"
    return Workload(f"{name}: {sizes}", 2 * width * similarities, similarities + batch * labels, elements, other)


def preprocess_load(name: str, pictures: int, height: int, width: int, frame_bytes: float, side: int) -> Workload:
    """Down and along a triangle that is two source pixels of an output wide, three channels; a frame is read once."""
    down, across = max(height / side, 1), max(width / side, 1)
    flops = 2 * 3 * pictures * (side * width * 2 * down + side * side * 2 * across)
    sizes = f"{pictures} x {height} x {width} to {side} x {side}"
    return Workload(f"{name}: {sizes}", flops, 0, 3 * pictures * side * side, pictures * frame_bytes * height * width)


KERNELS = (
    Kernel(
        "dual_softmax_attention",
        "kernels/dual_softmax_attention_launch.cuh",
        {
            "mma_attention": Function("{0}::kSharedBytes", needs=("HMMA", "LDSM", "LDGSTS")),
            "fp32_attention": Function("{0}::kSharedBytes"),
            "merge_attention": Function("0"),
        },
        (
            attention_load("the shipped coco80 model", 1, 8, 81, 80, 32),
            attention_load("a batch of it", 8, 8, 81, 80, 32),
            attention_load("many labels", 1, 8, 324, 4585, 64),
            attention_load("the largest", 8, 8, 4096, 8192, 128),
        ),
    ),
    Kernel(
        "tag_head",
        "kernels/tag_head_launch.cuh",
        {"tag_head": Function("{0}::kSharedBytes", needs=("HMMA", "LDSM", "LDGSTS"))},
        (
            tag_head_load("the shipped coco80 model", 1, 81, 80, 256),
            tag_head_load("a batch of it", 8, 81, 80, 256),
            tag_head_load("many labels", 1, 324, 4585, 512),
        ),
    ),
    Kernel(
        "preprocess_batch",
        "kernels/preprocess_batch_kernel.cuh",
        {"preprocess_batch": Function("pvlr::device::kBatchSharedBytes")},
        (
            preprocess_load("a camera, NV12", 1, 1080, 1920, 1.5, 288),
            preprocess_load("a camera, BGR", 1, 1080, 1920, 3, 288),
            preprocess_load("eight cameras, NV12", 8, 1080, 1920, 1.5, 288),
            preprocess_load("4K, NV12", 1, 2160, 3840, 1.5, 288),
        ),
    ),
)
