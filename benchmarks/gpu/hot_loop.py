"""The instructions that one pass through a kernel's main loop issues, counted in its machine code.

The main loop is the innermost one with tensor-core instructions and a barrier. Its hot path is the way from the loop's
head back to it that executes the most tensor-core instructions and asynchronous copies, and among these the one with
the fewest instructions: what runs when no rare branch is taken. A way through another loop does not count, since the
number of its passes is not in the machine code, nor does one that calls a subroutine. Predicated instructions count
whether or not the predicate holds, because they are issued.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise

_LINE = re.compile(r"^\s+/\*([0-9a-f]+)\*/\s+(?:@(!?U?P\w+)\s+)?([A-Z][A-Z0-9_.]*)([^;]*);", re.MULTILINE)
_ENDS = ("EXIT", "RET", "BRX", "JMX")
TENSOR_CORE = "HMMA"


class LoopError(Exception):
    """A loop has no hot path."""


@dataclass(frozen=True)
class Instruction:
    """One line of a disassembly; ``target`` is the address that a branch goes to."""

    address: int
    opcode: str
    guarded: bool
    target: int | None


def parse(sass: str) -> list[Instruction]:
    """The instructions in the output of ``cuobjdump -sass`` for one function."""
    found = []
    for address, guard, opcode, operands in _LINE.findall(sass):
        guarded = bool(guard) or bool(re.search(r"\b[PR]\w+\s*,", operands))
        # ptxas also leaves loops by calls that never return.
        jumps = opcode.startswith("BRA") or (opcode.startswith("CALL") and guarded)
        target = re.search(r"0x([0-9a-f]+)\s*$", operands) if jumps else None
        found.append(Instruction(int(address, 16), opcode, guarded, int(target[1], 16) if target else None))
    return found


@dataclass
class _Block:
    """Instructions that always run together, and the blocks that can follow."""

    instructions: list[Instruction]
    following: list[int] = field(default_factory=list)

    def count(self, word: str) -> int:
        return sum(one.opcode.split(".")[0] == word for one in self.instructions)


def hot_path(instructions: Sequence[Instruction], exponentials: int = 0) -> Counter[str] | None:
    """Instructions on the hot path by opcode; None without a main loop.

    Args:
        instructions: a kernel's machine code.
        exponentials: that a pass computes at least, as instructions; ways with fewer are never taken.

    Raises:
        LoopError: every way through the main loop leads through another loop.
    """
    blocks = _blocks(instructions)
    loops = _loops(blocks)
    head = _main_loop(blocks, loops)
    return None if head is None else _path(blocks, loops, head, {head}, exponentials)


def around(instructions: Sequence[Instruction], exponentials: int = 0) -> Counter[str]:
    """Instructions on the hot path of the loop around the main loop, without those of the main loop.

    ``exponentials`` is the number that a pass of this loop computes at least.

    Raises:
        LoopError: there is no such loop or path.
    """
    blocks = _blocks(instructions)
    loops = _loops(blocks)
    head = _main_loop(blocks, loops)
    outer = [one for one, body in loops.items() if head is not None and one != head and head in body]
    if head is None or not outer:
        raise LoopError("no loop around the main loop")
    closest = min(outer, key=lambda one: len(loops[one]))
    whole = _path(blocks, loops, closest, {closest, head}, exponentials)
    return whole - _path(blocks, loops, head, {head})


def _main_loop(blocks: dict[int, _Block], loops: dict[int, set[int]]) -> int | None:
    found = {
        head: sum(blocks[i].count(TENSOR_CORE) for i in body)
        for head, body in loops.items()
        if any(blocks[i].count(TENSOR_CORE) for i in body) and any(blocks[i].count("BAR") for i in body)
    }
    innermost = [head for head in found if not any(other != head and other in loops[head] for other in found)]
    return max(innermost, key=found.__getitem__, default=None)


def _path(
    blocks: dict[int, _Block], loops: dict[int, set[int]], head: int, allowed: set[int], exponentials: int = 0
) -> Counter[str]:
    calls = {
        one
        for one in loops[head]
        if any(i.opcode.startswith("CALL") and not i.target for i in blocks[one].instructions)
    }
    path = _best_path(blocks, head, loops[head] - (set(loops) - allowed) - calls, exponentials)
    return Counter(one.opcode for i in path for one in blocks[i].instructions)


def _blocks(instructions: Sequence[Instruction]) -> dict[int, _Block]:
    """Basic blocks by the address of their first instruction."""
    jumps = {one.address: one.target for one in instructions if one.target is not None}
    starts = {instructions[0].address, *jumps.values()}
    for one, after in pairwise(instructions):
        if one.address in jumps or one.opcode.split(".")[0] in _ENDS:
            starts.add(after.address)
    blocks: dict[int, _Block] = {}
    current = None
    for one in instructions:
        if one.address in starts:
            current = blocks[one.address] = _Block([])
        if current is not None:
            current.instructions.append(one)
    order = list(blocks)
    for address, after in zip(order, [*order[1:], None], strict=True):
        block, last = blocks[address], blocks[address].instructions[-1]
        word = last.opcode.split(".")[0]
        conditional = last.guarded or last.opcode.startswith(("BRA.DIV", "BRA.CONV"))
        if last.target is not None:
            block.following.append(last.target)
        if after is not None and ((word not in _ENDS and last.target is None) or conditional):
            block.following.append(after)
    return blocks


def _loops(blocks: dict[int, _Block]) -> dict[int, set[int]]:
    """The blocks of each natural loop, by the loop's head; loops of one head are one."""
    order, before = _reachable(blocks)
    dominators = {one: set(order) for one in order}
    dominators[order[0]] = {order[0]}
    changed = True
    while changed:
        changed = False
        for one in order[1:]:
            new = set.intersection(*(dominators[other] for other in before[one])) | {one}
            changed |= new != dominators[one]
            dominators[one] = new
    loops: dict[int, set[int]] = {}
    for one in order:
        for head in blocks[one].following:
            last = blocks[one].instructions[-1]
            trap = last.address == head and not last.guarded  # at the end of every kernel
            if head in dominators[one] and not trap:
                body = loops.setdefault(head, {head})
                pending = [one]
                while pending:
                    block = pending.pop()
                    if block not in body:
                        body.add(block)
                        pending += before[block]
    return loops


def _reachable(blocks: dict[int, _Block]) -> tuple[list[int], dict[int, list[int]]]:
    """Blocks in the order of a search from the first, and each one's predecessors."""
    first = next(iter(blocks))
    order, before = [first], {first: list[int]()}
    for one in order:
        for after in blocks[one].following:
            if after not in before:
                order.append(after)
                before[after] = []
            before[after].append(one)
    return order, before


def _best_path(blocks: dict[int, _Block], head: int, body: set[int], exponentials: int) -> list[int]:
    """The hot path from the head to a block that leads back to it."""
    # For each block: by tensor-core instructions, copies and exponentials, the shortest way from it back to the head.
    ways: dict[int, dict[tuple[int, int, int], tuple[int, list[int]]]] = {}

    def search(one: int, on_path: frozenset[int]) -> dict[tuple[int, int, int], tuple[int, list[int]]]:
        if one in ways:
            return ways[one]
        block = blocks[one]
        products, copies, exps = (block.count(word) for word in (TENSOR_CORE, "LDGSTS", "MUFU"))
        found: dict[tuple[int, int, int], tuple[int, list[int]]] = {}
        for after in block.following:
            if after == head:
                rest = {(0, 0, 0): (0, list[int]())}
            elif after in body and after not in on_path:
                rest = search(after, on_path | {after})
            else:
                continue
            for (later, copied, computed), (length, path) in rest.items():
                key = later + products, copied + copies, min(computed + exps, exponentials)
                whole = length + len(block.instructions), [one, *path]
                if key not in found or whole[0] < found[key][0]:
                    found[key] = whole
        ways[one] = found
        return found

    found = search(head, frozenset({head})) if head in body else {}
    enough = {key[:2]: way for key, way in found.items() if key[2] >= exponentials}
    if not enough:
        raise LoopError("every way through the main loop leads through another loop, or lacks exponentials")
    return enough[max(enough)][1]
