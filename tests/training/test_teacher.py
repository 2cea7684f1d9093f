"""Distillation: what teachers expect softens known labels and fills in unknown ones."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from pvlr_sdk import errors
from pvlr_training import teacher as module
from pvlr_training.checkpoint import load_model
from pvlr_training.config import TeacherConfig, load_config
from pvlr_training.data.augmentation import Views
from pvlr_training.data.images import load_dataset
from pvlr_training.deploy import DeployedPVLR
from pvlr_training.machine import Machine
from pvlr_training.teacher import teach
from pvlr_training.train import train

from .conftest import tiny_config


@pytest.fixture(scope="module")
def teacher(photos: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that tests only read."""
    folder = tmp_path_factory.mktemp("teacher")
    config = tiny_config(
        photos, train={"head": {"epochs": 1, "batch": 16}, "finetune": {"epochs": 0}}
    )
    (folder / "tiny.yaml").write_text(yaml.safe_dump(config))
    return train(folder / "tiny.yaml", out=folder / "run")


@pytest.mark.slow
def test_soft_targets_are_the_mixture_of_the_formula(write_config: Any, teacher: Path) -> None:
    config = load_config(write_config())
    dataset = load_dataset(config.data)
    dataset.targets[::2, 1] = 0
    machine = Machine("fp32")
    soft = teach(
        dataset, config.data.labels, TeacherConfig(runs=(teacher, teacher), weight=0.25), machine
    )
    deployed, views = DeployedPVLR(load_model(teacher)[0]), Views(config.data, seed=0)
    for row in (0, 1, 7):
        image = torch.from_numpy(views.plain(dataset.image(row)))[None]
        with torch.inference_mode():
            scores = torch.cat(
                [deployed(image).logits.sigmoid(), deployed(image.flip(-1)).logits.sigmoid()]
            )
        probabilities = scores.mean(0)
        for column, known in enumerate(dataset.targets[row].tolist()):
            expected = 2 * probabilities[column].item() - 1
            wanted = 0.75 * known + 0.25 * expected if known else expected
            assert soft[row, column].item() == pytest.approx(wanted, abs=2e-3)
    assert (soft != 0).all()


@pytest.mark.slow
def test_what_is_unknown_stays_unknown_without_fill(write_config: Any, teacher: Path) -> None:
    config = load_config(write_config())
    dataset = load_dataset(config.data)
    dataset.targets[::2, 1] = 0
    soft = teach(
        dataset, config.data.labels, TeacherConfig(runs=(teacher,), fill=False), Machine("fp32")
    )
    assert torch.equal(soft == 0, dataset.targets == 0)


@pytest.mark.slow
def test_a_teacher_that_is_stopped_goes_on_where_it_was_and_is_not_asked_twice(
    write_config: Any, teacher: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = Path(shutil.copytree(teacher, tmp_path / "run"))
    for left in run.glob("probabilities-*"):
        left.unlink()
    dataset = load_dataset(load_config(write_config()).data)
    labels, settings, machine = (
        load_config(write_config()).data.labels,
        TeacherConfig(runs=(run,)),
        Machine("fp32"),
    )
    expected = teach(dataset, labels, TeacherConfig(runs=(teacher,)), machine)
    ask, asked = module.Teacher.probability, []

    def probability(self: module.Teacher, images: torch.Tensor) -> torch.Tensor:
        if len(asked) == 3:
            asked.append(0)
            raise KeyboardInterrupt
        asked.append(len(images))
        return ask(self, images)

    monkeypatch.setattr(module.Teacher, "probability", probability)
    monkeypatch.setattr(module, "_SECONDS_BETWEEN_SAVES", 0.0)
    with pytest.raises(KeyboardInterrupt):
        teach(dataset, labels, settings, machine)
    torch.testing.assert_close(teach(dataset, labels, settings, machine), expected)
    assert sum(asked[4:]) == 2 * (len(dataset) - 32), "the first batch was asked again"
    del asked[4:]
    torch.testing.assert_close(teach(dataset, labels, settings, machine), expected)
    assert len(asked) == 4
    dataset.names[0] = "another.png"
    teach(dataset, labels, settings, machine)
    assert sum(asked[4:]) == 2 * len(dataset)
    next(iter(run.glob("probabilities-*"))).write_bytes(b"damaged")
    torch.testing.assert_close(teach(dataset, labels, settings, machine), expected)


@pytest.mark.slow
def test_other_labels_take_their_own_columns(write_config: Any, teacher: Path) -> None:
    config = load_config(write_config())
    dataset = load_dataset(config.data)
    settings, machine = TeacherConfig(runs=(teacher,), weight=1.0), Machine("fp32")
    whole = teach(dataset, config.data.labels, settings, machine)
    dataset.targets = dataset.targets[:, [2, 0]]
    two = teach(dataset, (config.data.labels[2], config.data.labels[0]), settings, machine)
    torch.testing.assert_close(two, whole[:, [2, 0]])


@pytest.mark.slow
def test_a_missing_teacher_or_one_with_other_labels_is_refused(
    write_config: Any, teacher: Path, tmp_path: Path
) -> None:
    with pytest.raises(errors.CheckpointError, match="nowhere"):
        train(
            write_config(train={"teacher": {"runs": [str(tmp_path / "nowhere")]}}),
            out=tmp_path / "a",
        )
    config = load_config(write_config())
    with pytest.raises(errors.ConfigError, match=r"train\.teacher\.runs: .* without 'violet'"):
        teach(
            load_dataset(config.data),
            ("red", "violet"),
            TeacherConfig(runs=(teacher,)),
            Machine("fp32"),
        )


@pytest.mark.slow
def test_a_student_learns_from_the_teacher_alone(
    write_config: Any, teacher: Path, tmp_path: Path
) -> None:
    path = write_config(
        train={"teacher": {"runs": [str(teacher)], "weight": 1.0}, "finetune": {"epochs": 0}}
    )
    assert (train(path, out=tmp_path / "student") / "model.safetensors").exists()


@pytest.mark.slow
def test_a_teacher_knows_a_label_by_its_words(write_config: Any, teacher: Path) -> None:
    config = load_config(write_config())
    dataset = load_dataset(config.data)
    dataset.targets[:] = 0
    settings, machine = TeacherConfig(runs=(teacher,)), Machine("fp32")
    whole = teach(dataset, config.data.labels, settings, machine)
    path = write_config(
        model={"text": {"encoder": "random", "names": {"rouge": "red", "bleu": "blue"}}}
    )
    other = load_config(path, ["data.labels=[bleu, green, rouge]"])
    words = other.model.text.words(other.data.labels)
    assert words == ("blue", "green", "red")
    torch.testing.assert_close(teach(dataset, words, settings, machine), whole[:, [2, 1, 0]])
