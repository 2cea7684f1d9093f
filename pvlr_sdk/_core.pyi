from collections.abc import Sequence
from typing import Any

from numpy.typing import NDArray

class Tensor:
    @staticmethod
    def from_numpy(array: NDArray[Any]) -> Tensor: ...
    @staticmethod
    def from_dlpack(capsule: object) -> Tensor: ...
    @staticmethod
    def from_cuda_array_interface(interface: dict[str, Any], owner: object) -> Tensor: ...
    def with_batch(self) -> Tensor: ...
    @property
    def is_contiguous(self) -> bool: ...
    @property
    def shape(self) -> tuple[int, ...]: ...
    @property
    def strides(self) -> tuple[int, ...]: ...
    @property
    def pointer(self) -> int: ...
    @property
    def extent(self) -> tuple[int, int]: ...
    @property
    def device(self) -> str: ...
    @property
    def type(self) -> str: ...
    @property
    def item_bytes(self) -> int: ...
    @property
    def on_cuda(self) -> bool: ...
    @property
    def writable(self) -> bool: ...
    @property
    def ready_on(self) -> int | None: ...

def has_cuda() -> bool: ...
def dual_softmax_attention(
    q_x: Tensor,
    k_t: Tensor,
    v_x: Tensor,
    v_t: Tensor,
    mask: Tensor | None,
    threads: int,
    o_x: Tensor,
    o_t: Tensor,
    stream: int,
) -> None: ...
def tag_head(
    x: Tensor,
    t: Tensor,
    x_norm: tuple[Tensor | None, Tensor | None],
    t_norm: tuple[Tensor | None, Tensor | None],
    bias: Tensor | None,
    thresholds: Tensor | None,
    chosen: Tensor | None,
    scale: float,
    alpha: float,
    epsilon: float,
    map_similarity: bool,
    threads: int,
    logits: Tensor,
    scores: Tensor | None,
    tags: Tensor | None,
    nonfinite: Tensor | None,
    maps: Tensor | None,
    stream: int,
) -> None: ...
def preprocess_batch(
    frames: Sequence[tuple[Sequence[Tensor], str, Sequence[int], Sequence[int]]],
    out: Tensor,
    scale: Sequence[float],
    bias: Sequence[float],
    pad: Sequence[float],
    threads: int,
    stream: int,
) -> None: ...
def check_network(network: bytes) -> tuple[bool, str, str] | None: ...

MAX_NETWORK_ELEMENTS: int
