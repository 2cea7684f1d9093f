"""Signatures and those of the reference implementation, the package ``model-signing``, verify each other.

It is installed from PyPI into an environment of its own, which needs the network: it has many dependencies, and none of
them may reach this package.
"""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import venv
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pvlr_sdk import errors
from pvlr_sdk.models.find import default_plan, load_bundle
from pvlr_sdk.trust import Trust
from pvlr_sdk.trust.verify import signature_path

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def model_signing(
    tmp_path_factory: pytest.TempPathFactory,
) -> Callable[..., subprocess.CompletedProcess[str]]:
    """The command of that name."""
    folder = tmp_path_factory.mktemp("model_signing")
    venv.create(folder, symlinks=True)
    # Version 1.1.1 imports pyOpenSSL without requiring it.
    packages = ["model-signing==1.1.1", "pyopenssl"]
    install = [
        sys.executable,
        "-m",
        "pip",
        "--python",
        folder / "bin/python",
        "install",
        "-q",
        *packages,
    ]
    if subprocess.run(install, capture_output=True, check=False).returncode:
        pytest.skip("model-signing cannot be installed: no connection to PyPI")

    def run(*arguments: Any) -> subprocess.CompletedProcess[str]:
        command = [folder / "bin/python", "-m", "model_signing", *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=False)

    return run


def test_it_verifies_ours(model_signing: Any, signed: Path, keys: Any, sign: Any) -> None:
    sign(signed, keys.folder / "me.pem", version=3)
    (signed.parent / "README.md").write_text("not signed, and known to be beside a bundle")
    verify = ["verify", "key", signed.parent, "--public_key", keys.trusted / "me.pem"]
    verify += ["--signature", signature_path(signed)]
    done = model_signing(*verify)
    assert (done.returncode, done.stdout) == (0, "Verification succeeded\n"), done.stderr
    signed.write_bytes(signed.read_bytes() + b" ")
    assert "Hash mismatch for 'engine.plan'" in model_signing(*verify).stderr


def test_we_verify_its(model_signing: Any, signed: Path, keys: Any) -> None:
    """It signs all files of the folder, so all of them count; half of its signatures have the higher s."""
    (signed.parent / "README.md").write_text("signed")
    path = signature_path(signed)
    for _ in range(20):
        done = model_signing(
            "sign",
            "key",
            signed.parent,
            "--private_key",
            keys.folder / "me.pem",
            "--signature",
            path,
        )
        assert done.returncode == 0, done.stderr
        with contextlib.suppress(errors.SignatureInvalidError):
            bundle = load_bundle(signed, trust=keys.trusted)
            break
    assert bundle.signature is not None
    assert (bundle.signature.key, bundle.signature.name, bundle.signature.version) == (
        "me",
        signed.parent.name,
        0,
    )
    (signed.parent / "README.md").write_text("changed")
    with pytest.raises(errors.SignedFileChangedError, match=r"README\.md"):
        load_bundle(signed, trust=keys.trusted)


def test_it_verifies_the_bundled_model(model_signing: Any) -> None:
    folder = default_plan().parent
    key = folder.parent / "keys" / "dev.pem"
    done = model_signing(
        "verify", "key", folder, "--signature", folder / "engine.sig", "--public_key", key
    )
    assert (done.returncode, done.stdout) == (0, "Verification succeeded\n"), done.stderr
    assert json.loads((folder / "engine.sig").read_text())["mediaType"].endswith("bundle.v0.3+json")
    assert load_bundle(default_plan(), trust=Trust(key, state="")).trusted
