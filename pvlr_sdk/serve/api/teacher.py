"""Labels taught while the server runs, from frames that an open plan has tagged: no image is read again."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import numpy as np

from ... import errors
from ...backends.backend import closed
from ...bundle.label_bank import LabelBank
from ...events import rfc3339
from ...labels import LabelReport, forget, learn
from ...labels.edit import with_room
from ...stream import Observation
from ...tagger import Tagger
from ...trust import read_manifest
from ...watch import Site
from ...watch.deployment import Deployment
from ...watch.place import in_progress
from ..server.problems import ProblemError
from .examples import Example, Examples
from .schemas import ExampleModel, ExamplesModel, MistakeModel, TaughtModel
from .tuning import Tuning


class Teacher:
    """Collects examples, and changes the labels of an open plan. Safe to use from any thread.

    Every method raises OptionError if the plan is closed.

    Args:
        tagger: gets the labels.
        site: its cameras' frames are the examples; None: there are none.
        tuning: the settings, which follow the labels.
        deployment: changes the labels between two frames.
        path: the file of the label bank, which keeps taught labels; None: they hold until the server ends.
    """

    def __init__(
        self, tagger: Tagger, site: Site | None, tuning: Tuning, deployment: Deployment, path: Path | None
    ) -> None:
        self._tagger = tagger
        self._site = site
        self._tuning = tuning
        self._deployment = deployment
        self._path = path
        self._examples = Examples()
        self._taught: set[str] = set()  # by this server: these can be taught again
        self._lock = threading.Lock()

    def describe(self, label: str) -> ExamplesModel:
        """The examples of a label."""
        with self._lock:
            plan = self._open_plan()
            return self._describe(label, self._examples.of(plan, label))

    def add(self, seen: Observation, label: str, shows: bool) -> ExamplesModel:
        """Add the frame of an observation to the examples of a label.

        Raises:
            OptionError: as for :meth:`Examples.add`.
            ProblemError: the plan in use has not tagged a frame of the camera yet.
        """
        with self._lock:
            plan, result = self._open_plan(), seen.result
            if result.features is None or result.plan != plan:
                raise ProblemError(503, "The camera has no frame of the plan in use.", Retry_After="1")
            score = float(result[label].score) if label in result.labels else None
            example = Example(seen.camera, seen.frame.wall, shows, score, result.features.copy())
            self._examples.add(plan, label, example)
            return self._describe(label, self._examples.of(plan, label))

    def clear(self, label: str) -> ExamplesModel:
        """Remove the examples of a label."""
        with self._lock:
            self._open_plan()
            self._examples.clear(label)
            return self._describe(label, [])

    def teach(self, label: str, *, replace: bool = False) -> TaughtModel:
        """Learn a label from its examples, and use it from the next frame on; its events are reported.

        ``replace``: also if the label bank has it, other than from an earlier call.

        Raises:
            OptionError: the label bank has it, or there is no example that shows it, or none that does not.
            LabelBankError: the plan has no room for it.
            DeployError: another plan is being put in use.
            OutputError, ConfigError: the label bank or the site file cannot keep it. In each case nothing is changed.
        """
        with self._lock:
            plan, base = self._open_plan(), self._tagger.label_bank
            self._check_idle()
            if label in base.names and not (replace or label in self._taught):
                got, hint = f"{label!r}, which the label bank has", "Choose another name."
                if label in base.taught:
                    hint = "Forget it first, or choose another name."
                raise errors.OptionError("label", expected="a new label", got=got, hint=hint)
            examples = self._examples.of(plan, label)
            spec = read_manifest(Path(str(self._tagger.info["plan"]))).open
            if spec is None:
                raise self._closed()
            features = np.array([one.features for one in examples], np.float64).reshape(
                len(examples), spec.feature_width
            )
            targets = np.array([[1 if one.shows else -1] for one in examples], np.int8).reshape(-1, 1)
            names = [one.name for one in examples]
            room = with_room(base, [label], spec, words=False)
            bank, (report,) = learn(room, [label], names, features, targets, plan=plan)
            self._use(bank, then=lambda: self._tuning.report(label))
            self._taught.add(label)
            return self._report(report)

    def forget(self, label: str) -> ExamplesModel:
        """Undo the teaching of a label; its examples stay. Settings that name a label that is removed are removed too.

        Raises:
            UnknownLabelError, OptionError: there is no such label, it was not taught, or a camera's own settings name
                it.
            DeployError, OutputError, ConfigError: as for :meth:`teach`.
        """
        with self._lock:
            plan = self._open_plan()
            self._check_idle()
            bank = forget(self._tagger.label_bank, [label])
            removed = label not in bank.names
            if removed:
                for name, camera in self._site.config.cameras.items() if self._site else ():
                    if label in (*(camera.labels or ()), *(camera.deny or ())):
                        got, hint = f"{label!r}, which {name} names", "Remove it from cameras: in the site file first."
                        raise errors.OptionError("label", expected="a label without settings", got=got, hint=hint)
            # The labels in use must have those that the settings name.
            self._use(bank, first=lambda: self._tuning.forget(label) if removed else None)
            self._taught.discard(label)
            return self._describe(label, self._examples.of(plan, label))

    def bank(self) -> bytes:
        """The label bank in use, as a file."""
        self._open_plan()
        return self._tagger.label_bank.to_bytes()

    def _open_plan(self) -> str:
        """The SHA-256 of the plan in use."""
        if self._tagger.info["max_labels"] is None:
            raise self._closed()
        return str(self._tagger.info["sha256"])

    def _closed(self) -> errors.OptionError:
        error = closed(str(self._tagger.info["plan"]))
        return errors.OptionError("plan", expected=error.expected, got=error.got, hint=error.hint)

    def _check_idle(self) -> None:
        if self._deployment.status.state != "in use":
            raise in_progress("labels")

    def _use(
        self, bank: LabelBank, *, first: Callable[[], None] = lambda: None, then: Callable[[], None] = lambda: None
    ) -> None:
        """Keep a label bank, use it, and change the settings before or after: all three or nothing."""
        before = self._tagger.label_bank
        try:
            if self._path:
                bank.save(self._path)
            first()
            self._deployment.set_labels(bank)
            then()
        except BaseException:
            with suppress(errors.PvlrError):
                self._deployment.set_labels(before)
            with suppress(errors.OutputError):
                if self._path:
                    before.save(self._path)
            raise

    def _describe(self, label: str, examples: list[Example]) -> ExamplesModel:
        positives = sum(one.shows for one in examples)
        return ExamplesModel(
            label=label,
            positives=positives,
            negatives=len(examples) - positives,
            taught=label in self._tagger.label_bank.taught,
            bank_file=self._path.name if self._path else None,
            examples=[
                ExampleModel(camera=one.camera, time=rfc3339(one.time), shows=one.shows, score=one.score)
                for one in examples
            ],
        )

    def _report(self, report: LabelReport) -> TaughtModel:
        return TaughtModel(
            label=report.label,
            positives=report.positives,
            negatives=report.negatives,
            threshold=report.threshold,
            precise_threshold=report.precise_threshold,
            precision=report.precision,
            recall=report.recall,
            average_precision=report.average_precision,
            mistakes=[MistakeModel(example=one.file, kind=one.kind, score=one.score) for one in report.mistakes],
            labels=self._tagger.labels,
            bank_file=self._path.name if self._path else None,
        )
