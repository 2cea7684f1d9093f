"""The benchmarks are scripts and no package: tests find them at the end of the path, where they shadow nothing."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parents[1] / "benchmarks"))
