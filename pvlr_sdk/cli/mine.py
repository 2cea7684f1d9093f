"""``pvlr mine``: the photos of folders that teach most."""

from __future__ import annotations

import json
from contextlib import nullcontext
from typing import TYPE_CHECKING

import typer
from typer import Argument, Option

from .. import errors
from .._util.escape import csv_row
from . import groups

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from ..result import TagResult


def mine(
    inputs: list[str] = Argument(..., metavar="INPUT", help="Photos, folders or patterns."),
    *,
    label: list[str] = Option(
        [], "--label", "-l", metavar="LABEL", help="Only for this label; may be repeated."
    ),
    count: int = Option(300, "--count", "-n", metavar="N", min=1, help="Select at most so many."),
    model: groups.Model,
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
    pvlr mine photos/ --words "forklift, pallet" > selected.csv
    pvlr mine photos/ --against new.plan > disputed.csv
    pvlr mine photos/ --json > mined.jsonl  # for pvlr export-labels
    """
    import numpy as np

    from ..frames.find import find, is_video
    from ..labels.mining import select
    from ..labels.teaching import failure
    from ..tagger import Tagger
    from .screen import Screen, report_failed

    failed: list[dict[str, str]] = []
    files = find(inputs, lambda name, error: failed.append(failure(name, error)))
    files = [path for path in files if not is_video(path)]
    margins, others, features, read = [], [], [], []
    with (
        Tagger(**model.arguments, optimize="throughput") as tagger,
        Tagger(against, optimize="throughput") if against else nullcontext() as rival,
        Screen(len(files), "Reading") as screen,
    ):
        asked = [tagger.labels[tagger.label_bank.index(name)] for name in label or tagger.labels]
        if rival and (unknown := [name for name in asked if name not in rival.labels]):
            raise errors.UnknownLabelError(
                "--against",
                f"a plan with the label {unknown[0]!r}",
                f"{str(against)!r} without it",
                "Name labels of both plans with --label, or build that plan with the words (pvlr build --bank).",
            )
        compared = rival.predict_stream(files) if rival else [None] * len(files)
        for path, result, other in zip(files, tagger.predict_stream(files), compared, strict=True):
            screen.step()
            if isinstance(result, errors.FrameError):
                failed.append(failure(str(path), result))
                continue
            margins.append(_margins(result, asked))
            others += [] if other is None else [_margins(other, asked)]
            features += [] if result.features is None else [result.features]
            scores = dict(zip(result.labels, result.scores.tolist(), strict=True))
            read.append(
                (path, scores, [{"label": tag.label, "score": tag.score} for tag in result])
            )
    table, disputed = (np.reshape(rows, (-1, len(asked))) for rows in (margins, others))
    matrix = np.array(features) if features else None
    if not as_json:
        print("file,label,score,reason")
    for photo, (column, reason) in select(
        table, matrix, count, disputed if against else None
    ).items():
        path, scores, tags = read[photo]
        about = {
            "source": str(path),
            "label": asked[column],
            "score": scores[asked[column]],
            "reason": reason,
        }
        print(json.dumps({**about, "tags": tags}) if as_json else csv_row(*about.values()))
    if report_failed(failed, len(files)):
        raise typer.Exit(2)


def _margins(result: TagResult | errors.FrameError, names: list[str]) -> NDArray[np.float32]:
    """The margins of labels; NaN: the file is gone."""
    import numpy as np

    from ..labels.mining import margins_of

    if isinstance(result, errors.FrameError):
        return np.full(len(names), np.nan, np.float32)
    columns = [result.labels.index(name) for name in names]
    return margins_of(result.logits[columns], result.thresholds[columns])
