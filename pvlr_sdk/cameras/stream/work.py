"""The work of a frame: its parts and their tiles are tagged one by one, so that cameras take turns between them."""

from __future__ import annotations

from collections import deque
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from ...frames.frames import Region, load_frame
from ...frames.tiles import MAX_TILES, Layout, layout_of, rectangles
from ...result import TagResult
from ..sources import CapturedFrame
from .camera import Camera
from .regions import Part
from .still import Look, StillScene

if TYPE_CHECKING:
    from ...tagger import Tagger


@dataclass(eq=False)
class PartWork:
    """A part of a frame, and what has been computed of it.

    Attributes:
        tiles: None: those of the tagger.
        tagged: by rectangle, the results that are kept, and those that were computed one by one.
        result: of the whole part, once it is complete.
    """

    part: Part
    scene: StillScene
    look: Look
    tiles: Layout | None
    tagged: dict[Region, TagResult] = field(default_factory=dict)
    result: TagResult | None = None


@dataclass(eq=False)
class Piece:
    """What is tagged in one turn: a rectangle of a part; None: the part as it is.

    ``inferences``: 1, or 0 if all its results are kept.
    """

    part: PartWork
    rectangle: Region | None
    inferences: float


@dataclass(eq=False)
class FrameWork:
    """A frame of a camera that is being tagged.

    Attributes:
        parts: in the order of the camera's.
        left: the pieces that have not been started.
        failed: whether a piece has failed; then nothing is left.
    """

    index: int
    frame: CapturedFrame
    parts: list[PartWork] = field(default_factory=list)
    left: deque[Piece] = field(default_factory=deque)
    failed: bool = False

    def start(self, piece: Piece, tagger: Tagger) -> Future[TagResult]:
        """Tag a piece. Raises what ``predict_async`` raises."""
        work = piece.part
        color = self.frame.color
        if piece.rectangle is None:
            return tagger.predict_async(
                work.look.pixels, color=color, tiles=work.tiles, kept=work.look.kept
            )
        cut = load_frame(work.look.pixels, color).cut(piece.rectangle)
        return tagger.predict_async(cut, color=color, tiles=(1, 1))

    def keep(self, piece: Piece, result: TagResult) -> None:
        """Keep the result of a piece."""
        if piece.rectangle is None:
            piece.part.result = result
        else:
            piece.part.tagged[piece.rectangle] = result

    def fail(self) -> None:
        """End it without a result."""
        self.failed = True
        self.left.clear()

    def finish(self, tagger: Tagger) -> list[tuple[Part, TagResult]]:
        """The results of the parts, once no piece is left. A piece of another plan or label bank is computed again.

        Raises what ``predict`` raises.
        """
        for work in self.parts:
            if work.result is None:
                kept = {**work.look.kept, **work.tagged}
                union = tagger.predict_async(
                    work.look.pixels, color=self.frame.color, tiles=work.tiles, kept=kept
                ).result()
                union.timing = {
                    stage: seconds + sum(one.timing[stage] for one in work.tagged.values())
                    for stage, seconds in union.timing.items()
                }
                work.result = union
        return [(work.part, work.result) for work in self.parts if work.result is not None]

    def learn(self) -> int:
        """Keep the results for the camera's next frames; returns how many rectangles were computed."""
        return sum(work.scene.learn(work.look, work.result) for work in self.parts if work.result)


def work_of(
    index: int,
    camera: Camera,
    scenes: dict[str | None, StillScene],
    frame: CapturedFrame,
    input_size: tuple[int, int],
    budget: float | None,
) -> FrameWork:
    """The work of a camera's frame: the parts that are within their hours, without what did not change.

    Args:
        scenes: by the name of a part.
        input_size: height and width of the network's input.
        budget: the number of inferences for which there is time, see :meth:`StillScene.look`; None: a file that waits,
            whose results do not depend on the machine.
    """
    now = frame.captured
    if budget is None and frame.source_time is not None:
        now = frame.source_time
    work = FrameWork(index, frame)
    tiled = [
        (part, _tiles_of(camera, part, frame, input_size))
        for part in camera.parts
        if part.on(frame.wall)
    ]
    total = sum(1 if tiles in (None, (1, 1)) else 1 + tiles[0] * tiles[1] for _, tiles in tiled)
    portion = 1.0 if budget is None else budget / max(1, total)
    for part, tiles in tiled:
        scene = scenes.setdefault(part.name, StillScene(camera.refresh))
        look = scene.look(part.cut(frame), frame.color, now, portion)
        part_work = PartWork(part, scene, look, tiles)
        work.parts.append(part_work)
        work.left.extend(_pieces(part_work, part.box(frame)))
    return work


def _pieces(work: PartWork, box: Region) -> list[Piece]:
    _, _, width, height = box
    every = (
        [(0, 0, width, height)]
        if work.tiles in (None, (1, 1))
        else rectangles(work.tiles, height, width)
    )
    computed = [rectangle for rectangle in every if rectangle not in work.look.kept]
    if len(computed) <= 1:
        return [Piece(work, None, len(computed))]
    return [Piece(work, rectangle, 1) for rectangle in computed]


def _tiles_of(
    camera: Camera, part: Part, frame: CapturedFrame, input_size: tuple[int, int]
) -> Layout | None:
    """The layout of the tiles of a part, which share the limit of tiles; None: that of the tagger."""
    if camera.tiles is None:
        return None
    _, _, width, height = part.box(frame)
    # A region of a few pixels has no tiles: they would be an error in each frame of the camera.
    if min(height, width) < 2 * MAX_TILES:
        return 1, 1
    most = MAX_TILES // len(camera.parts)
    return layout_of(camera.tiles, height, width, input_size, most) or (1, 1)
