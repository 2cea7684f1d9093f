"""``pvlr train`` and ``pvlr report``: commands of pvlr_training, which the extra [train] installs."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import typer
from typer import Argument, Option

from .. import errors
from . import options
from .commands import training_module, training_packages
from .options import Prevalence, models


def train(
    data: Path = Argument(
        ..., metavar="IMAGES|CONFIG.yaml", help="A folder of images, a configuration or a recipe."
    ),
    rest: list[str] | None = Argument(
        None,
        metavar="LABELS|KEY=VALUE",
        help="Labels of the images; then settings (KEY=VALUE).",
        show_default="the label file in IMAGES, or its subfolders",
    ),
    out: Path | None = Option(
        None,
        "--out",
        "-o",
        metavar="DIR",
        help="Folder of the run.",
        show_default="runs/ and the name",
    ),
    start: str | None = Option(
        None,
        "--from",
        metavar="NAME|RUN|imagenet",
        help="The model or run whose weights training starts from.",
        show_default="the shipped model with the same backbone",
        autocompletion=models,
    ),
    prevalence: Prevalence = None,
    quick: bool = Option(
        False, "--quick", help="A first look: a small network, at most 300 images."
    ),
    budget: str | None = Option(
        None, metavar="TIME", help="Time limit of the whole command, such as 30m, 90s or 2h."
    ),
    resume: bool = Option(False, "--resume", help="Continue an interrupted run."),
    dry_run: bool = Option(False, "--dry-run", help="Check everything without training."),
) -> None:
    """Train a model on labelled images.

    With a folder of images, writes a plan whose thresholds come from the held-out
    images (the split val, or a fifth of the images), and a report. LABELS is a
    CSV with one column per label or a column of tags, COCO JSON, or an export of
    Label Studio or CVAT. The default is the label file in IMAGES; without one,
    each subfolder is a label.

    With a CONFIG.yaml, writes the trained model; export it with `pvlr export`. A
    recipe is a configuration with stages: all of them are trained, and the last
    one becomes a plan. Needs the extra \\[train].

    \b
    [bold]Examples[/bold]
    pvlr train photos/ labels.csv
    pvlr train photos/ --quick
    pvlr train photos/ labels.csv --from imagenet
    pvlr train photos/ labels.csv --prevalence unlabelled/
    pvlr train photos/ labels.csv --budget 30m --out runs/longer
    pvlr train my-photos.yaml --dry-run
    pvlr train my-photos.yaml train.finetune.epochs=8 --resume
    pvlr train training/recipes/pvlr-lite2-open.yaml --resume
    """
    overrides = [item for item in rest or [] if "=" in item and not Path(item).exists()]
    files = [Path(item) for item in rest or [] if item not in overrides]
    minutes = _minutes(budget)
    if data.suffix.lower() in (".yaml", ".yml"):
        _refuse(
            {"LABELS": files, "--from": start, "--quick": quick, "--budget": budget},
            "a folder of images",
            "CONFIG.yaml",
            "Set the keys of the configuration instead.",
        )
        _train_config(data, overrides, out=out, resume=resume, dry_run=dry_run)
        return
    _refuse(
        {"--dry-run": dry_run},
        "CONFIG.yaml",
        "a folder",
        "Omit it, or write a configuration.",
    )
    if len(files) > 1:
        raise errors.OptionError(
            "LABELS",
            "one label file",
            f"{len(files)}: {', '.join(map(str, files))}",
            "Join them into one file; settings are written KEY=VALUE.",
        )
    pipeline = training_module("train", "pipeline")
    with (
        _interruptible(lambda: _kept(out or pipeline.default_folder(data))),
        training_packages("train"),
    ):
        outcome = pipeline.train_images(
            data,
            files[0] if files else None,
            overrides,
            out=out,
            start_from=start,
            prevalence=prevalence,
            quick=quick,
            budget=minutes,
            resume=resume,
        )
    _print_outcome(outcome)


def _refuse(options: dict[str, Any], first: str, data: str, hint: str) -> None:
    """Raises OptionError if an option is used that needs something else as the first argument."""
    for option, value in options.items():
        if value:
            raise errors.OptionError(option, f"{first} as the first argument", data, hint)


def _train_config(
    config: Path, overrides: list[str], *, out: Path | None, resume: bool, dry_run: bool
) -> None:
    """Train a configuration, or all stages of a recipe."""
    module = training_module("train", "train")
    recipe = training_module("train", "recipe")
    arguments: dict[str, Any] = {"out": out, "resume": resume, "dry_run": dry_run}
    if recipe.is_recipe(config):
        stages = "keeps the finished stages. To continue, run the command again with --resume"
        with _interruptible(
            lambda: f"interrupted; {out or recipe.default_folder(config)} {stages}"
        ):
            _print_recipe(*recipe.train_recipe(config, overrides, **arguments))
        return
    with _interruptible(lambda: _kept(out or module.default_folder(config))):
        folder = module.train(config, overrides, **arguments)
    if not dry_run:
        print(folder)


@contextmanager
def _interruptible(message: Callable[[], str]) -> Iterator[None]:
    """After Ctrl-C, print what is kept, and exit."""
    from .screen import note

    try:
        yield
    except KeyboardInterrupt:
        note(message())
        raise typer.Exit(130) from None


def _kept(folder: Path) -> str:
    return str(training_module("train", "state").interrupted(folder))


def report(
    runs: list[Path] = Argument(..., metavar="RUN", help="Folders that `pvlr train` wrote."),
    out: Path = Option(
        Path("report.html"), "--out", "-o", metavar="HTML", help="The page to write."
    ),
    images: Path | None = Option(
        None, metavar="DIR", help="Folder of the images to measure on; needs --labels."
    ),
    labels: Path | None = Option(None, metavar="CSV", help="Labels of each image; needs --images."),
    split: str | None = Option(
        None, metavar="NAME", help="Measure on this split, of the CSV or of the run's own data."
    ),
    mistakes: int = Option(
        12, metavar="N", help="Images to show per kind of mistake; 0 shows no images."
    ),
    as_json: options.Json = False,
) -> None:
    """Write an HTML report about trained runs.

    Shows accuracy per label, precision-recall and learning curves, confusions and
    the worst mistakes. Each run is measured on the images held out of its
    training. The page is self-contained. Needs the extra \\[train].

    \b
    [bold]Examples[/bold]
    pvlr report runs/my-photos
    pvlr report runs/a runs/b -o compared.html
    pvlr report runs/my-photos --mistakes 0 --json > report.json
    """
    module = training_module("report", "report")
    page = module.report(runs, out, images=images, labels=labels, split=split, mistakes=mistakes)
    if as_json:
        from .screen import print_json

        print_json(page)
    else:
        print(out)


def _print_recipe(plan: Path | None, measured: dict[str, tuple[float, float]]) -> None:
    from .screen import decimal, print_facts

    if plan is not None:
        figures = {
            role: f"{decimal(mAP)} mAP, {decimal(expected)} expected"
            for role, (mAP, expected) in measured.items()
        }
        print_facts(str(plan.parent), [("plan", plan), *figures.items()])


def _minutes(budget: str | None) -> float | None:
    if budget is None:
        return None
    units = {"s": 1 / 60, "m": 1.0, "h": 60.0}
    match = re.fullmatch(r"([0-9]+(?:[.][0-9]+)?) *(?:([smh])[a-z]*)?", budget.strip())
    if match is None or float(match[1]) <= 0:
        raise errors.OptionError(
            "--budget", "a time such as 30m, 90s or 2h", repr(budget), "For example --budget 30m."
        )
    return float(match[1]) * units[match[2] or "m"]


def _print_outcome(outcome: Any) -> None:
    from .screen import decimal, print_facts, shares, with_intervals

    measured = outcome.measured
    folder = outcome.folder
    count = len(measured.per_class)
    measured_shares = {
        label: 100 * images / measured.images for label, images in measured.positives.items()
    }
    stated = measured.prevalence and ("with frequencies", shares(measured.prevalence))
    unstated = ("elsewhere", "where labels are rarer, precision is lower: give --prevalence")
    print_facts(
        f"{folder}: {count} label{'s' * (count != 1)}",
        [
            ("mAP", f"{decimal(measured.mAP)} on {measured.images} held-out images"),
            (
                "precision, recall",
                f"{decimal(measured.OP)}, {decimal(measured.OR)} at the thresholds",
            ),
            ("on other images", with_intervals(measured.expected)),
            ("with frequencies", shares(measured_shares)),
            *([("and", with_intervals(measured.expected_there)), stated] if stated else [unstated]),
            (
                "same tags as fp32",
                f"{100 * outcome.agreement.tag_sets:.1f} % of {outcome.agreement.photos} images",
            ),
            ("plan", f"{outcome.plan} ({measured.precision})"),
            ("report", outcome.page),
            ("bundled model", outcome.comparison),
            *(("warning", doubt) for doubt in measured.doubts),
            ("next", f"pvlr tag photo.jpg --plan {outcome.plan}"),
        ],
    )
