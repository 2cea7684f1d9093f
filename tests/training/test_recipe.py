"""A recipe: several runs in one file, whose last one becomes a plan."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import pytest
import yaml
from rich.console import Console
from typer.testing import CliRunner

from pvlr_sdk import Tagger
from pvlr_sdk.cli import app
from pvlr_sdk.errors import ConfigError
from pvlr_sdk.models.find import load_bundle
from pvlr_training import recipe
from pvlr_training.checkpoint import load_model
from pvlr_training.config import load_config
from pvlr_training.logs import RunLog
from pvlr_training.recipe import train_recipe, write_stages

from .conftest import COLOURS, tiny_config

RECIPES = Path(recipe.__file__).parent / "recipes"


@pytest.fixture
def write_recipe(photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Writes a recipe of two stages for the role ``squares``; ``changes`` replace its keys."""
    data = tmp_path / "data/squares"
    data.mkdir(parents=True)
    (data / "images").symlink_to(photos)
    rows = (photos / "labels.csv").read_text().splitlines()
    held_back = [
        row.replace(",train,", ",testdev,") if number % 4 == 0 else row
        for number, row in enumerate(rows)
    ]
    (data / "labels.csv").write_text("\n".join([rows[0], *held_back[1:]]) + "\n")
    monkeypatch.setenv("PVLR_DATA", str(tmp_path / "data"))

    def write(**changes: Any) -> Path:
        raw = tiny_config(photos)
        del raw["name"], raw["data"]["sources"]
        raw["data"]["holdout"] = 0.49  # at least 32 photos to round the weights with
        raw |= {
            "photos": {"squares": {"splits": ["train"]}},
            "stages": {
                "teacher": {"train": {"finetune": {"epochs": 2}}},
                "student": {
                    "train": {
                        "init": "teacher",
                        "teacher": {"runs": ["teacher"]},
                        "head": {"epochs": 0},
                    }
                },
            },
            "expected": {"squares": 50.0},
            **changes,
        }
        path = tmp_path / "recipe.yaml"
        path.write_text(yaml.safe_dump(raw, sort_keys=False))
        return path

    return write


def test_captions_that_are_absent_are_named(write_recipe: Any, tmp_path: Path) -> None:
    path = write_recipe(open={"max_labels": 9, "captions": "squares/captions.csv"})
    read, _ = write_stages(path, tmp_path / "out")
    console = Console(file=io.StringIO(), width=400)
    log = RunLog(tmp_path / "out", console)
    assert recipe._captions(read, log) is None
    assert "squares/captions.csv is absent" in console.file.getvalue()
    captions = tmp_path / "data/squares/captions.csv"
    captions.touch()
    assert recipe._captions(read, log) == captions


@pytest.mark.slow
def test_all_stages_are_trained_and_the_last_one_is_a_plan(
    write_recipe: Any, tmp_path: Path
) -> None:
    path = write_recipe(tiles=["2x1"])
    result = CliRunner().invoke(
        app, ["train", str(path), "train.seed=3", "--out", str(tmp_path / "out")]
    )
    assert result.exit_code == 0, result.output
    assert "mAP, 50.00 expected" in result.output
    with Tagger(tmp_path / "out/engine.plan") as tagger:
        assert tagger.labels == list(COLOURS)
    assert list(load_bundle(tmp_path / "out/engine.plan").manifest.tiles) == ["2x1"]
    _, student, _ = load_model(tmp_path / "out/student")
    assert student.train.init == tmp_path.resolve() / "out/teacher"
    assert student.train.teacher.runs == (tmp_path.resolve() / "out/teacher",)
    assert student.train.seed == 3
    assert student.train.finetune.epochs == 3, "keys of other stages stay there"


@pytest.mark.slow
def test_an_interrupted_recipe_continues_in_the_stage_that_was_not_finished(
    write_recipe: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from pvlr_training import train as module

    path, whole, started = write_recipe(), module.train, []

    def interrupted(config: Path, *args: Any, **options: Any) -> Path:
        started.append(config.stem)
        if started == ["teacher", "student"]:
            raise KeyboardInterrupt
        return whole(config, *args, **options)

    monkeypatch.setattr(module, "train", interrupted)
    command = ["train", str(path), "--out", str(tmp_path / "out")]
    first = CliRunner().invoke(app, command)
    assert first.exit_code == 130
    assert "run the command again with --resume" in " ".join(first.output.split())
    weights = (tmp_path / "out/teacher/model.safetensors").stat()
    again = CliRunner().invoke(app, [*command, "--resume"])
    assert again.exit_code == 0, again.output
    after = (tmp_path / "out/teacher/model.safetensors").stat()
    assert (weights.st_ino, weights.st_mtime_ns) == (after.st_ino, after.st_mtime_ns)


def test_an_invalid_key_of_a_later_stage_stops_before_the_first(
    write_recipe: Any, tmp_path: Path
) -> None:
    path = write_recipe(stages={"teacher": {}, "student": {"train": {"epoch": 3}}})
    with pytest.raises(ConfigError, match="epoch"):
        train_recipe(path, out=tmp_path / "out")
    assert not (tmp_path / "out/teacher").exists()


def test_a_stage_leaves_out_roles(write_recipe: Any, tmp_path: Path) -> None:
    photos = {"squares": {"splits": ["train"]}, "again": {"folder": "squares", "holdout": 0.3}}
    stages = {"first": {}, "second": {"without": ["again"], "train": {"init": "first"}}}
    _, configs = recipe.write_stages(write_recipe(photos=photos, stages=stages), tmp_path / "out")
    sources = {name: load_config(path).data.sources for name, path in configs.items()}
    assert [source.holdout for source in sources["first"]] == [None, 0.3]
    assert [source.holdout for source in sources["second"]] == [None]
    for wrong in (["circles"], "again"):
        path = write_recipe(photos=photos, stages={"first": {"without": wrong}})
        with pytest.raises(ConfigError, match=r"stages\.first\.without"):
            recipe.write_stages(path, tmp_path / "out")


def test_photos_that_are_absent_are_said_and_left_out(write_recipe: Any, tmp_path: Path) -> None:
    path = write_recipe(photos={"squares": {"splits": ["train"]}, "circles": {}})
    said = io.StringIO()
    train_recipe(path, out=tmp_path / "out", dry_run=True, console=Console(file=said, width=200))
    assert "circles: no such folder" in said.getvalue()
    assert len(load_config(tmp_path / "out/student.yaml").data.sources) == 1


def test_parts_of_a_folder_are_roles_with_keys_of_their_own(
    write_recipe: Any, tmp_path: Path
) -> None:
    parts = {
        "squares": {"splits": ["train"], "only": {"red": ["1"]}},
        "others": {
            "folder": "squares",
            "splits": ["train"],
            "without": {"red": ["1"]},
            "holdout": 0.0,
        },
    }
    _, configs = recipe.write_stages(write_recipe(photos=parts), tmp_path / "out")
    first, second = load_config(configs["student"]).data.sources
    assert first.labels == second.labels == tmp_path / "data/squares/labels.csv"
    assert (first.only, second.without) == ({"red": ("1",)}, {"red": ("1",)})
    assert (first.holdout, second.holdout) == (None, 0.0)


@pytest.mark.parametrize("name", ["../x", "a/b", "/tmp/x", "", ".", "..", "a\\b", "a\n"])
def test_a_stage_is_named_like_a_file(write_recipe: Any, tmp_path: Path, name: str) -> None:
    before = set(tmp_path.rglob("*"))
    path = write_recipe(stages={"first": {}, name: {}})
    with pytest.raises(ConfigError, match=r"stages\."):
        recipe.write_stages(path, tmp_path / "out")
    assert set(tmp_path.rglob("*")) - before <= {path}


def test_without_any_photos(write_recipe: Any, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="a folder of circles"):
        train_recipe(write_recipe(photos={"circles": {}}), out=tmp_path / "out")


@pytest.mark.parametrize("path", sorted(RECIPES.glob("*.yaml")), ids=lambda path: path.stem)
def test_every_stage_of_a_shipped_recipe_is_valid(
    path: Path, write_recipe: Any, tmp_path: Path
) -> None:
    raw = yaml.safe_load(path.read_text())
    for role in raw["photos"]:
        (tmp_path / "data" / role).mkdir(exist_ok=True)
        (tmp_path / "data" / role / "labels.csv").write_text("file,split\n")
    _, configs = recipe.write_stages(path, tmp_path / "out")
    assert list(configs) == list(raw["stages"])
    for name, config in configs.items():
        left_out = raw["stages"][name].get("without", [])
        assert len(load_config(config).data.sources) == len(raw["photos"]) - len(left_out)
