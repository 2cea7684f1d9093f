"""Label banks and knowledge files: with trusted keys, what is not signed is refused, but for labels taught here."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pvlr_sdk import LabelBank, Tagger, errors
from pvlr_sdk.bundle.bundle import knowledge_path, labels_path
from pvlr_sdk.cameras.control.control import Control
from pvlr_sdk.cameras.control.plans import Plans
from pvlr_sdk.cameras.control.state import State
from pvlr_sdk.cameras.site import Site, load_config
from pvlr_sdk.cameras.site.factory import make_tagger
from pvlr_sdk.labels.knowledge import Calibration, Knowledge
from pvlr_sdk.models.find import load_bundle
from pvlr_sdk.trust import Trust
from pvlr_sdk.trust.verify import signature_path, verify_contents
from tests.pvlr_sdk.labels import tiny_open

pytest.importorskip("cryptography")
CHANGED = (errors.SignedFileChangedError, errors.SignatureInvalidError, errors.UntrustedKeyError)


def small_knowledge() -> Knowledge:
    one = np.ones((2, tiny_open.DEPTH), np.float16)
    text = {
        "space": tiny_open.SPACE,
        "features": tiny_open.FEATURES,
        "width": tiny_open.WIDTH,
        "sharpness": 5,
    }
    return Knowledge(["a", "b"], one, one, one, Calibration(), text)


@pytest.fixture
def bank(tmp_path: Path, trusted: Path, keys: Any, sign: Any) -> Path:
    """A label bank that is signed by itself, in version 1."""
    path = tmp_path / "bank.safetensors"
    tiny_open.make_bank().save(path)
    assert sign(path, keys.folder / "me.pem") == Path(f"{path}.sig")
    return path


@pytest.fixture
def knowledge(signed: Path, trusted: Path, keys: Any, sign: Any) -> Path:
    """A knowledge file that is part of a signed bundle."""
    small_knowledge().save(knowledge_path(signed))
    sign(signed, keys.folder / "me.pem", version=2)
    return knowledge_path(signed)


@pytest.fixture(scope="module")
def open_plan(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("onnx", reason="writes a network")
    return tiny_open.build_plan(tmp_path_factory.mktemp("open"))


def test_a_knowledge_file_is_part_of_its_bundle(
    knowledge: Path, signed: Path, keys: Any, sign: Any
) -> None:
    assert load_bundle(signed).trusted
    assert Knowledge.load(knowledge).names == ["a", "b"]
    data = knowledge.read_bytes()
    knowledge.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    of_plan = {"max_labels": 1, "plan": str(signed)}
    for load in (
        lambda: load_bundle(signed),
        lambda: Knowledge.load(knowledge),
        lambda: Knowledge.of_plan(of_plan),
    ):
        with pytest.raises(errors.SignedFileChangedError):
            load()
    assert Knowledge.load(knowledge, trust=False).names == ["a", "b"]
    knowledge.unlink()
    with pytest.raises(errors.SignedFileMissingError):
        load_bundle(signed)


def test_an_added_file_is_refused(signed: Path, trusted: Path) -> None:
    load_bundle(signed)
    small_knowledge().save(knowledge_path(signed))
    for load in (lambda: load_bundle(signed), lambda: Knowledge.load(knowledge_path(signed))):
        with pytest.raises(errors.FileNotSignedError, match="knowledge"):
            load()


def test_a_knowledge_file_by_itself(tmp_path: Path, trusted: Path, keys: Any, sign: Any) -> None:
    path = tmp_path / "model-open.knowledge.safetensors"
    small_knowledge().save(path)
    with pytest.raises(errors.NotSignedError, match=r"model-open\.knowledge\.safetensors\.sig"):
        Knowledge.load(path)
    sign(path, keys.folder / "me.pem")
    assert Knowledge.load(path).names == ["a", "b"]


def test_a_bundle_is_copied_with_it(knowledge: Path, signed: Path, tmp_path: Path) -> None:
    (tmp_path / "site.yaml").write_text("cameras: {a: 'test://'}\n")
    plans = Plans(State(tmp_path / "state"), lambda: load_config(tmp_path / "site.yaml"))
    installed = plans.install(signed)
    assert load_bundle(installed).trusted
    plans.discard(installed)  # which nothing names
    assert not installed.parent.exists()


@pytest.mark.parametrize("step", [61, pytest.param(1, marks=pytest.mark.slow)])
@pytest.mark.parametrize("kind", ["bank", "knowledge"])
def test_every_byte(
    bank: Path, knowledge: Path, keys: Any, sign: Any, kind: str, step: int
) -> None:
    path = {"bank": bank, "knowledge": knowledge}[kind]
    sign(path, keys.folder / "me.pem")
    load = {"bank": LabelBank, "knowledge": Knowledge}[kind].load
    load(path)
    for file in (path, signature_path(path)):
        data = file.read_bytes()
        for position in range(0, len(data), step):
            changed = bytearray(data)
            changed[position] ^= 1 << position % 8
            file.write_bytes(changed)
            with pytest.raises(CHANGED):
                load(path)
        file.write_bytes(data)
    load(path)


def test_the_signature_of_a_bank_belongs_to_its_name(bank: Path) -> None:
    loaded = LabelBank.load(bank)
    assert loaded.signature is not None
    assert (loaded.signature.key, loaded.signature.name, loaded.signature.version) == (
        "me",
        bank.name,
        1,
    )
    other = bank.with_name("other.safetensors")
    bank.rename(other)
    with pytest.raises(errors.NotSignedError):
        LabelBank.load(other)
    signature_path(bank).rename(signature_path(other))
    with pytest.raises(errors.FileNotSignedError):
        LabelBank.load(other)
    assert LabelBank.load(other, trust=False).signature is None


def test_the_bank_of_a_bundle_has_the_signature_of_the_bundle(signed: Path, trusted: Path) -> None:
    loaded = LabelBank.load(labels_path(signed))
    assert loaded.signature is not None
    assert loaded.signature.name == "tiny"
    labels_path(signed).write_bytes(loaded.select(loaded.names[:1]).to_bytes())
    with pytest.raises(errors.SignedFileChangedError):
        LabelBank.load(labels_path(signed))


def test_a_bank_that_is_not_signed(tmp_path: Path, trusted: Path) -> None:
    path = tmp_path / "bank.safetensors"
    tiny_open.make_bank().save(path)
    with pytest.raises(errors.NotSignedError, match=r"bank\.safetensors\.sig"):
        LabelBank.load(path)
    with pytest.raises(errors.LabelBankError, match="No such file"):
        LabelBank.load(tmp_path / "none.safetensors")


def test_a_version_counts_once_the_labels_are_in_use(
    bank: Path, open_plan: Path, trusted: Path, keys: Any, sign: Any, tmp_path: Path
) -> None:
    old = (
        shutil.copytree(bank.parent, tmp_path / "old", ignore=lambda *_: ["own", "keys", "old"])
        / bank.name
    )
    sign(bank, keys.folder / "me.pem", version=2)
    sign(open_plan, keys.folder / "me.pem")
    loaded = LabelBank.load(bank)
    LabelBank.load(old)
    with Tagger(open_plan) as tagger:
        tagger.set_labels(loaded)
    with pytest.raises(
        errors.RollbackError, match=r"verify-signature .*/bank\.safetensors --allow-rollback"
    ):
        LabelBank.load(old)
    assert LabelBank.load(old, trust=Trust(trusted, allow_rollback=True)).signature


def test_a_site_keeps_taught_labels_where_the_next_start_accepts_them(
    trusted: Path, state: Path, bank: Path, open_plan: Path, keys: Any, sign: Any, tmp_path: Path
) -> None:
    sign(open_plan, keys.folder / "me.pem")
    for path, kept in ((bank, False), (state / "bank.safetensors", True)):
        (tmp_path / "site.yaml").write_text(
            f"plan: {open_plan}\nbank: {path}\ncameras: {{a: 'test://'}}\n"
        )
        config = load_config(tmp_path / "site.yaml")
        with make_tagger(config) as tagger:
            site = Site(config, tagger=tagger)
            control = Control(tagger, site, State(tmp_path / "changes"), bank=path)
            fewer, before = tagger.label_bank.select(["cat"]), path.read_bytes()
            if kept:
                control.set_labels(fewer)
            else:
                with pytest.raises(errors.OptionError, match=f"bank: expected a file in {state}"):
                    control.set_labels(fewer)
                assert path.read_bytes() == before
                assert len(tagger.labels) == len(tiny_open.NAMES)
        with make_tagger(config) as tagger:
            assert tagger.labels == (["cat"] if kept else tiny_open.NAMES)


def test_the_keys_of_the_site_file_count(
    signed: Path, keys: Any, sign: Any, open_plan: Path, tmp_path: Path
) -> None:
    sign(open_plan, keys.folder / "me.pem")
    tiny_open.make_bank().save(tmp_path / "bank.safetensors")
    site = tmp_path / "site.yaml"
    site.write_text(
        f"plan: {open_plan}\nbank: bank.safetensors\ntrust: {keys.trusted}\ncameras: {{a: 'test://'}}\n"
    )
    with pytest.raises(errors.NotSignedError):
        make_tagger(load_config(site))


@pytest.mark.parametrize(
    "end", [".plan", ".json", ".labels.safetensors", ".knowledge.safetensors", ".sig"]
)
def test_links_in_a_bundle(knowledge: Path, signed: Path, tmp_path: Path, end: str) -> None:
    path = signed.with_suffix(end)
    path.rename(tmp_path / "elsewhere")
    path.symlink_to(tmp_path / "elsewhere")
    kind = errors.SignatureInvalidError if end == ".sig" else errors.SignedFileMissingError
    with pytest.raises(kind, match="symbolic link"):
        load_bundle(signed)


@pytest.mark.parametrize("end", ["", ".sig"])
def test_links_in_place_of_a_bank(bank: Path, tmp_path: Path, end: str) -> None:
    path = Path(f"{bank}{end}")
    path.rename(tmp_path / "elsewhere")
    path.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(errors.SignatureError, match="symbolic link"):
        LabelBank.load(bank)


def test_a_link_to_the_folder_is_the_owner_s_choice(
    signed: Path, trusted: Path, tmp_path: Path
) -> None:
    (tmp_path / "current").symlink_to(signed.parent)
    assert load_bundle(tmp_path / "current").trusted


def test_links_to_a_folder_inside(signed: Path, keys: Any, tmp_path: Path) -> None:
    """Other tools sign files in folders."""
    from pvlr_sdk.trust.keys import PrivateKey
    from pvlr_sdk.trust.signature import Envelope, SignedFile, Statement, signed_bytes
    from pvlr_sdk.trust.verify import verify

    (tmp_path / "m/sub").mkdir(parents=True)
    (tmp_path / "m/sub/x").write_bytes(b"x")
    digest = "2d711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881"
    payload, key = (
        Statement("m", {"sub/x": SignedFile(digest)}).to_json(),
        PrivateKey(keys.folder / "me.pem", str),
    )
    envelope = Envelope(payload, key.sign(signed_bytes(payload)), key.fingerprint)
    (tmp_path / "m/m.sig").write_bytes(envelope.to_bytes())
    trust = Trust(keys.trusted, state="")
    verify(tmp_path / "m/m.sig", [], trust)
    (tmp_path / "m/sub").rename(tmp_path / "sub")
    (tmp_path / "m/sub").symlink_to(tmp_path / "sub")
    with pytest.raises(errors.SignedFileMissingError, match="symbolic link"):
        verify(tmp_path / "m/m.sig", [], trust)


def test_a_download_needs_all_files_signed(signed: Path, keys: Any) -> None:
    files = (signed, signed.with_suffix(".json"), labels_path(signed), signature_path(signed))
    contents = {path: path.read_bytes() for path in files}
    trust = Trust(keys.trusted, state="")
    verify_contents(contents, trust)
    with pytest.raises(errors.FileNotSignedError, match="knowledge"):
        verify_contents({**contents, knowledge_path(signed): b""}, trust)
