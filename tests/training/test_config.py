"""Errors of a configuration name the invalid key."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from pvlr_sdk.errors import ConfigError
from pvlr_training.config import load_config, stored_config

CONFIGS = Path(__file__).parents[2] / "training" / "configs"


def test_overrides_reach_nested_keys(write_config: Any) -> None:
    config = load_config(
        write_config(), ["train.finetune.epochs=9", "model.cap.mode=none", "data.cutout=0.5"]
    )
    assert config.train.finetune.epochs == 9
    assert config.model.cap.mode == "none"
    assert config.data.cutout == 0.5


@pytest.mark.parametrize(
    ("override", "named"),
    [
        ("train.finetune.epoch=9", "train.finetune.epoch"),
        ("model.cap.mode=after", "model.cap.mode"),
        ("train.head.lr=-1", "train.head.lr"),
        ("name.first=x", "name.first"),
        ("just words", "just words"),
        ("data.labels=[dog", "data.labels: expected a value in YAML"),
        ("train.seed=99999999999", "train.seed"),
        ("train.label_dropout=1", "train.label_dropout"),
        ("train.keep=0.5", "train: expected keep 0 without init"),
    ],
)
def test_wrong_keys_and_values_are_named(write_config: Any, override: str, named: str) -> None:
    with pytest.raises(ConfigError, match=named):
        load_config(write_config(), [override])


def test_labels_can_only_be_left_out_of_a_head_that_reads_any(write_config: Any) -> None:
    load_config(write_config(), ["train.label_dropout=0.3"])
    with pytest.raises(ConfigError, match=r"train: expected label_dropout 0"):
        load_config(write_config(model={"head": "linear"}), ["train.label_dropout=0.3"])


@pytest.mark.parametrize(
    ("override", "hint"),
    [
        ("train.finetune.epoch=9", "Did you mean train.finetune.epochs?"),
        ("trian.seed=1", "Did you mean train?"),
        ("data.input.widht=9", "Did you mean data.input.width?"),
        (
            "train.epochs=9",
            "Did you mean train.head.epochs or train.finetune.epochs?",
        ),  # in other sections
        ("model.cap.zzz=1", "There are mode, tokens."),
    ],
)
def test_the_hint_names_the_key_that_was_meant(write_config: Any, override: str, hint: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load_config(write_config(), [override])
    assert caught.value.expected == "a known key"
    assert caught.value.hint == hint


def test_a_typo_in_a_source_is_suggested_too(write_config: Any) -> None:
    source = {"images": "/photos", "label": "labels.csv", "splits": ["train"]}
    with pytest.raises(
        ConfigError, match=r"data\.sources\.0\.label.* Did you mean data\.sources\.labels\?"
    ):
        load_config(write_config(data={"sources": [source]}))


@pytest.mark.parametrize("text", ["", "- a list", "name: [unclosed", "name: x"])
def test_files_that_are_no_configuration(tmp_path: Path, text: str) -> None:
    path = tmp_path / "bad.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=r"bad\.yaml"):
        load_config(path)


def test_paths_are_relative_to_the_file_and_variables_expand(
    write_config: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PHOTOS", "/somewhere")
    source = {"images": "$PHOTOS/images", "labels": "labels.csv", "splits": ["train"]}
    config = load_config(write_config(data={"sources": [source]}))
    assert config.data.sources[0].images == Path("/somewhere/images")
    assert config.data.sources[0].labels == tmp_path / "labels.csv"
    monkeypatch.delenv("PHOTOS")
    with pytest.raises(ConfigError, match="PHOTOS"):
        load_config(write_config(data={"sources": [source]}))


def test_a_file_changes_keys_of_its_base(
    write_config: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Paths in the base are relative to the base; a path that is replaced may have a variable that is not set."""
    monkeypatch.delenv("PHOTOS", raising=False)
    photos = {"images": "$PHOTOS/images", "labels": "labels.csv", "splits": ["train"]}
    base = write_config(data={"sources": [photos]}, train={"init": "first"})
    mine = tmp_path / "mine" / "changed.yaml"
    mine.parent.mkdir()
    mine.write_text(
        f"base: ../{base.name}\ntrain: {{head: {{epochs: 7}}}}\ndata: {{labels: [green]}}\n"
    )
    with pytest.raises(ConfigError, match="PHOTOS"):
        load_config(mine)
    config = load_config(mine, ["data.sources=[{images: photos, labels: more.csv}]"])
    before = load_config(base, ["data.sources=[{images: photos, labels: more.csv}]"])
    assert config.train.init == before.train.init == tmp_path / "first"
    assert (config.train.head.epochs, config.train.head.lr) == (7, before.train.head.lr)
    assert (config.data.labels, config.data.input) == (("green",), before.data.input)
    mine.write_text("base: nothing.yaml\n")
    with pytest.raises(ConfigError, match=r"mine/nothing\.yaml"):
        load_config(mine)
    mine.with_name("again.yaml").write_text("base: changed.yaml\n")
    mine.write_text(f"base: ../{base.name}\n")
    with pytest.raises(ConfigError, match=r"base: expected a known key"):
        load_config(mine.with_name("again.yaml"))


@pytest.mark.parametrize("path", sorted(CONFIGS.glob("*.yaml")), ids=lambda path: path.stem)
def test_shipped_configurations_are_valid(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PVLR_DATA", "/data")
    monkeypatch.setenv("VOCDEVKIT", "/data")
    config = load_config(path)
    assert config.name == path.stem
    assert all(source.rename is None or source.rename.is_file() for source in config.data.sources)


def test_a_path_on_the_command_line_is_relative_to_the_working_folder(
    write_config: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    monkeypatch.setenv("RUNS", "/srv/runs")
    assert (
        load_config(write_config(), ["train.init=runs/first"]).train.init
        == elsewhere / "runs" / "first"
    )
    assert load_config(write_config(), ["train.init=$RUNS/first"]).train.init == Path(
        "/srv/runs/first"
    )
    assert load_config(write_config(train={"init": "first"})).train.init == tmp_path / "first"


def test_paths_in_lists_are_resolved_as_well(
    write_config: Any, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    monkeypatch.setenv("RUNS", "/srv/runs")
    path = write_config(train={"teacher": {"runs": ["first", "$RUNS/second"]}})
    assert load_config(path).train.teacher.runs == (tmp_path / "first", Path("/srv/runs/second"))
    for override in (
        "train.teacher.runs=[first, $RUNS/second]",
        "train.teacher={runs: [first, $RUNS/second]}",
    ):
        runs = load_config(write_config(), [override]).train.teacher.runs
        assert runs == (elsewhere / "first", Path("/srv/runs/second"))
    source = f"{{images: images, labels: {photos}/labels.csv}}"
    config = load_config(write_config(), [f"data.sources=[{source}]", "data.labels=[node.js, red]"])
    assert config.data.sources[0].images == elsewhere / "images"
    assert config.data.labels == ("node.js", "red")


def test_labels_and_sources_are_enough(photos: Path, tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(
        f"data: {{sources: [{{images: {photos}, labels: {photos}/labels.csv}}], input: {{width: 64}}}}\n"
    )
    config = load_config(path, ["train.finetune.epochs=8"])
    assert (config.name, config.data.labels) == ("mine", ("red", "green", "blue"))
    assert (config.data.input.width, config.data.input.height) == (64, 224)
    assert (config.train.finetune.epochs, config.train.finetune.lr, config.train.head.lr) == (
        8,
        2e-4,
        5e-4,
    )


def test_all_errors_are_reported_at_once(write_config: Any) -> None:
    wrong = ["train.head.lr=-1", "data.holdout=0.7", "train.finetune.epoch=9", "model.width=many"]
    with pytest.raises(ConfigError) as caught:
        load_config(write_config(), wrong)
    lines = str(caught.value).splitlines()
    assert len(lines) == 4
    assert "train.finetune.epoch: expected a known key" in lines[0]
    rest = "\n".join(lines[1:])
    for part in (
        "train.head.lr: expected greater than 0, got -1",
        "data.holdout: expected a share",
        "model.width",
    ):
        assert part in rest


def test_voc_needs_a_list_of_labels(write_config: Any) -> None:
    source = {"kind": "voc", "devkit": "/somewhere", "splits": ["train"]}
    with pytest.raises(ConfigError, match=r"data\.labels"):
        load_config(write_config(data={"sources": [source], "labels": []}))


def test_a_checkpoint_of_version_0_2_has_settings_that_are_gone(write_config: Any) -> None:
    config = load_config(write_config())
    raw = config.model_dump(mode="json")
    raw["model"] |= {
        "attention": "fused",
        "csra": {"heads": 1, "weight": 0.1},
        "ml_decoder": {"groups": 100},
    }
    raw["model"] |= {
        "pooling": "soft",
        "classifier": "labels",
        "knowledge": "none",
        "knowledge_gain": 1.0,
    }
    raw["train"]["features"] = None
    assert stored_config(raw) == config
    models = {"head": "csra"}, {"knowledge": "imagenet"}
    for changed in ({**raw, "other": 1}, *({**raw, "model": model} for model in models), 3):
        with pytest.raises(ValueError, match="validation error"):
            stored_config(changed)
