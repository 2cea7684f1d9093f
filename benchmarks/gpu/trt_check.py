"""Answers what only a GPU can answer about the TensorRT backend; see trt_check.sh.

Each question runs in its own process: a crash, a hang or a lost CUDA context is the answer to one question, and so is a
process that does not end properly. ``trt_check.json`` and ``trt_check.md`` are written after each answer.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
import traceback
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

from pvlr_sdk import errors
from pvlr_sdk._util.files import write_files

from ..common import Table, run, save
from . import trt_results as results
from . import trt_speed as speed
from .trt_lab import Found, Lab, NotAnsweredError, find_network, find_parts

PASS = "pass"
FAIL = "fail"
OPEN = "not answered"
_MISSING = 3

Answers = dict[str, dict[str, Any]]


@dataclass(frozen=True)
class Question:
    """One question.

    Attributes:
        find: finds the answer. Its docstring is the question, its name that of the answer.
        needs: parts of :func:`.trt_lab.missing`, and questions whose answer must be "pass".
        minutes: the longest that its process may take, several times what a Jetson Orin should need.
    """

    find: Callable[[Lab], Found]
    needs: tuple[str, ...] = ("gpu", "fp16")
    minutes: float = 15

    @property
    def name(self) -> str:
        return self.find.__name__

    @property
    def text(self) -> str:
        return (self.find.__doc__ or "").splitlines()[0]


PARTS = Question(find_parts, ())
AHEAD = Question(results.ahead, ("rtx",), minutes=40)
QUESTIONS = (
    Question(results.tests, ("torch",)),
    Question(results.memcheck, ("torch", "sanitizer"), minutes=20),
    Question(results.fp16, ("gpu",), minutes=30),
    Question(results.graph),
    Question(results.places),
    Question(results.pixels),
    Question(results.pending),
    Question(results.memory),
    Question(results.threads),
    Question(results.illegal),
    Question(speed.fused, ("gpu", "fp16", "plugins"), minutes=30),
    Question(results.int8, ("gpu", "fp16", "nncf", "photos"), minutes=40),
    Question(speed.batch, minutes=30),
    Question(speed.contexts),
    Question(speed.polling),
    Question(speed.stages),
    Question(speed.native_program),
    Question(speed.labels, ("gpu", "fp16", "plugins", "training"), minutes=60),
    Question(speed.models, minutes=120),
    Question(results.racecheck, ("torch", "sanitizer"), minutes=30),
    Question(speed.kernels, ("torch",), minutes=60),
)
"""In the order of their importance. A new question is a function and a line here."""
BY_NAME = {question.name: question for question in (PARTS, AHEAD, *QUESTIONS)}


@dataclass
class Report:
    """The answers so far.

    Attributes:
        out: the folder of ``trt_check.json`` and ``trt_check.md``.
        about: the GPU, its software and the model.
        missing: why a part is missing, by its name.
        answers: by the names of the questions.
    """

    out: Path
    about: dict[str, Any]
    missing: dict[str, str]
    answers: Answers

    def state(self, name: str) -> str:
        """PASS, FAIL or OPEN, also for a question that was never asked."""
        state: str = self.answers.get(name, {}).get("state", OPEN)
        return state

    def obstacle(self, question: Question) -> str | None:
        """Why a question cannot be asked: a missing part, or another question whose answer is not "pass"."""
        for need in question.needs:
            if need in self.missing:
                return f"{need}: {self.missing[need]}"
        for need in question.needs:
            if need in BY_NAME and self.state(need) != PASS:
                return f"relies on the answer to {need}"
        return None

    def add(self, question: Question, answer: dict[str, Any]) -> None:
        """Print an answer, and write both files again."""
        self.answers[question.name] = answer
        print(f"{question.name}: {answer['state']}: {answer['words']}", flush=True)
        facts = {"about": self.about, "missing": self.missing, "answers": self.answers}
        save(self.out / "trt_check.json", facts)
        by_text = {BY_NAME[name].text: answer for name, answer in self.answers.items()}
        write_files({self.out / "trt_check.md": page(self.about, self.missing, by_text)})


def main(
    out: Annotated[Path, typer.Option(help="Folder of the plans, logs and answers.")] = Path(
        "build/trt_check"
    ),
    photos: Annotated[
        Path | None, typer.Option(help="Real photos for int8. Default: those of $PVLR_DATA.")
    ] = None,
    model: Annotated[
        str, typer.Option(help="A shipped model, or an exported network.")
    ] = "pvlr-lite2-open",
    only: Annotated[
        list[str] | None, typer.Option(help="Ask this question, again if it has an answer.")
    ] = None,
    seconds: Annotated[float, typer.Option(help="Length of each measurement.")] = 5.0,
    ask: Annotated[str | None, typer.Option(hidden=True)] = None,
) -> int:
    """Answer the open questions about TensorRT on this GPU."""
    if unknown := {ask or PARTS.name, *(only or ())} - set(BY_NAME):
        raise typer.BadParameter(
            f"unknown question {', '.join(unknown)}; the questions are {', '.join(BY_NAME)}"
        )
    if ask:
        return _answer(BY_NAME[ask], Lab(out, find_network(model, out), photos, seconds))
    options = ["--out", str(out), "--model", model, "--seconds", str(seconds)]
    options += ["--photos", str(photos)] if photos else []
    parts = _ask(PARTS, out, options)
    if parts["state"] == FAIL:
        print(f"trt_check: {parts['words']}", file=sys.stderr)
        return 1
    missing = parts["data"]["missing"]
    print("\n".join(f"missing: {name}: {why}" for name, why in missing.items()), flush=True)
    if {"gpu", "rtx", "torch"} <= set(missing):
        print(f"trt_check: {missing['gpu']}", file=sys.stderr)
        return _MISSING
    about = {**parts["data"]["about"], "model": model}
    report = Report(out, about, missing, _earlier(out, about))
    for question in [AHEAD, *QUESTIONS] if "gpu" in missing else QUESTIONS:
        wanted = question.name in only if only else report.state(question.name) == OPEN
        if not wanted:
            continue
        if obstacle := report.obstacle(question):
            answer = {"state": OPEN, "words": obstacle}
        else:
            print(f"{question.name}: {question.text}", flush=True)
            answer = _ask(question, out, options)
        report.add(question, answer)
    print(f"answers: {out / 'trt_check.md'} and {out / 'trt_check.json'}")
    return int(FAIL in map(report.state, report.answers))


def page(about: dict[str, Any], missing: dict[str, str], answers: Answers) -> bytes:
    """The answers in Markdown, by question."""
    rows = [
        [text, one["state"], one["words"].replace("|", "/").replace("\n", " ")]
        for text, one in answers.items()
    ]
    facts = [f"- {name}: {value}" for name, value in about.items()]
    facts += [f"- missing: {name}: {reason}" for name, reason in missing.items()]
    table = Table("", ["question", "answer", "in words"], rows).markdown()
    return "\n".join(["# Answers of trt_check", "", *facts, "", table, ""]).encode()


def _earlier(out: Path, about: dict[str, Any]) -> Answers:
    """The answers of an earlier start on the same GPU, with the same software and model."""
    with suppress(OSError, ValueError):
        report = json.loads((out / "trt_check.json").read_text())
        return report["answers"] if report["about"] == about else {}
    return {}


def _ask(question: Question, out: Path, options: list[str]) -> dict[str, Any]:
    """The answer of the question's own process, which must also end by itself within the question's minutes."""
    answer, log = (out / "answers" / f"{question.name}.{kind}" for kind in ("json", "log"))
    answer.parent.mkdir(parents=True, exist_ok=True)
    answer.unlink(missing_ok=True)
    command = [sys.executable, "-m", "benchmarks.gpu.trt_check", *options, "--ask", question.name]
    began = time.monotonic()
    with log.open("w") as file:
        try:
            done = subprocess.run(command, stdout=file, stderr=file, timeout=60 * question.minutes)
            end = f"status {done.returncode}"
        except subprocess.TimeoutExpired:
            end = f"no end within {question.minutes:.0f} minutes"
    found = json.loads(answer.read_text()) if answer.exists() else {"words": "no answer"}
    if end != "status 0":
        found |= {"state": FAIL, "words": f"{found['words']}; the process: {end}, see {log}"}
    return {**found, "minutes": round((time.monotonic() - began) / 60, 2)}


def _answer(question: Question, lab: Lab) -> int:
    """In the question's own process: find the answer and write it."""
    found: dict[str, Any] = {}
    try:
        words, data = question.find(lab)
        found = {"state": PASS, "words": words, "data": data}
    except (NotAnsweredError, errors.MissingPartError) as error:
        found = {"state": OPEN, "words": str(error)}
    except AssertionError as error:
        found = {"state": FAIL, "words": str(error)}
    except Exception as error:  # of the SDK, or of the check itself
        traceback.print_exc()
        found = {"state": FAIL, "words": f"{type(error).__name__}: {error}"}
    save(lab.out / "answers" / f"{question.name}.json", found)
    return 0


if __name__ == "__main__":
    run(main)
