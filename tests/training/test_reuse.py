"""What a run can reuse from another: weights and cached features."""

from __future__ import annotations

import io
import re
from pathlib import Path
from typing import Any

import pytest
import torch
from rich.console import Console
from safetensors.torch import load_file

from pvlr_sdk.bundle.bundle import manifest_path
from pvlr_sdk.errors import CheckpointError, FileHashError
from pvlr_sdk.workshop.compile.build import build
from pvlr_training import reuse
from pvlr_training.checkpoint import load_model
from pvlr_training.config import load_config
from pvlr_training.export import export
from pvlr_training.model.network import PVLR
from pvlr_training.reuse import Weights, start_from
from pvlr_training.train import train
from tests.manifests import edit_manifest

QUIET = Console(file=io.StringIO())
STILL = ["train.head.epochs=0", "train.finetune.epochs=0"]


def weights(run: Path) -> dict[str, torch.Tensor]:
    return load_file(run / "model.safetensors")


def as_trained(run: Path) -> PVLR:
    """The network of a run without its calibration."""
    model = load_model(run)[0]
    model.load_state_dict(weights(run))
    return model


def renamed(photos: Path, folder: Path, labels: str) -> str:
    """The override that gives labels of ``photos`` other names."""
    (folder / "rename.json").write_text(labels)
    source = f"{{images: {photos}, labels: {photos}/labels.csv, splits: [train], rename: {folder}/rename.json}}"
    return f"data.sources=[{source}]"


@pytest.mark.slow
def test_a_run_with_the_same_labels_starts_from_all_weights(
    write_config: Any, tmp_path: Path
) -> None:
    first = train(write_config(), out=tmp_path / "first", console=QUIET)
    second = train(
        write_config(), [*STILL, f"train.init={first}"], out=tmp_path / "second", console=QUIET
    )
    before, after = weights(first), weights(second)
    assert all(torch.equal(before[name], tensor) for name, tensor in after.items())


@pytest.mark.slow
def test_a_share_of_the_first_weights_is_kept(write_config: Any, tmp_path: Path) -> None:
    first = train(write_config(), out=tmp_path / "first", console=QUIET)
    changes = [
        "train.head.epochs=1",
        "train.finetune.epochs=1",
        "train.seed=1",
        f"train.init={first}",
    ]
    alone = train(write_config(), changes, out=tmp_path / "alone", console=QUIET)
    mixed = train(
        write_config(), [*changes, "train.keep=0.25"], out=tmp_path / "mixed", console=QUIET
    )
    before, after, kept = weights(first), weights(alone), weights(mixed)
    assert not torch.equal(before["head.project.weight"], after["head.project.weight"])
    for name, tensor in kept.items():
        if tensor.is_floating_point():
            torch.testing.assert_close(
                tensor, 0.25 * before[name] + 0.75 * after[name], rtol=1e-5, atol=1e-6
            )


@pytest.mark.slow
def test_a_run_with_other_labels_takes_what_belongs_to_no_label(
    write_config: Any, photos: Path, tmp_path: Path
) -> None:
    first = train(write_config(), out=tmp_path / "first", console=QUIET)
    french = renamed(photos, tmp_path, '{"red": "rouge", "green": "vert", "blue": "bleu"}')
    other = ["data.labels=[rouge, vert, bleu]", french, f"train.init={first}"]
    second = train(write_config(), [*STILL, *other], out=tmp_path / "second", console=QUIET)
    before, after = weights(first), weights(second)
    same = {name for name, tensor in after.items() if torch.equal(before[name], tensor)}
    assert {name for name in after if name.startswith("backbone.")} <= same
    assert {"head.project.weight", "head.dma.0.visual_key.weight", "text.context.prompts"} <= same
    assert not {"head.predict.bias", "text.context.residual", "text.knowledge"} & same


@pytest.mark.slow
def test_labels_that_both_runs_describe_alike_keep_their_weights(
    write_config: Any, photos: Path, tmp_path: Path
) -> None:
    first = train(write_config(), out=tmp_path / "first", console=QUIET)
    french = renamed(photos, tmp_path, '{"red": "rouge", "green": "vert"}')
    other = ["data.labels=[blue, vert, rouge]", french, f"train.init={first}"]
    text = {"encoder": "random", "names": {"rouge": "red"}}
    second = train(
        write_config(model={"text": text}), [*STILL, *other], out=tmp_path / "second", console=QUIET
    )
    before, after = weights(first), weights(second)
    for name in ("head.predict.bias", "text.context.residual"):
        # blue, and rouge, whose words are "red"
        assert torch.equal(after[name][[0, 2]], before[name][[2, 0]]), name
        assert not torch.equal(after[name][1], before[name][1]), name
    assert torch.equal(after["text.knowledge"][2], before["text.knowledge"][0])


@pytest.mark.slow
def test_positions_are_interpolated_for_another_input_size(
    write_config: Any, tmp_path: Path
) -> None:
    first = train(
        write_config(), ["train.finetune.epochs=1"], out=tmp_path / "first", console=QUIET
    )
    for side in (96, 128):
        size = [f"data.input.width={side}", f"data.input.height={side}", f"train.init={first}"]
        second = train(
            write_config(), [*STILL, *size], out=tmp_path / f"second-{side}", console=QUIET
        )
        expected, model = as_trained(first), as_trained(second)
        expected.resize(side, side)
        images = torch.randn(2, 3, side, side)
        with torch.inference_mode():
            torch.testing.assert_close(model(images).logits, expected(images).logits)


def test_other_prompts_are_not_overwritten_by_those_of_the_first_run(
    write_config: Any, tmp_path: Path
) -> None:
    first = train(write_config(), STILL, out=tmp_path / "first", console=QUIET)
    said = io.StringIO()
    other = ["model.text.templates=['a drawing of a {}.']", f"train.init={first}"]
    second = train(
        write_config(), [*STILL, *other], out=tmp_path / "second", console=Console(file=said)
    )
    before, after = weights(first), weights(second)
    assert not torch.equal(before["text.knowledge"], after["text.knowledge"])
    same = [name for name, tensor in after.items() if torch.equal(before[name], tensor)]
    assert len(same) == len(after) - 1
    assert f"starts from {first}: " in said.getvalue()


def test_a_plan_of_version_0_2_may_have_a_head_in_its_head(
    write_config: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = load_config(write_config())
    first, second = (PVLR(config.data.labels, 64, 64, config.model) for _ in range(2))
    evidence = {"head.weight": torch.ones(3, 8), "head.bias": torch.ones(3)}
    of_plan = {
        name.replace("head.", "head.head.", 1): tensor
        for name, tensor in first.state_dict().items()
    }
    found = Weights({**of_plan, **evidence}, first.text.words, 64, 64)
    monkeypatch.setattr(reuse, "_weights", lambda folder, model: found)
    start_from(Path("plan"), second)
    for (name, mine), theirs in zip(
        second.state_dict().items(), first.state_dict().values(), strict=True
    ):
        assert torch.equal(mine, theirs), name


@pytest.mark.slow
@pytest.mark.parametrize(
    "labels", [[], ["data.labels=[blue, red]"]], ids=["same labels", "other labels"]
)
def test_a_run_starts_from_what_a_plan_has(
    write_config: Any, tmp_path: Path, labels: list[str]
) -> None:
    """The backbone gives the same tokens, to 16 bits, and the layers that read the image are the same."""
    first = train(write_config(), out=tmp_path / "first", console=QUIET)
    plan = tmp_path / "plan" / "engine.plan"
    build(export(first, tmp_path), plan)
    said = io.StringIO()
    started = [*STILL, *labels, "train.seed=5", f"train.init={plan.parent}"]
    second = train(
        write_config(), started, out=tmp_path / "second", console=Console(file=said, width=500)
    )
    assert f"starts from {plan.parent}: " in said.getvalue()

    models = [load_model(first)[0], as_trained(second)]
    before, after = (model.state_dict() for model in models)
    reads_image = re.compile(r"head\.(project|norm|position|dma\.0\.(visual|label_output)).*")
    names = [name for name in after if reads_image.fullmatch(name)]
    assert len(names) == 27
    for name in [*names, *([] if labels else ["head.predict.bias"])]:
        torch.testing.assert_close(after[name], before[name], rtol=0.005, atol=1e-6, msg=name)
    side = models[0].grid[0] * models[0].backbone.stride
    with torch.inference_mode():
        images = torch.randn(2, 3, side, side)
        expected, got = (model.backbone(images) for model in models)
    torch.testing.assert_close(got, expected, rtol=0, atol=0.01 * float(expected.abs().max()))


@pytest.mark.slow
def test_a_plan_of_another_backbone_or_a_damaged_one_is_refused(
    write_config: Any, tmp_path: Path
) -> None:
    plan = tmp_path / "plan" / "engine.plan"
    build(
        export(train(write_config(), STILL, out=tmp_path / "first", console=QUIET), tmp_path), plan
    )
    other = ["model.backbone=test_resnet", f"train.init={plan}"]
    with pytest.raises(CheckpointError, match="weights for test_resnet"):
        train(write_config(), other, out=tmp_path / "other", console=QUIET)
    whole = manifest_path(plan).read_bytes()
    section = {"version": "10.3.0", "capability": "8.7", "gpu": "Orin", "machine": "aarch64"}
    edit_manifest(
        plan, lambda raw: raw.update(backend="tensorrt", precision="fp16", tensorrt=section)
    )
    with pytest.raises(CheckpointError, match="a plan for the CPU, got one for tensorrt"):
        train(write_config(), [f"train.init={plan}"], out=tmp_path / "engine", console=QUIET)
    manifest_path(plan).write_bytes(whole)
    plan.write_bytes(plan.read_bytes()[:-1] + b"?")
    with pytest.raises(FileHashError):
        train(write_config(), [f"train.init={plan}"], out=tmp_path / "damaged", console=QUIET)
    with pytest.raises(CheckpointError, match="nothere"):
        train(
            write_config(),
            [f"train.init={tmp_path}/nothere"],
            out=tmp_path / "missing",
            console=QUIET,
        )
