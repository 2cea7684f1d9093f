"""The callable class that any engine can hold in a worker: Arrow table in, Arrow table out."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterable, Iterator
from itertools import chain
from typing import Any, TypeAlias

import pyarrow as pa

from .. import errors
from .._util.cores import available_cores, usable_memory
from .._util.escape import escaped
from .._util.version import __version__
from ..labels.tree import LabelTree
from ..result import TagResult
from ..result.spans import VideoTags
from ..tagger import Tagger
from .columns import Columns
from .images import Image, Loaded, load

Outcome: TypeAlias = "TagResult | VideoTags | errors.PvlrError"

_TAGS = pa.list_(
    pa.struct({"label": pa.string(), "score": pa.float32(), "threshold": pa.float32()})
)
_SPANS = pa.list_(
    pa.struct(
        {
            "label": pa.string(),
            **dict.fromkeys(("start", "end", "best"), pa.float64()),
            "frame": pa.int64(),
            **dict.fromkeys(("score", "threshold", "share"), pa.float32()),
        }
    )
)
_ERROR = pa.struct({"type": pa.string(), "message": pa.string(), "hint": pa.string()})


class TagBatch:
    """Tags the rows of Arrow tables. One row in gives one row out, in the same order, whatever is wrong with its image.

    The result has the columns ``id``, ``tags`` (a list of ``label``, ``score``, ``threshold``, best first), ``error``
    (``type``, ``message``, ``hint``; null for a tagged image), ``plan_sha256`` and ``sdk_version``; with ``scores``
    also the float32 score of each label, in the order of ``labels``. Calls from several threads are safe. A pickled
    object opens its plan in the process that unpickles it.

    Args:
        plan: as for :class:`pvlr_sdk.Tagger`.
        id: the column of ids, copied as strings; where it is missing, the paths or URLs are the ids.
        image: the column of images: paths, URLs (any that fsspec knows), encoded bytes, or a struct with ``bytes`` and
            ``path``. None: the first of ``bytes``, ``image``, ``uri``, ``url`` and ``path`` that exists.
        scores: return the scores of all labels too.
        spans: return the column ``spans`` too, as of :class:`.Span`; null for an image.
        parents: also tag what the labels are kinds of: True, or a file of parents as for :meth:`.LabelTree.load`.
        options: more options of the ``Tagger``; ``optimize`` is ``throughput`` unless given. ``num_threads`` should be
            the cores that the engine reserves for the worker.
        memory: bytes for the images that are read ahead, still encoded. An image has at most an eighth of it, and at
            most :data:`pvlr_sdk.frames.limits.MAX_BYTES`. None: a quarter of what this process may use; with
            ``num_threads``, of the share of those cores.

    Raises:
        PvlrError: what ``Tagger`` raises.
    """

    def __init__(
        self,
        plan: str | os.PathLike[str] | None = None,
        *,
        id: str = "id",
        image: str | None = None,
        scores: bool = False,
        spans: bool = False,
        parents: bool | str | os.PathLike[str] = False,
        memory: int | None = None,
        **options: Any,
    ) -> None:
        self.columns = Columns(id, image)
        more: dict[str, pa.DataType] = {"scores": pa.list_(pa.float32())} if scores else {}
        if spans:
            more["spans"] = _SPANS
        about = {"error": _ERROR, "plan_sha256": pa.string(), "sdk_version": pa.string()}
        self.schema = pa.schema({"id": pa.string(), "tags": _TAGS, **more, **about})
        cores = available_cores()
        self.memory = (
            memory
            or usable_memory() // 4 * min(options.get("num_threads") or cores, cores) // cores
        )
        self.tagger = Tagger(plan, **{"optimize": "throughput", **options})
        tree = LabelTree.load(None if isinstance(parents, bool) else parents, self.labels)
        self._parents = {label: tree.ancestors(label) for label in self.labels if parents}

    @property
    def labels(self) -> list[str]:
        """The C label names, in the order of ``scores``."""
        return self.tagger.labels

    def __call__(self, batch: pa.Table | pa.RecordBatch) -> pa.Table:
        """Tag a table or a record batch.

        Raises:
            OptionError: a column is missing or has the wrong type.
            BackendError: the inference failed, for example because the GPU was lost.
        """
        return self.table(self.tag(self.columns.checked(batch.schema, "table").rows(batch)))

    def tag(
        self, found: Iterable[tuple[str | None, Image]]
    ) -> Iterator[tuple[str | None, Outcome]]:
        """Tag any number of (id, image) and yield (id, result or error) in their order, in bounded memory."""
        ids: deque[str | None] = deque()

        def images() -> Iterator[Image]:
            for name, image in found:
                ids.append(name)
                yield image

        for outcome in self._outcomes(load(images(), self.memory)):
            yield ids.popleft(), outcome

    def table(self, outcomes: Iterable[tuple[str | None, Outcome]]) -> pa.Table:
        """What :meth:`tag` yields, as a table: ``error`` is null, or else ``tags`` and ``scores`` are."""
        rows = []
        for name, outcome in outcomes:
            result, error = (
                (None, outcome) if isinstance(outcome, errors.PvlrError) else (outcome, None)
            )
            if result is not None:
                result.roll_up(self._parents)
            row = {
                "id": name,
                "tags": result and [tag[:3] for tag in result.tags],
                "scores": result and result.scores,
                "spans": _spans(result),
                "error": error and _described(error),
                "plan_sha256": self.tagger.info["sha256"],
                "sdk_version": __version__,
            }
            rows.append(row)
        return pa.Table.from_pylist(rows, schema=self.schema)

    def _outcomes(self, frames: Iterator[Loaded]) -> Iterator[Outcome]:
        waiting: deque[Loaded] = deque()
        more = True

        def stream() -> Iterator[Any]:
            """Ends early where the frames without a result are large: a stream begins anew without any."""
            nonlocal more
            for frame, size in frames:
                waiting.append((frame, size))
                yield frame
                if sum(size for _, size in waiting) >= self.memory // 4:
                    return
            more = False

        while more or waiting:
            try:
                for outcome in self.tagger.predict_stream(stream()):
                    waiting.popleft()
                    yield outcome
            except errors.NonFiniteError:  # ends the stream: tag this frame alone, then go on
                yield self._alone(waiting.popleft()[0])
                frames = chain(list(waiting), frames)
                waiting.clear()
                more = True

    def _alone(self, frame: Any) -> Outcome:
        try:
            return self.tagger.predict(frame)
        except (errors.FrameError, errors.NonFiniteError) as error:
            return error


def _spans(result: TagResult | VideoTags | None) -> list[dict[str, Any]] | None:
    if not isinstance(result, VideoTags):
        return None
    return [span._asdict() for span in result.spans]


def _described(error: errors.PvlrError) -> dict[str, str]:
    message = escaped(f"expected {error.expected}, got {error.got}")
    return {"type": type(error).__name__, "message": message, "hint": error.hint}
