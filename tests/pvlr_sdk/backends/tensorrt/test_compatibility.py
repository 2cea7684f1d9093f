"""Plans that must not run: built for another device, damaged, foreign, or opened with options that do not fit."""

from __future__ import annotations

import gc
from contextlib import nullcontext
from pathlib import Path

import pytest

from pvlr_sdk import Tagger, errors
from pvlr_sdk.backends.tensorrt.compatibility import build_command
from pvlr_sdk.cameras.site import SiteConfig
from pvlr_sdk.cameras.site.factory import make_tagger
from pvlr_sdk.models.find import load_bundle
from tests.manifests import edit_manifest, read_raw
from tests.pvlr_sdk.trust.conftest import keys as keys
from tests.pvlr_sdk.trust.conftest import sign as sign


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"version": "10.13.0"}, "TensorRT: 10.13.0, got 10.3.0"),
        ({"version": "8.6.1"}, "TensorRT: 8.6.1, got 10.3.0"),
        (
            {"version": "11.0.0", "version_compatible": True},
            "TensorRT: 11.0.0 or newer, got 10.3.0",
        ),
        (
            {"capability": "8.9", "gpu": "L4"},
            "GPU: L4, compute capability 8.9, got Fake Orin, compute capability 8.7",
        ),
        ({"gpu": "Fake AGX"}, "GPU: Fake AGX, got Fake Orin"),
        (
            {"multiprocessors": 8},
            "GPU: Fake Orin with 8 multiprocessors, got Fake Orin with 16 multiprocessors",
        ),
        ({"machine": "sparc"}, "processor: sparc"),
        ({"plugins": "1", "attention": "fused"}, "plugin library: version 1, got none"),
        (
            {"version": "9.9", "capability": "7.2"},
            "TensorRT: 9.9; GPU: Fake Orin, compute capability 7.2, got 10.3.0; ",
        ),
    ],
)
def test_a_plan_for_something_else_never_reaches_tensorrt(
    change, words, make_plan, trt, monkeypatch
):
    monkeypatch.setattr(
        trt.Runtime, "deserialize_cuda_engine", lambda *_: pytest.fail("TensorRT saw the plan")
    )
    with pytest.raises(errors.PlanMismatchError) as caught:
        Tagger(make_plan(**change))
    assert words in str(caught.value)
    assert "pvlr build model.onnx -o engine.plan --device tensorrt --batch 1:1:4" in str(
        caught.value
    )


def test_the_command_that_builds_it_again_is_complete(make_plan):
    manifest = load_bundle(make_plan()).manifest
    changed = manifest.model_copy(update={"precision": "int8", "built": {"onnx": "my model.onnx"}})
    command = build_command(changed, Path("my plans", "engine 1.plan"))
    assert command.startswith("pvlr build 'my model.onnx' -o 'engine 1.plan' --device tensorrt ")
    assert command.endswith(" --precision int8 --calibration-images DIR")


@pytest.mark.parametrize(
    "change",
    [
        {"hardware": "ampere+", "capability": "8.9", "gpu": "L4"},
        {"hardware": "capability", "gpu": "Other Orin", "multiprocessors": 8},
        {"multiprocessors": 16},
    ],
)
def test_a_plan_for_more_gpus_runs_on_them(change, make_plan):
    assert Tagger(make_plan(**change)).info["device"] == "Fake Orin"


@pytest.mark.slow
def test_a_version_compatible_plan_needs_the_older_lean_runtime(make_plan, monkeypatch):
    plan = make_plan(version="10.2.0", version_compatible=True)
    with pytest.raises(errors.PlanMismatchError, match="PVLR_LEAN_RUNTIME"):
        Tagger(plan)
    monkeypatch.setenv("PVLR_LEAN_RUNTIME", "/opt/other.so")
    with pytest.raises(errors.PlanMismatchError, match=r"other\.so does not load"):
        Tagger(plan)
    monkeypatch.setenv("PVLR_LEAN_RUNTIME", "/opt/libnvinfer_lean.so")
    tagger = Tagger(plan)
    assert tagger.info["version"] == "10.3.0"
    # The parent of the lean runtime lives as long as the tagger, and not longer.
    parent = tagger._plan.backend._session._engine._runtime.parent
    gc.collect()
    assert parent() is not None
    tagger.close()
    del tagger
    gc.collect()
    assert parent() is None


@pytest.mark.parametrize(
    ("damage", "error"),
    [
        (lambda data: data[:-1], errors.FileSizeError),
        (lambda data: b"", errors.FileSizeError),
        (lambda data: data[:50] + bytes([data[50] ^ 4]) + data[51:], errors.FileHashError),
    ],
)
def test_a_damaged_plan_never_reaches_tensorrt(damage, error, gpu_plan, trt, monkeypatch):
    monkeypatch.setattr(
        trt.Runtime, "deserialize_cuda_engine", lambda *_: pytest.fail("TensorRT saw the plan")
    )
    gpu_plan.write_bytes(damage(gpu_plan.read_bytes()))
    with pytest.raises(error):
        Tagger(gpu_plan)


def test_a_foreign_plan_says_what_tensorrt_says(make_plan):
    with pytest.raises(errors.BackendError, match="kPLAN_MAGIC_TAG"):
        Tagger(make_plan(payload=b"some other file"))


def test_a_network_that_is_not_ours(make_plan, make_network, tmp_path):
    other = make_network(tmp_path / "other", output_name="probabilities")
    with pytest.raises(errors.ModelError, match="probabilities"):
        Tagger(make_plan(onnx=other.onnx.read_bytes()))
    wider = make_network(tmp_path / "wider", names=[f"label {n}" for n in range(9)])
    with pytest.raises(errors.ModelError, match=r"logits of shape \('batch', 5\)"):
        Tagger(make_plan(onnx=wider.onnx.read_bytes()))


def test_a_plan_that_computes_something_else(make_plan, make_network, tmp_path):
    other = make_network(tmp_path / "other", seed=7)
    with pytest.raises(errors.SelfTestError):
        Tagger(make_plan(onnx=other.onnx.read_bytes()))


def test_a_manifest_must_say_what_the_plan_was_built_for(gpu_plan):
    original = read_raw(gpu_plan)
    batch = original["tensorrt"] | {"batch": [2, 1, 4]}
    for change in ({"tensorrt": None}, {"tensorrt": batch}, {"backend": "openvino"}):
        edit_manifest(gpu_plan, lambda raw, change=change: raw.update(original | change))
        with pytest.raises(errors.ManifestError, match="tensorrt"):
            Tagger(gpu_plan)


def test_options_that_do_not_fit(gpu_plan, plan):
    with pytest.raises(errors.OptionError, match="fp16"):
        Tagger(gpu_plan, precision="fp32")
    with pytest.raises(errors.BackendError, match="a plan for cpu"):
        Tagger(gpu_plan, device="cpu")
    with pytest.raises(errors.BackendError, match="a plan for tensorrt"):
        Tagger(plan, device="tensorrt")


def test_an_unsigned_plan_is_code_that_nobody_vouches_for(gpu_plan, trt, monkeypatch):
    monkeypatch.delenv("PVLR_ALLOW_UNSIGNED")
    with monkeypatch.context() as patch:
        patch.setattr(
            trt.Runtime, "deserialize_cuda_engine", lambda *_: pytest.fail("TensorRT saw the plan")
        )
        with pytest.raises(errors.NotSignedError, match="PVLR_ALLOW_UNSIGNED"):
            Tagger(gpu_plan)
        monkeypatch.setenv("PVLR_ALLOW_UNSIGNED", "1")
        with pytest.raises(errors.NotSignedError):
            Tagger(gpu_plan, allow_unsigned=False)
    monkeypatch.delenv("PVLR_ALLOW_UNSIGNED")
    with Tagger(gpu_plan, allow_unsigned=True) as tagger:
        assert tagger.info["backend"] == "tensorrt"


@pytest.mark.parametrize("allowed", [False, True])
def test_a_site_file_allows_it(allowed, gpu_plan, monkeypatch):
    monkeypatch.delenv("PVLR_ALLOW_UNSIGNED")
    raw = {"plan": str(gpu_plan), "cameras": {"a": "test://"}, "allow_unsigned": allowed}
    with nullcontext() if allowed else pytest.raises(errors.NotSignedError):
        make_tagger(SiteConfig.parse(raw, source="x")).close()


def test_the_option_allows_it(gpu_plan, monkeypatch, tmp_path, photo):
    import cv2
    from typer.testing import CliRunner

    from pvlr_sdk.cli import app

    cv2.imwrite(str(tmp_path / "photo.png"), photo)
    monkeypatch.setenv("PVLR_ALLOW_UNSIGNED", "0")
    command = ["tag", str(tmp_path / "photo.png"), "--plan", str(gpu_plan)]
    assert isinstance(CliRunner().invoke(app, command).exception, errors.NotSignedError)
    assert CliRunner().invoke(app, [*command, "--allow-unsigned"]).exit_code == 0


def test_a_signed_plan_needs_no_permission(gpu_plan, monkeypatch, keys, sign):
    monkeypatch.setenv("PVLR_STATE", "")
    monkeypatch.delenv("PVLR_ALLOW_UNSIGNED")
    sign(gpu_plan, keys.make("me", "ed25519"))
    with Tagger(gpu_plan, trust=keys.trusted) as tagger:
        assert tagger.info["signature"]["key"] == "me"
