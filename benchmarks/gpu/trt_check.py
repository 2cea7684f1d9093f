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
    every = {question.name: question for question in (PARTS, AHEAD, *QUESTIONS)}
    if unknown := {ask or PARTS.name, *(only or ())} - set(every):
        raise typer.BadParameter(
            f"unknown question {', '.join(unknown)}; the questions are {', '.join(every)}"
        )
    if ask:
        return _answer(every[ask], Lab(out, find_network(model, out), photos, seconds))
    options = ["--out", str(out), "--model", model, "--seconds", str(seconds)]
    options += ["--photos", str(photos)] if photos else []
    parts = _ask(PARTS, out, options)
    if parts["state"] == FAIL:
        print(f"trt_check: {parts['words']}", file=sys.stderr)
        return 1
    about = {**parts["data"]["about"], "model": model}
    print(
        "\n".join(f"missing: {name}: {why}" for name, why in parts["data"]["missing"].items()),
        flush=True,
    )
    missing = parts["data"]["missing"]
    if {"gpu", "rtx", "torch"} <= set(missing):
        print(f"trt_check: {missing['gpu']}", file=sys.stderr)
        return _MISSING
    answers = _earlier(out, about)
    for question in [AHEAD, *QUESTIONS] if "gpu" in missing else QUESTIONS:
        name = question.name
        if name not in only if only else answers.get(name, {}).get("state", OPEN) != OPEN:
            continue
        failed = [
            one
            for one in question.needs
            if one in every and answers.get(one, {}).get("state") != PASS
        ]
        if lost := [f"{need}: {missing[need]}" for need in question.needs if need in missing]:
            answers[name] = {"state": OPEN, "words": lost[0]}
        elif failed:
            answers[name] = {"state": OPEN, "words": f"relies on the answer to {failed[0]}"}
        else:
            print(f"{name}: {question.text}", flush=True)
            answers[name] = _ask(question, out, options)
        print(f"{name}: {answers[name]['state']}: {answers[name]['words']}", flush=True)
        save(out / "trt_check.json", {"about": about, "missing": missing, "answers": answers})
        write_files(
            {
                out / "trt_check.md": page(
                    about, missing, {every[one].text: answers[one] for one in answers}
                )
            }
        )
    print(f"answers: {out / 'trt_check.md'} and {out / 'trt_check.json'}")
    return int(any(answer["state"] == FAIL for answer in answers.values()))


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
