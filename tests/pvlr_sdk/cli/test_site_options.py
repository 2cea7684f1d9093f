"""Options of cameras that are given as URI."""

from __future__ import annotations

from pathlib import Path

import pytest

from pvlr_sdk import errors
from pvlr_sdk.cli.site_options import build_config
from pvlr_sdk.watch.factory import make_cameras

SITE = "cameras: {yard: 'rtsps://yard/'}"


@pytest.mark.parametrize("option", [{"loop": True}, {"insecure": True}, {"ca": Path("x.pem")}])
def test_without_a_uri(option: dict, tmp_path: Path) -> None:
    (tmp_path / "site.yaml").write_text(SITE)
    (name,) = option
    with pytest.raises(errors.OptionError, match=f"--{name}: expected a camera as URI, got none.* set {name}: there"):
        build_config(tmp_path / "site.yaml", [], **option)


def test_certificates(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Those of the file's cameras stay as they are; a relative path is one of the working directory."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/site.yaml").write_text(SITE)
    config = build_config(Path("etc/site.yaml"), ["https://door/"], ca=Path("door.pem"))
    pem = tmp_path / "door.pem"
    assert [(one.ca, one.insecure) for one in config.cameras.values()] == [(None, False), (pem, False)]
    config = build_config(None, ["https://door/", "rtsps://gate/"], insecure=True)
    assert [(one.ca, one.insecure) for one in config.cameras.values()] == [(None, True)] * 2


def test_a_file_of_certificates_that_is_missing(tmp_path: Path) -> None:
    with pytest.raises(errors.OptionError, match="ca: expected a file of certificates"):
        make_cameras(build_config(None, ["https://door/"], ca=tmp_path / "none.pem"))


def test_names_from_paths_are_valid() -> None:
    """The name of a camera is never hidden, nor a parent folder."""
    assert list(build_config(None, [".hidden.mp4", "..", "."]).cameras) == ["hidden", "camera", "camera-2"]


@pytest.mark.parametrize("command", ["watch", "serve"])
def test_the_device_of_the_file(pvlr, plan: Path, tmp_path: Path, command: str) -> None:
    """The option's default does not replace it."""
    (tmp_path / "site.yaml").write_text(f"plan: {plan}\ndevice: tpu\n{SITE}")
    done = pvlr(command, "--config", tmp_path / "site.yaml", "--check")
    assert (done.code, "device: expected one of auto, cpu, tensorrt, gpu, npu, got 'tpu'" in done.err) == (2, True)
