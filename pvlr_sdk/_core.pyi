from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

def preprocess(
    pixels: NDArray[np.uint8],
    order: str,
    out: NDArray[np.float32],
    region: tuple[int, int, int, int],
    scale: Sequence[float],
    bias: Sequence[float],
    pad: Sequence[float],
) -> None: ...
def dual_softmax_attention(
    q_x: NDArray[Any],
    k_t: NDArray[Any],
    v_x: NDArray[Any],
    v_t: NDArray[Any],
    mask: NDArray[np.uint8] | None,
    o_x: NDArray[Any],
    o_t: NDArray[Any],
    type: str,
) -> None: ...
def instruction_set() -> str: ...
