"""Reads the results of ``pvlr tag --json`` and ``pvlr batch``."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

from ... import errors
from ..._util.plain_json import Limits, read_json

_LINE = Limits(size=2**24, values=2**20, depth=8)


def read_results(source: Path) -> dict[str, dict[str, float]]:
    """The scores of the tags of each photo or video, by its path.

    Of a video whose frames were tagged, a label needs two frames, and the best one counts; spans are tags already.

    Args:
        source: a dataset of ``pvlr batch``, or a file of ``pvlr tag --json``.

    Raises:
        OptionError: it is neither.
        MissingPartError: a dataset without the extra ``[batch]``.
    """
    results: dict[str, dict[str, float]] = {}
    single: dict[str, dict[str, float]] = {}
    """By video, labels of which one frame is known so far."""
    try:
        for photo, scores, is_frame in _dataset(source) if source.is_dir() else _lines(source):
            best = results.setdefault(photo, {})
            earlier = single.setdefault(photo, {})
            for label, score in scores.items():
                if is_frame and label not in best and label not in earlier:
                    earlier[label] = score
                else:
                    best[label] = max(score, best.get(label, 0.0), earlier.get(label, 0.0))
    except errors.PvlrError:
        raise
    except (
        OSError,
        ValueError,
        LookupError,
        TypeError,
        AttributeError,
    ) as error:  # Arrow's own are among them
        raise _no_results(source, str(error)) from None
    return results


def _lines(source: Path) -> Iterator[tuple[str, dict[str, float], bool]]:
    """The path of each line, the scores of its tags, and whether it is a frame of a video."""
    with source.open() as lines:
        for line in iter(partial(lines.readline, _LINE.size + 1), ""):
            row = read_json(line, _LINE, printable=False)
            yield str(row["source"]), _scores(row["tags"]), row.get("frame") is not None


def _dataset(source: Path) -> Iterator[tuple[str, dict[str, float], bool]]:
    """The rows of a dataset as of :func:`_lines`: none is a frame."""
    return ((name, scores, False) for name, scores in dataset_rows(source))


def _scores(tags: list[dict[str, Any]]) -> dict[str, float]:
    return {str(tag["label"]): float(tag["score"]) for tag in tags}


def dataset_rows(source: Path) -> Iterator[tuple[str, dict[str, float]]]:
    """The id of each image of a dataset that was tagged, and the scores of its tags."""
    from ... import batch  # noqa: F401  raises MissingPartError without pyarrow

    import pyarrow.parquet as pq  # isort: skip

    plans = sorted(source.glob("plan=*")) or [source]
    if len(plans) > 1:
        raise _no_results(source, f"{len(plans)} of them: {', '.join(plan.name for plan in plans)}")
    files = sorted(plans[0].glob("*.parquet"))
    if not files:
        raise _no_results(source, "no Parquet files")
    for file in files:
        for rows in pq.ParquetFile(file).iter_batches(columns=["id", "tags"]):
            tagged = (row for row in rows.to_pylist() if row["id"] and row["tags"] is not None)
            yield from ((row["id"], _scores(row["tags"])) for row in tagged)


def _no_results(source: Path, got: str) -> errors.OptionError:
    return errors.OptionError(
        str(source),
        "one dataset of pvlr batch, or a file of pvlr tag --json",
        got,
        "Write one with pvlr batch PHOTOS --out TAGS, or with pvlr tag PHOTOS --json > tags.jsonl.",
    )
