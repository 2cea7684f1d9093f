"""Open plans on the TensorRT backend: the part for labels on the CPU, its results as inputs of the fake engine."""

from __future__ import annotations

import gc
import itertools
import shutil
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest

from pvlr_sdk import Tagger, errors
from pvlr_sdk.bundle.bundle import bundle_files, knowledge_path, label_network_path, labels_path
from pvlr_sdk.bundle.network import check_network
from pvlr_sdk.models.find import find_plan, load_bundle
from pvlr_sdk.workshop.compile.build import build
from pvlr_sdk.workshop.compile.tensorrt_options import Batch, BuildOptions
from tests.manifests import edit_manifest, read_raw
from tests.pvlr_sdk.labels import tiny_open
from tests.pvlr_sdk.labels.tiny_open import MAX, check, make_bank, random_bank
from tests.pvlr_sdk.trust.conftest import keys as keys
from tests.pvlr_sdk.trust.conftest import sign as sign

pytest.importorskip("onnx", reason="writes a network")
OPTIONS = BuildOptions(Batch(1, 1, 4), "native")


@pytest.fixture
def network(tmp_path):
    return tiny_open.write_network(tmp_path / "network", make_bank())


@pytest.fixture
def open_plan(trt, network, tmp_path):
    build(
        network,
        tmp_path / "open" / "engine.plan",
        device="tensorrt",
        precision="fp32",
        options=OPTIONS,
    )
    return tmp_path / "open" / "engine.plan"


@pytest.fixture
def frames():
    return list(
        np.random.default_rng(5).integers(0, 256, (12, *tiny_open.SIZE, 3)).astype(np.uint8)
    )


@pytest.mark.slow
@pytest.mark.parametrize("optimize", ["latency", "throughput"])
def test_results_are_those_of_the_definition(optimize, open_plan, frames):
    with Tagger(open_plan, optimize=optimize) as tagger:
        assert (tagger.info["max_labels"], tagger.info["cuda_graph"]) == (MAX, "in use")
        for bank in (
            make_bank(),
            random_bank(MAX, 1),
            random_bank(1, 2),
            random_bank(3, 3, without=2),
        ):
            tagger.set_labels(bank)
            for result, frame in zip(tagger.predict_batch(frames[:5]), frames, strict=False):
                check(result, frame, bank)


@pytest.mark.slow
def test_features_are_those_of_the_cpu(open_plan, network, frames, tmp_path):
    build(network, tmp_path / "engine.plan")
    with Tagger(open_plan) as tagger, Tagger(tmp_path / "engine.plan", precision="fp32") as cpu:
        results = [one.predict(frames[0]) for one in (tagger, cpu)]
        tagger.predict(frames[1])  # the first result keeps its features
        np.testing.assert_allclose(results[0].features, results[1].features, atol=1e-6)


@pytest.mark.slow
def test_the_bundled_model(trt, plugin_library, tmp_path):
    """With attention of several heads; the banks are its own labels, a selection, and labels by words."""
    plan = find_plan(None)
    manifest = build(plan, tmp_path / "engine.plan", device="tensorrt", precision="fp32")
    assert manifest.tensorrt.attention == "native"
    assert "a label bank of its own" in manifest.measured["refused"]["fp32 fused"]
    assert knowledge_path(tmp_path / "engine.plan").is_file()
    images = np.random.default_rng(0).integers(0, 256, (2, 300, 400, 3), np.uint8)
    with Tagger(tmp_path / "engine.plan") as tagger, Tagger(precision="fp32") as cpu:
        for bank in (
            cpu.label_bank,
            cpu.label_bank.select(["cup", "cat"]),
            Tagger(words=["espresso"]).label_bank,
        ):
            tagger.set_labels(bank)
            cpu.set_labels(bank)
            for image in images:
                result, expected = tagger.predict(image), cpu.predict(image)
                np.testing.assert_allclose(result.logits, expected.logits, atol=2e-3)
                np.testing.assert_allclose(result.features, expected.features, atol=1e-4)
    with Tagger(tmp_path / "engine.plan", words=["espresso"]) as tagger:
        assert tagger.labels == ["espresso"]


def test_a_label_is_taught(open_plan, tmp_path):
    for index in range(6):
        tiny_open.draw(tmp_path / "is" / f"{index}.png", "red", *(["blue"] if index % 2 else []))
    for index in range(18):
        tiny_open.draw(tmp_path / "not" / f"{index}.png", *[["green"], ["blue"], []][index % 3])
    with Tagger(open_plan) as tagger:
        tagger.add("mug", tmp_path / "is", tmp_path / "not")
        assert tagger.predict(tiny_open.paint(7, "red")).scores_by_label["mug"] > 0.5
        assert tagger.predict(tiny_open.paint(7, "green")).scores_by_label["mug"] < 0.5


def test_calls_in_progress_keep_their_bank(open_plan, frames, started):
    """Also those that wait, and whose batch would otherwise be filled by frames with another bank."""
    for optimize in ("latency", "throughput"):
        with Tagger(open_plan, optimize=optimize) as tagger:
            banks = [random_bank(count, count) for count in range(2, 6)]
            plans = [
                tagger._plan.with_labels(tagger._plan.backend, bank, tagger._defaults)
                for bank in banks
            ]
            pending = []
            for index, number in enumerate([0, 0, 0, 1, 1, 2, 3, 3, 3, 3, 0, 1]):
                tagger._plan = plans[number]  # without a wait, unlike set_labels
                pending.append((started(tagger, frames[index]), index, banks[number]))
            for finish, index, bank in pending[::-1]:
                check(finish(), frames[index], bank)


def test_threads_while_the_bank_changes(open_plan, frames):
    banks = [random_bank(1 + number % MAX, number) for number in range(12)]
    known = {bank.sha256: bank for bank in banks}
    with Tagger(open_plan, optimize="throughput") as tagger, ThreadPoolExecutor(8) as pool:
        tagger.set_labels(banks[0])
        jobs = [pool.submit(tagger.predict, frame) for frame in frames * 6]
        for bank in banks:
            tagger.set_labels(bank)
        for job, frame in zip(jobs, frames * 6, strict=True):
            check(job.result(), frame, known[job.result().bank])


def test_a_bank_is_computed_once_and_uploaded_once_by_each_context(
    open_plan, gpu, frames, started, monkeypatch
):
    copies: list[int] = []
    to_device = gpu.to_device
    monkeypatch.setattr(
        gpu, "to_device", lambda *given: (copies.append(given[0]), to_device(*given))
    )
    tagger = Tagger(open_plan)
    finish = [started(tagger, frame) for frame in frames[:2]]  # in both contexts
    results = [job() for job in finish]
    before = dict(gpu.graphs), sorted(gpu.allocated), gpu.kernel_launches
    projections = len(tagger._plan.backend._session.shapes.projections)
    assert projections == 7  # keys, values, and what is used as it is
    copies.clear()
    tagger.set_labels(random_bank(5, 1))  # tags the golden frame
    for _ in range(3):
        for job in [started(tagger, frame) for frame in frames]:
            results.append(job())
    assert len(copies) == 1 + 3 * len(frames) + 2 * projections
    # Nothing is allocated, and the graphs stay.
    assert (dict(gpu.graphs), sorted(gpu.allocated), gpu.kernel_launches) == before


@pytest.mark.slow
@pytest.mark.parametrize("fails", range(1, 6))
def test_an_upload_that_fails_half_way_mixes_no_banks(fails, open_plan, gpu, frames, monkeypatch):
    tagger, own, other = Tagger(open_plan), make_bank(), random_bank(MAX, 1)
    tagger.predict(frames[0])
    calls, to_device = itertools.count(), gpu.to_device

    def out_of_memory(*given: Any) -> None:
        gpu.fail = {"to_device": 2} if next(calls) == fails else {}
        to_device(*given)

    with monkeypatch.context() as patch:
        patch.setattr(gpu, "to_device", out_of_memory)
        with pytest.raises(errors.DeviceMemoryError):
            tagger.set_labels(other)
    gpu.fail = {}
    for frame in frames[:3]:
        check(tagger.predict(frame), frame, own)
    tagger.set_labels(other)
    check(tagger.predict(frames[0]), frames[0], other)


def test_a_closed_engine_has_no_other_labels(gpu_plan):
    with (
        Tagger(gpu_plan) as tagger,
        pytest.raises(errors.BackendError, match="expected an open plan, got one whose"),
    ):
        tagger.set_labels(make_bank())


def test_a_bank_closes_the_plan(trt, network, frames, tmp_path):
    manifest = build(
        network, tmp_path / "engine.plan", device="tensorrt", precision="fp32", bank=labels_path(network),
        options=OPTIONS,
    )  # fmt: skip
    assert (manifest.open, set(manifest.files)) == (None, {"plan", "labels"})
    assert not label_network_path(tmp_path / "engine.plan").exists()
    with Tagger(tmp_path / "engine.plan") as tagger:
        check(tagger.predict(frames[0]), frames[0], make_bank())


def test_fp16(trt, network, frames, tmp_path):
    build(network, tmp_path / "engine.plan", device="tensorrt", options=OPTIONS)
    bank = make_bank(5, seed=7)
    with Tagger(tmp_path / "engine.plan") as tagger:
        tagger.set_labels(bank)
        image = tagger._plan.inference.preprocess(frames[0], "bgr")
        np.testing.assert_allclose(
            tagger.predict(frames[0]).logits, tiny_open.forward(image, bank)[0], atol=0.02
        )


def test_the_part_for_labels_is_a_file_of_the_bundle(open_plan, keys, sign, monkeypatch, tmp_path):
    network = label_network_path(open_plan)
    check_network(network.read_bytes(), str(network))  # plain data
    assert network in bundle_files(open_plan)
    signed = shutil.copytree(open_plan.parent, tmp_path / "signed") / open_plan.name
    sign(signed, keys.make("me"))
    for plan, wrong in ((open_plan, errors.FileHashError), (signed, errors.SignedFileChangedError)):
        if plan is signed:
            monkeypatch.setenv("PVLR_TRUST", str(keys.trusted))
            monkeypatch.setenv("PVLR_STATE", str(tmp_path / "versions.json"))
            monkeypatch.delenv("PVLR_ALLOW_UNSIGNED")
            Tagger(plan).close()
        path = label_network_path(plan)
        data = path.read_bytes()
        path.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
        with pytest.raises(wrong, match=r"engine\.labels\.onnx"):
            Tagger(plan)
    monkeypatch.delenv("PVLR_TRUST")
    network.unlink()
    with pytest.raises(errors.PlanNotFoundError, match=r"engine\.labels\.onnx"):
        load_bundle(open_plan)


def test_manifests_of_open_and_closed_plans(open_plan, gpu_plan):
    edit_manifest(open_plan, lambda raw: raw["files"].pop("label_network"))
    with pytest.raises(
        errors.ManifestError, match="must name exactly 'plan' and 'labels' and 'label_network'"
    ):
        load_bundle(open_plan)
    more = read_raw(open_plan)["files"]["plan"]
    edit_manifest(gpu_plan, lambda raw: raw["files"].update(label_network=more))
    with pytest.raises(errors.ManifestError, match="must name exactly 'plan' and 'labels'"):
        load_bundle(gpu_plan)


def test_an_engine_with_other_inputs(open_plan, trt, network):
    """Such as one that was built from the whole network, or for banks of any size."""
    onnx = pytest.importorskip("onnx")
    payload = open_plan.read_bytes()[len(trt.MAGIC) :]
    model = onnx.load_from_string(payload)
    port = next(port for port in model.graph.input if port.name == "label_projection.1")
    for dim in port.type.tensor_type.shape.dim:
        dim.dim_param = "any"
    for onnx_payload, message in (
        (network.read_bytes(), "label_projection"),
        (model.SerializeToString(), "expected label_projection.1 of shape"),
    ):
        replace(open_plan, trt.plan(onnx_payload))
        with pytest.raises(errors.ModelError, match=message):
            Tagger(open_plan)


def test_the_last_backend_frees_the_gpu(open_plan, gpu, frames):
    tagger = Tagger(open_plan)
    for seed in range(3):
        tagger.set_labels(random_bank(2, seed))
        gc.collect()
        check(tagger.predict(frames[0]), frames[0], random_bank(2, seed))
    gc.disable()
    try:
        tagger.close()
        assert not gpu.graphs
        assert not gpu.streams
    finally:
        gc.enable()


def replace(plan, payload):
    from pvlr_sdk.bundle.bundle import describe

    plan.write_bytes(payload)
    edit_manifest(plan, lambda raw: raw["files"].update(plan=describe(payload).model_dump()))
