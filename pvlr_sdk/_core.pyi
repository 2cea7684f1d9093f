from collections.abc import Sequence

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
def instruction_set() -> str: ...
