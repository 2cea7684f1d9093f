"""The CUDA kernels of the kernel report. A new kernel is one entry in ``KERNELS``."""

from __future__ import annotations

from dataclasses import dataclass

SIZES = {"float32": 4, "float16": 2, "bfloat16": 2}


@dataclass(frozen=True)
class Function:
    """One ``__global__`` function template.

    Attributes:
        shared: a C++ expression for its dynamic shared memory in bytes; ``{0}`` is its template arguments.
        needs: instructions that it must contain for two-byte types: ``HMMA`` (tensor cores), ``LDSM`` (ldmatrix) or
            ``LDGSTS`` (cp.async). :func:`required` gives their names on each architecture.
        loop: what one pass of a warp through the main loop cannot do without; None: not counted.
    """

    shared: str
    needs: tuple[str, ...] = ()
    loop: Loop | None = None

    def expressions(self, arguments: str) -> list[str]:
        """The C++ expressions for a kernel: of its shared memory, then of its loop, if it has one."""
        loop = self.loop
        parts = [self.shared, *(vars(loop).values() if loop else ())]
        return [part.format(arguments) for part in parts]


@dataclass(frozen=True)
class Loop:
    """C++ expressions for the work of one warp in one pass of the main loop; ``{0}`` is the kernel's shape.

    Attributes:
        products: multiplications of 16x16 by 16x8 on tensor cores.
        exponentials: instructions, one for the 32 values of a warp.
        tokens, labels: of the tile and block that the thread block works on; sizes are padded to these.
        passes: of the main loop in one of the loop around it, whose instructions then count, too; 0: they don't.
        exponentials_around: in a pass of that loop.
    """

    products: str
    exponentials: str
    tokens: str
    labels: str
    passes: str = "0"
    exponentials_around: str = "0"


@dataclass(frozen=True)
class Workload:
    """One call: floating-point operations (a multiply-add counts as two), exponentials, the minimum number of elements
    of the kernel's type that are read or written, and bytes of other types."""

    name: str
    flops: float
    exps: float
    elements: float
    other_bytes: float = 0.0

    def bytes(self, dtype: str) -> float:
        """Bytes that are moved at least, for a type of ``SIZES``."""
        return self.elements * SIZES[dtype] + self.other_bytes


@dataclass(frozen=True)
class Kernel:
    """A kernel, ``csrc/kernels/<name>``, whose instances its ``instance.cu.in`` lists.

    ``header`` is what the instances include; ``functions`` are those compiled with them, by name.
    """

    name: str
    header: str
    functions: dict[str, Function]
    workloads: tuple[Workload, ...]


def required(opcode: str, capability: int, kind: str) -> str | None:
    """Name of an instruction in the machine code of an architecture; None where it does not exist."""
    if kind == "float32":
        return None
    if opcode == "LDGSTS":
        return "LDGSTS" if capability >= 80 else None
    if opcode == "HMMA" and capability < 80:
        return "HMMA.1688.F32" if kind == "float16" else None  # Turing's tensor cores do not support bfloat16
    return "HMMA.16816.F32" if opcode == "HMMA" else opcode


def attention_load(name: str, batch: int, heads: int, tokens: int, labels: int, dim: int) -> Workload:
    """Three products and two softmaxes per head; q_x, v_x, o_x, o_t once per image, k_t and v_t once per batch."""
    affinities = float(batch * heads * tokens * labels)
    elements = heads * dim * (3 * batch * tokens + batch * labels + 2 * labels)
    sizes = f"{batch} x {heads} heads, {tokens} tokens, {labels} labels, dim {dim}"
    return Workload(f"{name}: {sizes}", 6 * dim * affinities, 2 * affinities, elements)


def tag_head_load(name: str, batch: int, tokens: int, labels: int, width: int) -> Workload:
    """One product (tokens, width, labels) per image, a softmax over tokens, a sigmoid; logits, scores and tags."""
    similarities = float(batch * tokens * labels)
    other = batch * labels * (4 + 4 + 1) + 2 * 4 * labels + 4 * 4 * width
    elements = batch * (tokens + labels) * width
    sizes = f"{batch} x {tokens} tokens, {labels} labels, width {width}"
    return Workload(f"{name}: {sizes}", 2 * width * similarities, similarities + batch * labels, elements, other)


def preprocess_load(name: str, frames: int, height: int, width: int, frame_bytes: float, side: int) -> Workload:
    """A triangle filter down and across, two output pixels wide, on three channels; each frame is read once."""
    down, across = max(height / side, 1), max(width / side, 1)
    flops = 2 * 3 * frames * (side * width * 2 * down + side * side * 2 * across)
    sizes = f"{frames} x {height} x {width} to {side} x {side}"
    return Workload(f"{name}: {sizes}", flops, 0, 3 * frames * side * side, frames * frame_bytes * height * width)


# A pass is a tile of 32 tokens: three products of it with the warp's 16 * kMTiles labels, and two softmaxes.
ATTENTION_LOOP = Loop("3 * {0}::kMTiles * {0}::kDim / 4", "32 * {0}::kMTiles", "32", "{0}::kColumns")
# A pass is a slice of a width of 512, for the thread block's tile of tokens and labels; around it are the softmax over
# tokens and, in kernels that are not plain, the norms.
TAG_HEAD_LOOP = Loop(
    "{0}::kRows * {0}::kColumns * {0}::kSlice / 2048 / ({0}::kThreads / 32)",
    "0",
    "{0}::kRows",
    "{0}::kColumns",
    "512 / {0}::kSlice",
    "{0}::kRows / {0}::kParts",
)
MANY_LABELS = (784, 4585)
"""Tokens and labels of the call that the report gives the share of the roofline for."""

KERNELS = (
    Kernel(
        "dual_softmax_attention",
        "kernels/dual_softmax_attention/kernel.cuh",
        {
            "mma_attention": Function("{0}::kSharedBytes", needs=("HMMA", "LDSM", "LDGSTS"), loop=ATTENTION_LOOP),
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
        "kernels/tag_head/kernel.cuh",
        {
            "tag_head": Function("{0}::kSharedBytes", needs=("HMMA", "LDSM", "LDGSTS"), loop=TAG_HEAD_LOOP),
            "normalise_tag_head": Function("0"),
        },
        (
            tag_head_load("the shipped coco80 model", 1, 81, 80, 256),
            tag_head_load("a batch of it", 8, 81, 80, 256),
            tag_head_load("many labels", 1, 324, 4585, 512),
        ),
    ),
    Kernel(
        "preprocess",
        "kernels/preprocess/kernel.cuh",
        {"preprocess_batch": Function("pvlr::device::kBatchSharedBytes")},
        (
            preprocess_load("a camera, NV12", 1, 1080, 1920, 1.5, 288),
            preprocess_load("a camera, BGR", 1, 1080, 1920, 3, 288),
            preprocess_load("eight cameras, NV12", 8, 1080, 1920, 1.5, 288),
            preprocess_load("4K, NV12", 1, 2160, 3840, 1.5, 288),
        ),
    ),
)
