"""How long to wait before a lost camera is tried again."""

from __future__ import annotations

import math
import random
from dataclasses import dataclass

from .. import errors


@dataclass(frozen=True)
class Backoff:
    """Waits that grow exponentially and differ by chance, so that many cameras don't come back in one moment.

    Args:
        first: seconds before the first attempt.
        factor: how much longer each further wait is.
        most: no wait is longer; short enough for a camera to be back within seconds of its return.
        jitter: up to this fraction of a wait is taken away by chance.
        denied: seconds between attempts with credentials that were refused; many cameras lock accounts.

    Raises:
        OptionError: a value can't be.
    """

    first: float = 0.25
    factor: float = 2.0
    most: float = 3.0
    jitter: float = 0.5
    denied: float = 30.0

    def __post_init__(self) -> None:
        for name, least, most in (
            ("first", 0, math.inf),
            ("factor", 1, math.inf),
            ("most", 0, math.inf),
            ("jitter", 0, 1),
            ("denied", 0, math.inf),
        ):
            value = getattr(self, name)
            if not (math.isfinite(value) and least <= value <= most):
                expected = f"a number from {least}" + (f" to {most}" if math.isfinite(most) else " on")
                raise errors.OptionError(f"reconnect.{name}", expected=expected, got=repr(value), hint="See Backoff.")

    def delay(self, attempt: int) -> float:
        """Seconds to wait before attempt 0, 1, 2, ... since the camera was last there."""
        # 2 ** 60 is past any wait; without the bound a camera that is away for weeks overflows the power.
        longest = min(self.first * self.factor ** min(attempt, 60), self.most)
        return longest * (1 - self.jitter * random.random())
