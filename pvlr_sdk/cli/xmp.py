"""``pvlr xmp``: the results of an earlier run as XMP, and its removal."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import typer
from typer import Argument, Option

from .. import errors
from . import option_groups, options

if TYPE_CHECKING:
    from ..cameras.stream.video import SpanFinder
    from ..frames.find import InputFrame
    from ..labels.tree import LabelTree
    from ..result import TagResult
    from ..result.spans import VideoTags
    from ..tagger import Tagger


def xmp(
    source: Path = Argument(
        ...,
        metavar="TAGS|PHOTOS",
        help="A dataset of `pvlr batch` or lines of `pvlr tag --json`; to remove, photos.",
    ),
    prefix: str = Option(
        "", metavar="TAG", help="Parent of the tags, where a field has levels; such as `auto/pvlr`."
    ),
    embed: bool = Option(False, "--embed", help="Write into the photos instead of sidecars."),
    remove: bool = Option(
        False, "--remove", help="Remove the tags of earlier runs from these photos."
    ),
    *,
    naming: option_groups.Naming,
    as_json: options.Json = False,
) -> None:
    """Write tags next to the photos, as XMP, which photo managers read.

    The sidecar of photo.jpg is photo.jpg.xmp. Tags of other programs are kept;
    those of an earlier run are replaced. A photo whose tags are the same is not
    written again. A damaged sidecar is reported and left unchanged, and the exit
    status is 2. Needs the extra \\[xmp].

    \b
    [bold]Examples[/bold]
    pvlr tag holiday/ --json > tags.jsonl && pvlr xmp tags.jsonl
    pvlr batch holiday/ --out tags/ && pvlr xmp tags/ --prefix auto
    pvlr xmp holiday/ --remove
    """
    from ..frames.find import find
    from ..workshop.export.results import read_results
    from .screen import complain, print_json

    unknown: list[errors.PvlrError] = []
    tree = naming.tree()
    if remove:
        photos = find([str(source)], lambda _, error: unknown.append(error))
        results = dict[str, dict[str, float]]((str(photo), {}) for photo in photos)
    else:
        results = read_results(source)
    for error in unknown:
        complain(error)
    how = {"prefix": prefix, "embed": embed, "tree": tree, "language": naming.language or ""}
    counts = write(results.items(), len(results), **how)
    counts["failed"] += len(unknown)
    if as_json:
        print_json(counts)
    else:
        print(f"{counts['photos']} photos, {counts['changed']} changed")
    if counts["failed"]:
        raise typer.Exit(2)


def write(
    results: Iterable[tuple[str, Mapping[str, float]]], total: int = 0, **how: Any
) -> dict[str, int]:
    """Write the scores of ``total`` photos (0: unknown); returns the numbers of photos, changed and failed ones."""
    from ..workshop.export.xmp import tag_photo
    from .screen import Screen, complain

    counts = {"photos": 0, "changed": 0, "failed": 0}
    with Screen(total, "Writing XMP") as screen:
        for photo, scores in results:
            screen.step()
            try:
                counts["changed"] += tag_photo(Path(photo), scores, **how)
                counts["photos"] += 1
            except (
                errors.ImageNotFoundError,
                errors.OutputError,
            ) as error:  # the others are written nevertheless
                counts["failed"] += 1
                complain(error)
    return counts


class Sidecars:
    """Writes the tags of each result of ``pvlr tag``; a video has those of its spans.

    ``failed``: the number of files whose tags could not be written.
    """

    def __init__(self, tagger: Tagger, tree: LabelTree, language: str) -> None:
        from ..workshop.export.xmp import lxml_module

        lxml_module()
        self.failed = 0
        self._tagger = tagger
        self._naming: dict[str, Any] = {"tree": tree, "language": language}
        self._source = ""
        self._video: SpanFinder | None = None

    def add(self, item: InputFrame, result: TagResult | VideoTags) -> None:
        """Write the tags of an image or a video; note those of a frame until its video ends."""
        from ..cameras.stream.video import SpanFinder

        if item.source != self._source:
            self.close()
        if item.frame is None:
            self._write(item.source, result)
        else:
            self._source = item.source
            self._video = self._video or SpanFinder(self._tagger.labels, self._tagger.thresholds)
            self._video.add(item.frame, self._video.look(item), cast("TagResult", result))

    def close(self) -> None:
        """Write the tags of the last video."""
        if self._video:
            self._write(self._source, self._video.close())
        self._source = ""
        self._video = None

    def _write(self, source: str, result: TagResult | VideoTags) -> None:
        scores = {tag.label: tag.score for tag in result.tags}
        self.failed += write([(source, scores)], **self._naming)["failed"]
