"""Signed bundles: whatever is changed, removed, replaced or renamed is refused before anything is parsed."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pvlr_sdk import Tagger, errors
from pvlr_sdk.bundle import bundle as module
from pvlr_sdk.bundle.bundle import labels_path, manifest_path, read_manifest
from pvlr_sdk.models.find import default_plan, load_bundle
from pvlr_sdk.trust import Trust, accept
from pvlr_sdk.trust.verify import signature_path, verify, verify_contents
from tests.manifests import edit_manifest

pytest.importorskip("cryptography")
ROOT = Path(__file__).parents[3]
FILES = [Path, manifest_path, labels_path, signature_path]


@pytest.fixture
def unparsed(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the parsers that were called with a file of the bundle."""
    called: list[str] = []

    def spy(owner: Any, name: str) -> None:
        parse = getattr(owner, name)
        monkeypatch.setattr(
            owner, name, lambda *given, **more: (called.append(name), parse(*given, **more))[1]
        )

    spy(module, "parse_manifest")
    spy(module.LabelBank, "from_bytes")
    return called


def refused(plan: Path, trust: Any, kind: type[errors.SignatureError]) -> errors.SignatureError:
    """Opening the plan raises exactly this error."""
    with pytest.raises(errors.SignatureError) as caught:
        load_bundle(plan, trust=trust)
    assert type(caught.value) is kind, caught.value
    return caught.value


class TestAccepted:
    @pytest.mark.parametrize("kind", ["p256", "ed25519"])
    def test_a_signed_bundle(
        self, own_plan: Path, keys: Any, sign: Any, unparsed: list[str], today: date, kind: str
    ) -> None:
        made = sign(own_plan, keys.make("me", kind), version=7, expires=today)
        assert made == signature_path(own_plan)
        bundle = load_bundle(own_plan, trust=Trust(keys.trusted, state=""))
        assert bundle.trusted
        assert bundle.signature is not None
        assert bundle.signature.to_dict() == {
            "key": "me",
            "version": 7,
            "expires": today.isoformat(),
        }
        assert (bundle.payload, bundle.signature.name) == (own_plan.read_bytes(), "tiny")
        assert unparsed == ["parse_manifest", "from_bytes"] * 2  # for the signer, and here

    def test_without_trusted_keys_nothing_is_verified(self, signed: Path) -> None:
        signature_path(signed).write_bytes(b"garbage")
        bundle = load_bundle(signed)
        assert (bundle.trusted, bundle.signature) == (False, None)
        accept(bundle.signature)
        assert not Path(os.environ["PVLR_STATE"]).exists()

    def test_the_bytes_that_were_verified_are_those_that_are_used(
        self, signed: Path, keys: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Each file is replaced as soon as it was read; nothing looks at the disk a second time."""
        read: list[str] = []

        def swap(folder: Path, name: str, limit: int) -> bytes:
            path = folder / name
            read.append(name)
            data = path.read_bytes()
            path.write_bytes(b"replaced after it was read")
            return data

        monkeypatch.setattr(verify, "__defaults__", (swap,))
        bundle = load_bundle(signed, trust=keys.trusted)
        assert sorted(read) == [
            "engine.json",
            "engine.labels.safetensors",
            "engine.plan",
            "engine.sig",
        ]
        assert bundle.trusted
        assert bundle.labels.names == [label.name for label in bundle.manifest.labels]

    def test_one_key_file_instead_of_a_folder(self, signed: Path, keys: Any) -> None:
        assert load_bundle(signed, trust=keys.trusted / "me.pem").trusted

    def test_the_variable_holds_everywhere(
        self, signed: Path, keys: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("PVLR_TRUST", str(keys.trusted))
        assert load_bundle(signed).trusted
        assert read_manifest(signed).name == "tiny"
        with Tagger(signed) as tagger:
            assert tagger.info["signature"] == {"key": "me", "version": 2, "expires": None}
        signature_path(signed).unlink()
        for use in (load_bundle, read_manifest, Tagger):
            with pytest.raises(errors.NotSignedError):
                use(signed)
        assert not load_bundle(signed, trust=False).trusted

    def test_a_pickled_tagger_keeps_its_trust(
        self, signed: Path, keys: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        import pickle

        monkeypatch.chdir(keys.folder)
        with Tagger(signed, trust="trusted") as tagger:
            pickled = pickle.dumps(tagger)
        monkeypatch.chdir("/")
        pickle.loads(pickled).close()
        signature_path(signed).unlink()
        with pytest.raises(errors.NotSignedError):
            pickle.loads(pickled)

    @pytest.mark.slow
    def test_the_runtime_stays_light(self, signed: Path, keys: Any) -> None:
        code = (
            "import sys; from pvlr_sdk.models.find import load_bundle; load_bundle(sys.argv[1]); "
            "assert 'cryptography' not in sys.modules; assert load_bundle(sys.argv[1], trust=sys.argv[2]).trusted; "
            "print({'torch', 'sigstore', 'model_signing', 'requests', 'google.protobuf'} & set(sys.modules))"
        )
        command = [sys.executable, "-c", code, str(signed), str(keys.trusted)]
        assert (
            subprocess.run(command, capture_output=True, text=True, check=True).stdout == "set()\n"
        )

    def test_without_the_extra(
        self, signed: Path, keys: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setitem(sys.modules, "cryptography.hazmat.primitives", None)
        with pytest.raises(errors.MissingPartError, match=r"\[sign\]"):
            load_bundle(signed, trust=keys.trusted)
        assert not load_bundle(signed).trusted


class TestFiles:
    @pytest.mark.parametrize("step", [53, pytest.param(1, marks=pytest.mark.slow)])
    def test_every_byte(self, signed: Path, keys: Any, unparsed: list[str], step: int) -> None:
        """Each byte (or every 53rd) of each file, in memory, through the function that also verifies files."""
        contents = {file(signed): file(signed).read_bytes() for file in FILES}
        trust = Trust(keys.trusted, state="")
        verify_contents(contents, trust)
        unparsed.clear()
        flips = 0
        for path, data in contents.items():
            kinds = {errors.SignedFileChangedError}
            if path == signature_path(signed):
                kinds = {errors.SignatureInvalidError, errors.UntrustedKeyError}
            for position in range(0, len(data), step):
                changed = bytearray(data)
                changed[position] ^= 1 << position % 8
                with pytest.raises(errors.SignatureError) as caught:
                    verify_contents({**contents, path: bytes(changed)}, trust)
                assert type(caught.value) in kinds
                assert str(path) in str(caught.value)
                flips += 1
        assert flips >= sum(map(len, contents.values())) // step > 10_000 // step
        assert not unparsed

    @pytest.mark.slow
    def test_every_bit_of_the_signature(self, signed: Path, keys: Any) -> None:
        contents = {file(signed): file(signed).read_bytes() for file in FILES}
        path, trust = signature_path(signed), Trust(keys.trusted, state="")
        for bit in range(8 * len(contents[path])):
            changed = bytearray(contents[path])
            changed[bit // 8] ^= 1 << bit % 8
            with pytest.raises((errors.SignatureInvalidError, errors.UntrustedKeyError)):
                verify_contents({**contents, path: bytes(changed)}, trust)

    @pytest.mark.slow
    def test_bytes_of_a_large_bundle(
        self, keys: Any, sign: Any, tmp_path: Path, unparsed: list[str]
    ) -> None:
        """1,000 random bytes (``PVLR_FLIPS``) of the bundled model on disk, 12 MB."""
        shutil.copytree(default_plan().parent, tmp_path / "model")
        plan = tmp_path / "model" / "engine.plan"
        sign(plan, keys.make("me"))
        unparsed.clear()
        trust, paths = Trust(keys.trusted, state=""), [file(plan) for file in FILES]
        ends = np.cumsum([path.stat().st_size for path in paths])
        random = np.random.default_rng(0)
        for position in random.choice(
            int(ends[-1]), int(os.environ.get("PVLR_FLIPS", "1000")), replace=False
        ):
            path = paths[which := int(np.searchsorted(ends, position, side="right"))]
            offset = int(position - (ends[which - 1] if which else 0))
            with path.open("r+b") as file:
                file.seek(offset)
                (byte,) = file.read(1)
                file.seek(offset)
                file.write(bytes([byte ^ 1 << int(random.integers(8))]))
            with pytest.raises(errors.SignatureError, match=path.name):
                load_bundle(plan, trust=trust)
            with path.open("r+b") as file:
                file.seek(offset)
                file.write(bytes([byte]))
        assert not unparsed
        assert load_bundle(plan, trust=trust).trusted

    @pytest.mark.parametrize(
        ("file", "kind"),
        [
            (manifest_path, errors.SignedFileMissingError),
            (labels_path, errors.SignedFileMissingError),
            (signature_path, errors.NotSignedError),
        ],
    )
    def test_each_file_removed(
        self, signed: Path, keys: Any, unparsed: list[str], file: Callable[[Path], Path], kind: Any
    ) -> None:
        unparsed.clear()
        file(signed).unlink()
        assert str(file(signed)) in str(refused(signed, keys.trusted, kind))
        assert not unparsed

    def test_the_plan_removed(self, signed: Path, keys: Any) -> None:
        signed.unlink()
        for path in (signed, signed.parent):
            with pytest.raises(errors.PlanNotFoundError):
                load_bundle(path, trust=keys.trusted)

    @pytest.mark.parametrize("file", [Path, manifest_path, labels_path])
    @pytest.mark.parametrize("data", [b"", b"{", b"\x80\x04.", None])
    def test_each_file_replaced(
        self,
        signed: Path,
        keys: Any,
        unparsed: list[str],
        file: Callable[[Path], Path],
        data: bytes | None,
    ) -> None:
        """None: by the same with a byte more. A manifest of ``{`` would raise ManifestError if it were parsed."""
        unparsed.clear()
        path = file(signed)
        path.write_bytes(path.read_bytes() + b" " if data is None else data)
        assert str(path) in str(refused(signed, keys.trusted, errors.SignedFileChangedError))
        assert not unparsed

    def test_what_is_not_a_file(self, signed: Path, keys: Any) -> None:
        for file in (manifest_path, labels_path):
            data = file(signed).read_bytes()
            file(signed).unlink()
            os.mkfifo(file(signed))
            refused(signed, keys.trusted, errors.SignedFileMissingError)
            file(signed).unlink()
            file(signed).write_bytes(data)
        with signature_path(signed).open("r+b") as file:
            file.truncate(50 << 30)
        refused(signed, keys.trusted, errors.SignatureInvalidError)
        signature_path(signed).unlink()
        signature_path(signed).mkdir()
        refused(signed, keys.trusted, errors.SignatureInvalidError)

    def test_a_huge_file_is_not_read(self, signed: Path, keys: Any) -> None:
        with signed.open("r+b") as file:
            file.truncate(50 << 30)
        assert "Larger than the limit" in str(
            refused(signed, keys.trusted, errors.SignedFileChangedError)
        )

    def test_files_of_another_signed_bundle(
        self, signed: Path, keys: Any, sign: Any, tmp_path: Path
    ) -> None:
        """All parts are signed by the trusted key, but not together."""
        other = tmp_path / "other" / signed.name
        shutil.copytree(signed.parent, other.parent)
        edit_manifest(other, lambda raw: None)  # the same values in another text
        sign(other, keys.folder / "me.pem", version=2)
        load_bundle(other, trust=keys.trusted)
        shutil.copy(manifest_path(other), manifest_path(signed))
        refused(signed, keys.trusted, errors.SignedFileChangedError)

    def test_all_files_renamed(self, signed: Path, keys: Any, unparsed: list[str]) -> None:
        unparsed.clear()
        other = signed.with_name("other.plan")
        for file in FILES:
            file(signed).rename(file(other))
        error = refused(other, keys.trusted, errors.FileNotSignedError)
        assert "other.labels.safetensors" in str(error)
        assert "engine.json" in str(error)
        assert not unparsed

    def test_files_exchanged(self, signed: Path, keys: Any) -> None:
        bank, plan = labels_path(signed).read_bytes(), signed.read_bytes()
        labels_path(signed).write_bytes(plan)
        signed.write_bytes(bank)
        refused(signed, keys.trusted, errors.SignedFileChangedError)


class TestSign:
    def test_an_invalid_bundle_is_not_signed(self, signed: Path, keys: Any, sign: Any) -> None:
        before = signature_path(signed).read_bytes()
        signed.write_bytes(signed.read_bytes() + b" ")
        with pytest.raises(errors.FileSizeError):
            sign(signed, keys.folder / "me.pem")
        assert signature_path(signed).read_bytes() == before

    @pytest.mark.parametrize("version", [0, -1, 1 << 53])
    def test_versions_count_from_1(self, signed: Path, keys: Any, sign: Any, version: int) -> None:
        with pytest.raises(errors.OptionError, match="bundle-version"):
            sign(signed, keys.folder / "me.pem", version=version)

    def test_new_thresholds_need_a_new_signature(self, signed: Path, keys: Any, sign: Any) -> None:
        bundle = load_bundle(signed)
        module.write_thresholds(bundle, np.full(len(bundle.labels), 0.25, np.float32))
        refused(signed, keys.trusted, errors.SignedFileChangedError)
        sign(signed, keys.folder / "me.pem", version=3)
        assert load_bundle(signed, trust=keys.trusted).trusted
