"""Label banks from words: the encoder equals that of training, without PyTorch; invalid words."""

from __future__ import annotations

import errno
import json
import sys
import zipfile
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from pvlr_sdk import LabelBank, errors
from pvlr_sdk.labels import Knowledge, bank_from_words
from pvlr_sdk.labels import encoder as encoders
from pvlr_sdk.labels.encoder import TextEncoder

pytest.importorskip("all_minilm_l6_v2", reason="needs the extra [words]")
pytest.importorskip("tokenizers", reason="needs the extra [words]")

WORDS = ["forklift", "hard hat", "spilled liquid"]


@pytest.fixture(scope="module")
def encoder():
    return TextEncoder()


@pytest.fixture
def no_encoder(monkeypatch):
    """Fails a test that opens the encoder: arguments are checked first."""
    monkeypatch.setattr(
        "pvlr_sdk.labels.words.TextEncoder", lambda: pytest.fail("the encoder was opened")
    )


@pytest.mark.slow
def test_it_equals_the_encoder_of_training(encoder):
    text = pytest.importorskip("pvlr_training.model.text", reason="needs the extra [train]")
    texts = [*WORDS, "Café, naïve — 日本 \N{GRINNING FACE}", "a", "a photo of a zebra.", "?!"]
    texts += [f"there is a {index} in the scene." for index in range(70)]  # more than one group
    reference = text.open_text_encoder("minilm")
    np.testing.assert_allclose(encoder.encode(texts), reference.encode(texts), atol=1e-5)
    too_long = ["word " * 600]
    np.testing.assert_allclose(encoder.encode(too_long), reference.encode(too_long), atol=1e-5)


@pytest.mark.slow
def test_a_text_is_encoded_alone_as_among_others(encoder):
    np.testing.assert_allclose(
        encoder.encode(["cat"]), encoder.encode(["cat", "word " * 50])[:1], atol=1e-6
    )


@pytest.mark.slow
def test_a_bank_has_the_mean_of_its_prompts(encoder):
    bank = bank_from_words(
        WORDS, templates=["a {}", "two {}s"], descriptions={"hard hat": "a helmet"}
    )
    assert bank.names == WORDS
    assert bank.text["encoder"] == "minilm"
    assert bank.text["prompts"] == ["a forklift", "two forklifts"]
    np.testing.assert_array_equal(bank.thresholds, np.float32(0.5))
    prompts = ["a hard hat", "two hard hats", "a helmet"]
    np.testing.assert_allclose(bank.embeddings[1], encoder.encode(prompts).mean(0), atol=1e-4)
    again = bank_from_words(word for word in [" forklift ", "hard  hat", "spilled liquid"])
    assert again.names == WORDS


@pytest.mark.slow
def test_banks_of_words_equal_those_of_training():
    prompts = pytest.importorskip("pvlr_training.model.prompts", reason="needs the extra [train]")
    config = pytest.importorskip("pvlr_training.model.config").TextConfig()
    text = pytest.importorskip("pvlr_training.model.text")
    expected = prompts.encode_knowledge(
        text.open_text_encoder("minilm"), prompts.knowledge_prompts(tuple(WORDS), config)
    )
    np.testing.assert_allclose(bank_from_words(WORDS).embeddings, expected.numpy(), atol=1e-4)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "words: expected at least one word, got none"),
        ("forklift", "words: expected a list of words, got str"),
        (3, "words: expected a list of words, got int"),
        (["cat", "dog", "cat"], "words: expected each word once, got 'cat' twice"),
        (["Cat", " cat"], "words: expected each word once, got 'cat' twice"),
        (["cat", " "], "none empty, got ' '"),
        (["cat", None], "none empty, got None"),
        (["cat\n"], r"without control characters, none empty, got 'cat\\n'"),
        (["\ud800"], r"without control characters"),
        (["w" * 1001], "of 1 to 1000 characters"),
        (["$HOME"], r"words: expected a word without \$, got '\$HOME'"),
        (["cat", "${PATH}"], r"a word without \$"),
        (["dog=cat"], "a word without ="),
        (["kite|bird"], r"a word without \|"),
    ],
)
def test_invalid_words(words, message, no_encoder):
    with pytest.raises(errors.OptionError, match=message):
        bank_from_words(words)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"templates": []}, "templates: expected a list of templates"),
        ({"templates": "a {}"}, "templates: expected a list of templates"),
        ({"templates": ["a photo"]}, r"templates: expected a \{\} in each template, got 'a photo'"),
        (
            {"descriptions": {"dog": "barks"}},
            "descriptions: expected words of this bank, got 'dog'",
        ),
        ({"descriptions": {"cat": " "}}, "descriptions: expected a description of 'cat'"),
        ({"descriptions": ["cat"]}, "descriptions: expected a mapping"),
    ],
)
def test_invalid_prompts(options, message, no_encoder):
    with pytest.raises(errors.OptionError, match=message):
        bank_from_words(["cat"], **options)


@pytest.mark.slow
def test_the_command_works_without_pytorch(without_pytorch, tmp_path):
    (tmp_path / "lines.json").write_text(json.dumps({"hard hat": "a helmet that workers wear"}))
    command = ["bank", "make", "--words", "forklift, hard hat,", "--template", "a {}."]
    out = without_pytorch(*command, "-o", "bank.safetensors", "--descriptions", "lines.json")
    assert out == "bank.safetensors\n"
    bank = LabelBank.load(tmp_path / "bank.safetensors")
    expected = Knowledge.load().bank(
        ["forklift", "hard hat"],
        templates=["a {}."],
        descriptions={"hard hat": "a helmet that workers wear"},
    )
    assert bank.to_bytes() == expected.to_bytes()


@pytest.mark.parametrize("contents", [None, "{", "[1]"])
def test_the_command_writes_nothing_for_invalid_descriptions(contents, tmp_path, monkeypatch):
    from pvlr_sdk.cli import app

    monkeypatch.chdir(tmp_path)
    if contents is not None:
        (tmp_path / "lines.json").write_text(contents)
    with pytest.raises(errors.OptionError, match="descriptions"):
        app(
            ["bank", "make", "-w", "cat", "-o", "b.safetensors", "--descriptions", "lines.json"],
            standalone_mode=False,
        )
    assert not (tmp_path / "b.safetensors").exists()


@pytest.mark.parametrize("module", ["tokenizers", "all_minilm_l6_v2"])
def test_without_the_extra_it_says_how_to_install_it(module, monkeypatch):
    monkeypatch.setitem(sys.modules, module, None)
    find = encoders.importlib.util.find_spec
    monkeypatch.setattr(
        encoders.importlib.util, "find_spec", lambda name: None if name == module else find(name)
    )
    with pytest.raises(errors.MissingPartError, match=r'pip install "\S*\[words\]"'):
        bank_from_words(["cat"])


def test_damaged_files_are_named(monkeypatch, tmp_path):
    folder = tmp_path / "pvlr_sdk" / "minilm-l6-v2"
    folder.mkdir(parents=True)
    (folder / "config.json").write_text("{}")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    with pytest.raises(errors.MissingPartError, match=r"minilm-l6-v2, got .*Remove the folder"):
        bank_from_words(["cat"])


def test_a_cache_that_cannot_be_written_is_named(monkeypatch, tmp_path):
    (tmp_path / "pvlr_sdk").write_text("a file where the folder should be")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    with pytest.raises(errors.OutputError, match="a writable folder"):
        bank_from_words(["cat"])


def test_a_damaged_package_is_named_and_leaves_nothing(monkeypatch, tmp_path):
    (tmp_path / "package").mkdir()
    (tmp_path / "package" / "model.zip").write_bytes(b"no archive")
    spec = SimpleNamespace(origin=str(tmp_path / "package" / "__init__.py"))
    monkeypatch.setattr(encoders.importlib.util, "find_spec", lambda _: spec)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    with pytest.raises(errors.MissingPartError, match="not a zip file"):
        encoders.minilm_folder()
    (tmp_path / "package" / "model.zip").unlink()
    with pytest.raises(errors.MissingPartError, match=r"model\.zip"):
        encoders.minilm_folder()


@pytest.mark.parametrize("reason", ["full disk", "another process"])
def test_what_is_not_used_of_the_unpacked_files_is_removed(monkeypatch, tmp_path, reason):
    cache = tmp_path / "pvlr_sdk"
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))

    def extract(_: zipfile.ZipFile, folder: Path) -> None:
        folder.mkdir(parents=True)
        (folder / "part").write_bytes(b"some of it")
        if reason == "full disk":
            raise OSError(errno.ENOSPC, "No space left on device")
        (cache / "minilm-l6-v2").mkdir()
        (cache / "minilm-l6-v2" / "config.json").write_text("{}")

    monkeypatch.setattr(zipfile.ZipFile, "extractall", extract)
    if reason == "full disk":
        with pytest.raises(errors.OutputError, match="No space left"):
            encoders.minilm_folder()
        assert not any(cache.iterdir())
    else:
        assert encoders.minilm_folder() == cache / "minilm-l6-v2"
        assert [path.name for path in cache.iterdir()] == ["minilm-l6-v2"]


def test_no_home_folder_is_a_typed_error(monkeypatch):
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setattr(Path, "home", lambda: Path("~nobody-at-all").expanduser())
    with pytest.raises(errors.OutputError, match="set XDG_CACHE_HOME"):
        encoders.minilm_folder()
