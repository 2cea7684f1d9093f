"""The server of the overload benchmark."""

from __future__ import annotations

import pytest

from benchmarks.common import ROOT


@pytest.mark.slow
def test_a_server_that_does_not_start_is_said() -> None:
    from benchmarks.cpu.overload import serving  # encodes large images

    with pytest.raises(SystemExit, match="the server did not start"), serving(ROOT, ["--no-such-option"]):
        pass
