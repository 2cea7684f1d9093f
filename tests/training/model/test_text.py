"""CLIP's and BERT's text models, tiny and with random weights, loaded like the real ones."""

from __future__ import annotations

import string
from pathlib import Path

import numpy as np
import pytest
import torch

from pvlr_sdk.errors import ConfigError
from pvlr_training.model.config import CapConfig, ModelConfig, TextConfig
from pvlr_training.model.network import PVLR
from pvlr_training.model.prompts import ContextPrompts
from pvlr_training.model.text import open_text_encoder

transformers = pytest.importorskip("transformers", reason="needs the extra [train]")

LETTERS = string.ascii_lowercase + string.digits + string.punctuation
TEXTS = ["dog", "a cat on a mat", "hot dog"]


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A CLIP with text and vision model, as on the hub; its tokens are single letters."""
    tokens = [
        *LETTERS,
        *(f"{letter}</w>" for letter in LETTERS),
        "<|startoftext|>",
        "<|endoftext|>",
    ]
    vocabulary = {token: index for index, token in enumerate(tokens)}
    last = len(tokens) - 1
    text = {
        "vocab_size": len(tokens),
        "bos_token_id": last - 1,
        "eos_token_id": last,
        "pad_token_id": last,
    }
    size = {
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
    }
    config = transformers.CLIPConfig(
        text_config={**text, **size, "projection_dim": 24},
        vision_config={**size, "image_size": 32, "patch_size": 16, "projection_dim": 24},
        projection_dim=24,
    )
    return save(
        tmp_path_factory.mktemp("clip"),
        transformers.CLIPModel(config),
        transformers.CLIPTokenizer(vocabulary, []),
    )


@pytest.fixture(scope="module")
def bert(tmp_path_factory: pytest.TempPathFactory) -> Path:
    tokens = [
        "[PAD]",
        "[UNK]",
        "[CLS]",
        "[SEP]",
        "[MASK]",
        *LETTERS,
        *(f"##{letter}" for letter in LETTERS),
    ]
    vocabulary = {token: index for index, token in enumerate(tokens)}
    size = {
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
    }
    config = transformers.BertConfig(vocab_size=len(tokens), max_position_embeddings=64, **size)
    return save(
        tmp_path_factory.mktemp("bert"),
        transformers.BertModel(config),
        transformers.BertTokenizer(vocabulary),
    )


def save(folder: Path, model: torch.nn.Module, tokenizer: object) -> Path:
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.mark.slow
@torch.no_grad()
def test_clip_is_pooled_and_projected_as_clip_does(clip: Path) -> None:
    encoder = open_text_encoder(str(clip))
    assert encoder.width == 24
    tokens = transformers.AutoTokenizer.from_pretrained(clip)(
        TEXTS, padding=True, return_tensors="pt"
    )
    whole = transformers.CLIPModel.from_pretrained(clip).eval()
    pixels = torch.zeros(1, 3, 32, 32)
    expected = whole(**tokens, pixel_values=pixels).text_embeds  # normalised, as CLIP compares them
    np.testing.assert_allclose(encoder.encode(TEXTS), expected, atol=1e-6)
    # Padding has no effect.
    np.testing.assert_allclose(encoder.encode(TEXTS[:1]), expected[:1], atol=1e-6)


@torch.no_grad()
def test_bert_is_the_mean_over_its_tokens(bert: Path) -> None:
    encoder = open_text_encoder(str(bert))
    assert encoder.width == 32
    tokenizer = transformers.AutoTokenizer.from_pretrained(bert)
    model = transformers.BertModel.from_pretrained(bert).eval()
    for text, got in zip(TEXTS, encoder.encode(TEXTS), strict=True):
        mean = model(**tokenizer([text], return_tensors="pt")).last_hidden_state[0].mean(0)
        np.testing.assert_allclose(got, mean / mean.norm(), atol=1e-6)


def test_prompts_before_the_language_model_need_one_that_takes_vectors(
    bert: Path, clip: Path
) -> None:
    context = ContextPrompts(
        open_text_encoder(str(bert)), tuple(TEXTS), CapConfig(mode="pre", tokens=2)
    )
    context().sum().backward()
    assert context.prompts.grad.abs().max() > 0
    with pytest.raises(ConfigError, match=r"model\.cap\.mode: expected post or none"):
        ContextPrompts(open_text_encoder(str(clip)), tuple(TEXTS), CapConfig(mode="pre", tokens=2))


@pytest.mark.slow
@pytest.mark.parametrize("encoder", ["clip", "bert"])
def test_a_whole_model_learns_with_either(encoder: str, request: pytest.FixtureRequest) -> None:
    text = TextConfig(encoder=str(request.getfixturevalue(encoder)))
    config = ModelConfig(
        backbone="test_efficientnet", pretrained=False, width=32, heads=4, ffn=32, text=text
    )
    model = PVLR(tuple(TEXTS), 64, 64, config)
    model(torch.randn(2, 3, 64, 64)).logits.sum().backward()
    assert model.text.context.prompts.grad.abs().max() > 0
    # the language model is not saved
    assert not [name for name in model.state_dict() if "encoder" in name]


def test_an_encoder_that_is_not_here_is_named(tmp_path: Path) -> None:
    with pytest.raises(
        ConfigError, match=r"model\.text\.encoder: expected minilm, random, or an encoder"
    ):
        open_text_encoder(str(tmp_path / "nothing"))
