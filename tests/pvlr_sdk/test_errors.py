"""The hint that names the pip command of an extra works from wherever the package comes from."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from pvlr_sdk import errors

ROOT = Path(__file__).parents[2]


@pytest.fixture
def installed(tmp_path, monkeypatch):
    """Pretend that pip installed the package; call it with the content of direct_url.json, None for an index."""

    def install(origin):
        monkeypatch.setattr(
            "pvlr_sdk.errors.install.__file__", str(tmp_path / "pvlr_sdk/errors/install.py")
        )
        record = tmp_path / "pvlr_sdk-9.dist-info"
        record.mkdir()
        (record / "METADATA").write_text("Metadata-Version: 2.1\nName: pvlr-sdk\nVersion: 9\n")
        if origin is not None:
            (record / "direct_url.json").write_text(json.dumps(origin))
        monkeypatch.syspath_prepend(str(tmp_path))

    return install


def test_in_the_checkout_the_hint_names_the_current_folder(monkeypatch):
    monkeypatch.chdir(ROOT)
    assert errors.install_hint("cameras") == 'Run pip install ".[cameras]".'


def test_a_checkout_elsewhere_is_named_by_its_path(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    assert errors.install_hint("cameras") == f'Run pip install "{ROOT}[cameras]".'


def test_a_package_from_a_folder_or_a_wheel_names_it(installed, tmp_path):
    wheel = tmp_path / "my wheels/pvlr_sdk-9-py3-none-any.whl"
    wheel.parent.mkdir()
    wheel.touch()
    installed({"url": wheel.as_uri(), "archive_info": {}})
    assert errors.install_hint("serve") == f'Run pip install "{wheel}[serve]".'


def test_a_folder_that_is_gone_is_not_named(installed, tmp_path):
    installed({"url": (tmp_path / "gone").as_uri(), "dir_info": {}})
    expected = 'Run pip install "WHEEL[serve]" with the path of your wheel of pvlr-sdk.'
    assert errors.install_hint("serve") == expected


def test_a_package_from_a_repository_names_its_address(installed):
    installed({"url": "https://example.org/a.git", "vcs_info": {"vcs": "git", "commit_id": "1"}})
    assert (
        errors.install_hint("serve")
        == 'Run pip install "pvlr-sdk[serve] @ git+https://example.org/a.git".'
    )


def test_a_wheel_of_unknown_place_is_not_replaced_by_a_name_that_no_index_has(installed):
    installed(None)
    expected = (
        'Run pip install --extra-index-url https://example.org "WHEEL[tensorrt]" with the path of '
        "your wheel of pvlr-sdk."
    )
    assert errors.install_hint("tensorrt", "--extra-index-url https://example.org") == expected
