"""``pvlr sign`` and ``pvlr verify-signature``, with keys of OpenSSL, and PVLR_TRUST for the other commands."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import pytest
import typer

from pvlr_sdk import LabelBank
from tests.pvlr_sdk.labels import tiny_open

pytest.importorskip("cryptography")
if not shutil.which("openssl"):
    pytest.skip("openssl is not installed", allow_module_level=True)

P256 = ["-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256"]
ED25519 = ["-algorithm", "ed25519"]


@pytest.fixture
def make_key(tmp_path):
    """Makes a key as the help says: returns the private one, and the folder with the public one."""

    def make(*options: str) -> tuple[Path, Path]:
        key, folder = tmp_path / "key.pem", tmp_path / "keys"
        folder.mkdir()
        subprocess.run(
            ["openssl", "genpkey", *options, "-out", key], check=True, capture_output=True
        )
        subprocess.run(
            ["openssl", "pkey", "-in", key, "-pubout", "-out", folder / "me.pem"], check=True
        )
        return key, folder

    return make


@pytest.fixture(autouse=True)
def state(tmp_path, monkeypatch) -> Path:
    monkeypatch.delenv("PVLR_TRUST", raising=False)
    monkeypatch.setenv("PVLR_STATE", str(tmp_path / "versions.json"))
    return tmp_path / "versions.json"


@pytest.mark.parametrize("options", [P256, ED25519], ids=["P-256", "Ed25519"])
def test_signed_and_verified(pvlr, own_plan, make_key, options):
    key, keys = make_key(*options)
    done = pvlr("sign", own_plan, "--key", key, "--bundle-version", 7, "--expires", "2999-12-31")
    assert (done.code, done.out, done.err) == (0, f"{own_plan.with_suffix('.sig')}\n", "")
    done = pvlr("verify-signature", own_plan, "--trust", keys, "--json")
    facts = {
        "plan": str(own_plan),
        "name": "tiny",
        "key": "me",
        "version": 7,
        "expires": "2999-12-31",
    }
    assert (done.code, json.loads(done.out)) == (0, facts)
    assert "signature verified" in pvlr("verify-signature", own_plan.parent, "-t", keys).out


@pytest.mark.slow
def test_every_command_that_opens_a_plan(pvlr, own_plan, make_key, folder, tmp_path, monkeypatch):
    key, keys = make_key(*P256)
    monkeypatch.setenv("PVLR_TRUST", str(keys))
    table = tmp_path / "labels.csv"
    table.write_text("file,cat\na.jpg,1\nb.png,0\n")
    images = ["--images", folder, "--labels", table]
    (tmp_path / "site.yaml").write_text(f"plan: {own_plan}\ncameras: {{a: {{uri: 'test://'}}}}\n")
    site = ["--config", tmp_path / "site.yaml", "--check"]
    network = own_plan.with_name("model.onnx")
    shutil.copy(own_plan, network)
    commands = [
        ["tag", folder / "a.jpg", "--plan", own_plan],
        ["watch", *site],
        ["serve", *site],
        ["info", own_plan],
        ["labels", own_plan],
        ["eval", own_plan, *images],
        ["verify", own_plan, "--against", network, "--images", folder],
        ["thresholds", own_plan, *images, "--dry-run"],
        ["bench", own_plan, "--seconds", "0.1"],
        ["verify-signature", own_plan],
    ]
    for command in commands:
        done = pvlr(*command)
        assert (done.code, done.out) == (2, ""), command
        assert "NotSignedError" in done.err, command
    assert "NotSignedError" in pvlr("doctor", own_plan).out
    assert pvlr("sign", own_plan, "--key", key).code == 0
    assert json.loads(pvlr("info", own_plan, "--json").out)["signature"] == {
        "key": "me", "version": 1, "expires": None
    }  # fmt: skip
    assert "verified, key me, version 1" in pvlr("info", own_plan).out
    assert pvlr("tag", folder / "a.jpg", "--plan", own_plan).code == 0


def test_a_new_plan_is_described_before_it_is_signed(
    pvlr, exported, make_key, tmp_path, monkeypatch
):
    _, keys = make_key(*P256)
    monkeypatch.setenv("PVLR_TRUST", str(keys))
    done = pvlr("build", exported.onnx, "--out", tmp_path / "new.plan", "--json")
    assert (done.code, json.loads(done.out)["signature"]) == (0, None)


def test_rollback(pvlr, own_plan, make_key, state):
    key, keys = make_key(*P256)
    state.write_text('{"tiny": 3}')
    pvlr("sign", own_plan, "--key", key, "--bundle-version", 2)
    call = ["verify-signature", own_plan, "--trust", keys]
    done = pvlr(*call)
    assert done.code == 2
    assert "RollbackError" in done.err
    assert "--allow-rollback" in done.err
    assert pvlr(*call, "--state").code == 0
    assert json.loads(state.read_text()) == {"tiny": 3}
    assert pvlr(*call, "--allow-rollback").code == 0
    assert json.loads(state.read_text()) == {"tiny": 2}
    assert pvlr(*call).code == 0


@pytest.mark.slow
def test_mistakes(pvlr, own_plan, make_key, monkeypatch):
    key, keys = make_key(*P256)
    assert "Missing option" in pvlr("verify-signature", own_plan).err
    assert "NotSignedError" in pvlr("verify-signature", own_plan, "--trust", keys).err
    assert "OptionError: --key" in pvlr("sign", own_plan, "--key", keys / "me.pem").err
    assert "OptionError: --key" in pvlr("sign", own_plan, "--key", "none.pem").err
    lock = ["-aes256", "-passout", "pass:secret", "-out", key.parent / "locked.pem"]
    subprocess.run(["openssl", "pkey", "-in", key, *lock], check=True)

    def abort(*_: object, **__: object) -> str:  # as without a terminal, or for Ctrl-C
        raise typer.Abort

    monkeypatch.setattr(typer, "prompt", abort)
    assert (
        "expected the passphrase of"
        in pvlr("sign", own_plan, "--key", key.parent / "locked.pem").err
    )
    for wrong in (["--expires", "tomorrow"], ["--expires", "1999-12-31"], ["--bundle-version", 0]):
        assert pvlr("sign", own_plan, "--key", key, *wrong).code == 2
    assert not own_plan.with_suffix(".sig").exists()


@pytest.mark.slow
def test_a_label_bank(pvlr, make_key, tmp_path, monkeypatch):
    key, keys = make_key(*P256)
    bank, made = tmp_path / "bank.safetensors", tiny_open.make_bank()
    taught = {
        "cat": {"positives": 3, "negatives": 9, "words": False, "plan": "ab12", "before": None}
    }
    made = LabelBank(made.names, made.embeddings, made.thresholds, {**made.text, "taught": taught})
    made.save(bank)
    monkeypatch.setenv("PVLR_TRUST", str(keys))
    for command in (
        ["labels", "--bank", bank],
        ["labels", bank],
        ["info", bank],
        ["verify-signature", bank],
    ):
        assert "NotSignedError" in pvlr(*command).err, command
    assert pvlr("sign", bank, "--key", key, "--bundle-version", 4).out == f"{bank}.sig\n"
    facts = {"plan": str(bank), "name": bank.name, "key": "me", "version": 4, "expires": None}
    assert json.loads(pvlr("verify-signature", bank, "--json").out) == facts
    lines = pvlr("labels", bank).out.splitlines()
    assert lines == pvlr("labels", "--bank", bank).out.splitlines()
    assert [line.split("\t")[0] for line in lines] == made.names
    assert [row["label"] for row in json.loads(pvlr("labels", bank, "--json").out)] == made.names
    described = json.loads(pvlr("info", bank, "--json").out)
    assert (described["sha256"], described["signature"]["version"]) == (made.sha256, 4)
    assert described["source"]["space"] == made.space
    assert [label["taught"] for label in described["labels"]] == [None, taught["cat"], None, None]
    text = pvlr("info", bank).out
    assert "4 labels, 1 of them taught or from words" in text
    assert "verified, key me, version 4" in text
    (line,) = (line for line in text.splitlines() if "label: cat" in line)
    assert line.endswith("threshold 0.632893, negatives 9, plan ab12, positives 3, words False")
    bank.write_bytes(b"no bank")
    assert "LabelBankError" in pvlr("sign", bank, "--key", key).err
