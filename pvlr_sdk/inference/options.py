"""How a tagger loads its plan and computes its results."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from ..trust import Trust


@dataclass(frozen=True)
class Options:
    """The keyword arguments of ``Tagger``, which describes them; ``trust`` is the trust in force."""

    threshold: float | Mapping[str, float] | None = None
    operating_point: str = "f1"
    top_k: int | None = None
    device: str = "auto"
    optimize: str = "latency"
    num_threads: int | None = None
    precision: str | None = None
    reduced_jpeg: bool = False
    trust: Trust | None = None
    allow_unsigned: bool | None = None
    isolate: bool = False

    def with_rollback(self) -> Options:
        """The same, but a bundle that is older than one that was in use is accepted."""
        return self if self.trust is None else replace(self, trust=replace(self.trust, allow_rollback=True))
