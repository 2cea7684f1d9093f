"""A loss or gradient that is no number: the batch is kept, and the run stops before it spoils the weights."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any, NoReturn

from torch import Tensor

from pvlr_sdk.errors import LossError

from .checkpoint import write_pair
from .state import has_state


def stop_at(what: str, value: float, path: Path, batch: dict[str, Tensor], details: dict[str, Any]) -> NoReturn:
    """Keep the batch in the safetensors file ``path``, with the details (files, step, rates) in a JSON file beside it.

    Raises:
        LossError: always; it names the photos and the way out.
    """
    write_pair(path, batch, details)
    files = details["files"]
    finite = all(t.isfinite().all() for t in batch.values() if t.is_floating_point())
    cause = "" if finite else " from inputs that are not finite either"
    shown = ", ".join(files[:4]) + (f" and {len(files) - 4} more" if len(files) > 4 else "")
    kind = "NaN" if math.isnan(value) else "infinity"
    stage = details["stage"]
    sound = "add --resume: the run goes on from its last state, which is sound"
    way = sound if has_state(path.parent) else "start again: no state was saved yet"
    raise LossError(
        what,
        expected="a finite number",
        got=f"{kind}{cause} at step {details['step']} of {stage} epoch {details['epoch']}, photos {shown}",
        hint=f"The batch is in {path}. Lower train.{stage}.lr or train.grad_clip and {way}.",
    )
