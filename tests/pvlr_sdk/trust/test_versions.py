"""Rollback: a signed bundle that is older than one that was in use is refused, unless it is asked for."""

from __future__ import annotations

import json
import os
import shutil
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from pvlr_sdk import Tagger, errors
from pvlr_sdk.cameras.sinks.webhook import WebhookSettings
from pvlr_sdk.models.find import load_bundle
from pvlr_sdk.trust import Trust, accept
from pvlr_sdk.trust.signature import Envelope, Statement, signed_bytes
from pvlr_sdk.trust.verify import signature_path
from pvlr_sdk.trust.versions import Versions
from tests.manifests import shift_golden

pytest.importorskip("cryptography")


def state() -> Any:
    return json.loads(Path(os.environ["PVLR_STATE"]).read_text())


@pytest.fixture
def older(signed: Path, keys: Any, sign: Any, tmp_path: Path) -> Path:
    """The same bundle, signed as version 1."""
    path = tmp_path / "older" / signed.name
    shutil.copytree(signed.parent, path.parent)
    sign(path, keys.folder / "me.pem", version=1)
    return path


def test_an_older_version_is_refused_before_it_is_parsed(
    signed: Path, older: Path, keys: Any, monkeypatch: Any
) -> None:
    load_bundle(older, trust=keys.trusted)
    Tagger(signed, trust=keys.trusted).close()
    assert state() == {"tiny": 2}
    monkeypatch.setattr("pvlr_sdk.bundle.bundle.parse_manifest", lambda *_: pytest.fail("parsed"))
    for use in (load_bundle, Tagger):
        with pytest.raises(
            errors.RollbackError, match=r"version 2 of tiny or a newer one, got version 1"
        ):
            use(older, trust=keys.trusted)


def test_only_a_bundle_that_works_counts(signed: Path, older: Path, keys: Any, sign: Any) -> None:
    """A new version that fails its self-test does not lock out the one that works."""
    shift_golden(signed, 5)
    sign(signed, keys.folder / "me.pem", version=3)
    load_bundle(signed, trust=keys.trusted)
    with pytest.raises(errors.SelfTestError):
        Tagger(signed, trust=keys.trusted)
    Tagger(older, trust=keys.trusted).close()
    assert state() == {"tiny": 1}


def test_back_on_purpose(signed: Path, older: Path, keys: Any) -> None:
    accept(load_bundle(signed, trust=keys.trusted).signature, keys.trusted)
    back = Trust(keys.trusted, allow_rollback=True)
    accept(load_bundle(older, trust=back).signature, back)
    assert state() == {"tiny": 1}
    assert load_bundle(older, trust=keys.trusted).trusted
    accept(load_bundle(signed, trust=keys.trusted).signature, keys.trusted)
    assert state() == {"tiny": 2}


def test_back_on_purpose_once(signed: Path, older: Path, keys: Any) -> None:
    """The permission is for one plan, not for those that its tagger loads in turn."""
    with (
        Tagger(signed, trust=keys.trusted) as tagger,
        tagger.load(older, allow_rollback=True) as back,
    ):
        assert state() == {"tiny": 1}
        back.load(signed).close()
        assert state() == {"tiny": 2}
        with pytest.raises(errors.RollbackError):
            back.load(older)


def test_a_signature_without_a_version_is_the_oldest(signed: Path, keys: Any, sign: Any) -> None:
    """As other tools make it, also under another name: the manifest has the bundle's name."""
    from pvlr_sdk.trust.keys import PrivateKey

    accept(load_bundle(signed, trust=keys.trusted).signature, keys.trusted)
    path, private = signature_path(signed), PrivateKey(keys.folder / "me.pem", lambda: "")
    statement = Statement.from_json(Envelope.from_bytes(path.read_bytes(), "").payload, "")
    for name in ("tiny", "folder"):
        payload = Statement(name, statement.files).to_json()
        path.write_bytes(
            Envelope(payload, private.sign(signed_bytes(payload)), private.fingerprint).to_bytes()
        )
        with pytest.raises(errors.RollbackError, match="a signature without a version"):
            load_bundle(signed, trust=keys.trusted)
    assert load_bundle(signed, trust=Trust(keys.trusted, state="")).trusted


def test_names_are_separate(tmp_path: Path) -> None:
    versions = Versions(tmp_path / "state" / "versions.json")
    versions.accept("a", 5)
    versions.accept("b", 2)
    versions.check("b", 2, "b.sig")
    with pytest.raises(errors.RollbackError):
        versions.check("a", 4, "a.sig")
    assert versions.path
    assert stat.S_IMODE(versions.path.stat().st_mode) == 0o600


def test_what_has_been_accepted_is_not_written_again(tmp_path: Path) -> None:
    """Neither an older version, nor the same on a disk that may be read-only."""
    versions = Versions(tmp_path / "versions.json")
    versions.accept("a", 5)
    before = (tmp_path / "versions.json").stat()
    for version in (5, 4):
        versions.accept("a", version)
        after = (tmp_path / "versions.json").stat()
        assert (after.st_ino, after.st_mtime_ns) == (before.st_ino, before.st_mtime_ns)
    versions.accept("a", 6)
    with pytest.raises(errors.RollbackError):
        versions.check("a", 5, "a.sig")


@pytest.mark.slow
def test_processes_that_record_at_once(tmp_path: Path) -> None:
    """None is lost, and a lower version never replaces a higher one."""
    code = (
        "import sys; from pathlib import Path; from pvlr_sdk.trust.versions import Versions\n"
        "versions = Versions(Path(sys.argv[1]))\n"
        "for i in range(1, 21): versions.accept('all', i); versions.accept(sys.argv[2], i)"
    )
    path = tmp_path / "versions.json"
    running = [
        subprocess.Popen([sys.executable, "-c", code, str(path), f"own{i}"]) for i in range(3)
    ]
    assert [process.wait(60) for process in running] == [0, 0, 0]
    assert json.loads(path.read_text()) == {"all": 20, "own0": 20, "own1": 20, "own2": 20}


def test_what_a_killed_process_left_is_removed_also_where_nothing_is_recorded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    versions = Versions(tmp_path / "versions.json")
    versions.accept("model", 3)
    left = tmp_path / f".versions.json.{'0' * 12}.tmp"
    left.touch()
    versions.accept("model", 3)
    assert left.exists()  # a live process may be about to rename it
    monkeypatch.setattr("pvlr_sdk._util.files._ABANDONED", -1)
    versions.accept("model", 3)
    assert not left.exists()


@pytest.mark.parametrize(
    "data",
    [
        b"", b"{", b"[1]", b'{"tiny": "2"}', b'{"tiny": true}', b'{"tiny": -1}', b'{"tiny": 3, "tiny": 1}',
        b'{"a": []}', b"[" * 100_000, b"\xff",
    ],
)  # fmt: skip
def test_a_damaged_state_is_not_an_empty_one(signed: Path, keys: Any, data: bytes) -> None:
    Path(os.environ["PVLR_STATE"]).write_bytes(data)
    with pytest.raises(errors.OptionError, match=r"PVLR_STATE.*Restore the file"):
        load_bundle(signed, trust=keys.trusted)


def test_a_link_to_a_missing_state_is_not_an_empty_one(signed: Path, keys: Any) -> None:
    path = Path(os.environ["PVLR_STATE"])
    path.parent.mkdir(parents=True, exist_ok=True)
    path.symlink_to(path.with_name("missing"))
    with pytest.raises(errors.OptionError, match="a link to a missing file"):
        load_bundle(signed, trust=keys.trusted)


def test_a_state_that_cannot_be_written(
    signed: Path, keys: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PVLR_STATE", str(keys.folder / "me.pem" / "versions.json"))
    with pytest.raises((errors.OutputError, errors.OptionError), match="PVLR_STATE"):
        Tagger(signed, trust=keys.trusted)
    monkeypatch.setenv("PVLR_STATE", "/proc/versions.json")
    with pytest.raises(errors.OutputError, match="PVLR_STATE"):
        Tagger(signed, trust=keys.trusted)


def test_where_the_state_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("PVLR_STATE", "STATE_DIRECTORY", "XDG_STATE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert Trust("keys").versions().path == tmp_path / ".local/state/pvlr_sdk/versions.json"
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "xdg"))
    assert Trust("keys").versions().path == tmp_path / "xdg/pvlr_sdk/versions.json"
    monkeypatch.setenv("STATE_DIRECTORY", "/var/lib/pvlr")
    assert Trust("keys").versions().path == Path("/var/lib/pvlr/versions.json")
    several = f"{tmp_path}/pvlr:/var/lib/other"  # systemd's StateDirectory=pvlr other
    monkeypatch.setenv("STATE_DIRECTORY", several)
    assert Trust("keys").versions().path == tmp_path / "pvlr/versions.json"
    WebhookSettings(url="http://host/").open_queue().close()
    assert len(list((tmp_path / "pvlr/queues").glob("webhook-*.sqlite"))) == 1
    monkeypatch.setenv("PVLR_STATE", str(tmp_path / "mine"))
    assert Trust("keys").versions().path == tmp_path / "mine"
    monkeypatch.setenv("PVLR_STATE", "")
    assert Trust("keys").versions().path is None
