"""``pvlr mine``: the photos of folders that teach most."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import typer
from typer import Argument, Option

from .. import errors
from .._util.escape import csv_row
from . import option_groups

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from ..result import TagResult
    from ..tagger import Tagger


def mine(
    inputs: list[str] = Argument(..., metavar="INPUT", help="Photos, folders or patterns."),
    *,
    label: list[str] = Option(
        [], "--label", "-l", metavar="LABEL", help="Only for this label; may be repeated."
    ),
    count: int = Option(300, "--count", "-n", metavar="N", min=1, help="Select at most so many."),
    model: option_groups.Model,
    against: str | None = Option(
        None, metavar="PLAN", help="Prefer photos that this plan tags otherwise."
    ),
    as_json: bool = Option(False, "--json", help="Print one line of JSON per photo."),
) -> None:
    """Select the photos that are most worth labelling, to teach labels or to train.

    A third is likely to show a label, a third is uncertain (a score near its
    threshold), and a third differs most from the others. What looks like a
    selected photo is left out. With --against, photos whose tags differ between
    the two plans come first among the uncertain ones. For a closed plan, which
    has no image features, all are likely or uncertain, copies too. CSV: file,
    label, score, reason.

    \b
    [bold]Examples[/bold]
    pvlr mine photos/ --label dog --count 100 > dogs.csv
    pvlr mine photos/ --words "forklift, crate" > selected.csv
    pvlr mine photos/ --against new.plan > disputed.csv
    pvlr mine photos/ --json > mined.jsonl  # for pvlr export-labels
    """
    from ..frames.find import find, is_video
    from ..labels.teaching import failure
    from ..tagger import Tagger
    from .screen import Screen, report_failed

    failed: list[dict[str, str]] = []
    files = find(inputs, lambda name, error: failed.append(failure(name, error)))
    files = [path for path in files if not is_video(path)]
    photos: list[_Photo] = []
    with (
        Tagger(**model.arguments, optimize="throughput") as tagger,
        Tagger(against, optimize="throughput") if against else nullcontext() as rival,
        Screen(len(files), "Reading") as screen,
    ):
        asked = [tagger.labels[tagger.label_bank.index(name)] for name in label or tagger.labels]
        if rival:
            _check_labels(rival, str(against), asked)
        compared = rival.predict_stream(files) if rival else [None] * len(files)
        for path, result, other in zip(files, tagger.predict_stream(files), compared, strict=True):
            screen.step()
            if isinstance(result, errors.FrameError):
                failed.append(failure(str(path), result))
            else:
                photos.append(_Photo.read(path, result, other, asked))
    if not as_json:
        print("file,label,score,reason")
    for photo, column, reason in _select(photos, len(asked), count):
        about = {
            "source": str(photo.path),
            "label": asked[column],
            "score": photo.scores[asked[column]],
            "reason": reason,
        }
        print(json.dumps({**about, "tags": photo.tags}) if as_json else csv_row(*about.values()))
    if report_failed(failed, len(files)):
        raise typer.Exit(2)


class _Photo(NamedTuple):
    """What a plan found in a photo. Attention maps are not kept.

    ``margins``: (C,) of the labels that are asked for; ``others``: of the other plan, None without one.
    """

    path: Path
    scores: dict[str, float]
    tags: list[dict[str, Any]]
    margins: NDArray[np.float32]
    others: NDArray[np.float32] | None
    features: NDArray[np.float32] | None

    @classmethod
    def read(
        cls,
        path: Path,
        result: TagResult,
        other: TagResult | errors.FrameError | None,
        labels: list[str],
    ) -> _Photo:
        return cls(
            path,
            dict(zip(result.labels, result.scores.tolist(), strict=True)),
            [{"label": tag.label, "score": tag.score} for tag in result],
            _margins(result, labels),
            None if other is None else _margins(other, labels),
            result.features,
        )


def _check_labels(rival: Tagger, plan: str, labels: list[str]) -> None:
    """Raises UnknownLabelError if the plan to compare with lacks one of the labels."""
    for name in labels:
        if name not in rival.labels:
            raise errors.UnknownLabelError(
                "--against",
                f"a plan with the label {name!r}",
                f"{plan!r} without it",
                "Name labels of both plans with --label, or build that plan with the words (pvlr build --bank).",
            )


def _select(photos: list[_Photo], labels: int, count: int) -> Iterator[tuple[_Photo, int, str]]:
    """The photos that teach most, each with the column of its label and the reason."""
    import numpy as np

    from ..labels.mining import select

    def matrix(rows: Iterable[Any]) -> Any:
        present = [row for row in rows if row is not None]
        return np.array(present) if present else None

    margins = np.reshape([photo.margins for photo in photos], (-1, labels))
    features = matrix(photo.features for photo in photos)
    others = matrix(photo.others for photo in photos)
    for row, (column, reason) in select(margins, features, count, others).items():
        yield photos[row], column, reason


def _margins(result: TagResult | errors.FrameError, names: list[str]) -> NDArray[np.float32]:
    """The margins of labels; NaN: the file is gone."""
    import numpy as np

    from ..labels.mining import margins_of

    if isinstance(result, errors.FrameError):
        return np.full(len(names), np.nan, np.float32)
    columns = [result.labels.index(name) for name in names]
    return margins_of(result.logits[columns], result.thresholds[columns])
