"""Instructions on the hot path of a kernel's main loop, counted in hand-written machine code."""

from __future__ import annotations

from collections import Counter

import pytest

from benchmarks.gpu.hot_loop import LoopError, around, hot_path, parse

# An outer loop from 0x10; the main loop from 0x20 to 0x90; a rare branch at 0x70 that goes to 0xc0 and comes back.
MAIN = """
        /*0000*/                   MOV R1, c[0x0][0x28] ;
        /*0010*/                   IADD3 R9, R9, 0x1, RZ ;
        /*0020*/                   BAR.SYNC.DEFER_BLOCKING 0x0 ;
        /*0030*/              @P3 BRA 0x60 ;
        /*0040*/                   MUFU.EX2 R4, R4 ;
        /*0050*/                   FADD.FTZ R4, R4, R5 ;
        /*0060*/                   HMMA.16816.F32 R8, R8, R10, RZ ;
        /*0070*/              @P1 BRA 0xc0 ;
        /*0080*/             @!P2 FMUL R3, R3, R4 ;
        /*0090*/              @P0 BRA 0x20 ;
        /*00a0*/             @!P0 BRA 0x10 ;
        /*00b0*/                   EXIT ;
        /*00c0*/                   FMNMX R3, R3, R4, !PT ;
        /*00d0*/                   BRA 0x80 ;
        /*00e0*/                   BRA 0xe0 ;
        /*00f0*/                   NOP ;
"""


def test_the_path_is_the_shortest_with_all_tensor_core_instructions() -> None:
    expected = ["BAR.SYNC.DEFER_BLOCKING", "BRA", "HMMA.16816.F32", "BRA", "FMUL", "BRA"]
    assert hot_path(parse(MAIN)) == Counter(expected)


def test_a_branch_with_tensor_core_instructions_is_on_the_path() -> None:
    longer = MAIN.replace("MUFU.EX2 R4, R4", "HMMA.16816.F32 R12, R8, R10, RZ")
    path = hot_path(parse(longer))
    assert path is not None
    assert (path["HMMA.16816.F32"], path.total()) == (2, 8)


def test_the_path_does_not_lead_through_another_loop() -> None:
    spinning = MAIN.replace("@!P2 FMUL R3, R3, R4", " @P2 BRA 0x80")
    with pytest.raises(LoopError, match="leads through another loop"):
        hot_path(parse(spinning))


def test_the_loop_around_is_counted_without_the_main_loop() -> None:
    assert around(parse(MAIN)) == Counter(["IADD3", "BRA"])


@pytest.mark.parametrize("word", ["HMMA.16816.F32", "BAR.SYNC.DEFER_BLOCKING"])
def test_a_kernel_without_tensor_cores_or_barrier_has_no_main_loop(word: str) -> None:
    assert hot_path(parse(MAIN.replace(word, "FADD"))) is None
