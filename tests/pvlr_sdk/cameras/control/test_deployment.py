"""Another plan for a running site: what is refused, what returns by itself, and what is on disk."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pvlr_sdk import Tagger, errors
from pvlr_sdk._util.files import write_folder
from pvlr_sdk.bundle.sign import sign
from pvlr_sdk.cameras.control.deployment import Deployment
from pvlr_sdk.cameras.control.state import State
from pvlr_sdk.cameras.site import load_config
from pvlr_sdk.cameras.site.config import DeployConfig
from pvlr_sdk.cameras.site.factory import make_tagger
from pvlr_sdk.workshop.compile.build import build
from tests.manifests import shift_golden
from tests.pvlr_sdk.cameras.control.deployed import copies, named, plans_of, sha


@pytest.fixture
def deployment(tagger: Tagger, folder: Path) -> Deployment:
    return Deployment(tagger, None, plans_of(folder), DeployConfig(probation=0))


def names(folder: Path) -> list[str]:
    """The names of deployed plans."""
    return sorted(path.name.rpartition("-")[0] for path in copies(folder))


def test_it_is_copied_named_and_in_use(
    deployment: Deployment, tagger: Tagger, folder: Path, plans: Path
) -> None:
    written = (folder / "site.yaml").read_bytes()
    deployment.deploy(plans / "second")
    assert tagger.info["sha256"] == sha(plans / "second") == deployment.status.plan
    (copy,) = copies(folder)
    assert named(folder) == (copy / "engine.plan", folder / "first/engine.plan")
    assert (folder / "site.yaml").read_bytes() == written
    config = load_config(folder / "site.yaml")
    changes, dropped = State(folder / "state").read().fitting(config)
    with make_tagger(changes.applied(config)) as again:
        assert (again.info["sha256"], dropped) == (sha(plans / "second"), [])


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
def test_what_root_deploys_belongs_to_the_user_of_the_service(
    deployment: Deployment, folder: Path, plans: Path
) -> None:
    state = folder / "state"
    state.mkdir()
    os.chown(state, 12345, 12345)
    deployment.deploy(plans / "second")
    owners = {path.relative_to(state): path.stat().st_uid for path in state.rglob("*")}
    assert len(owners) > 4
    assert set(owners.values()) == {12345}


def test_a_deployed_plan_that_is_gone_does_not_end_the_start(
    deployment: Deployment, folder: Path, plans: Path
) -> None:
    deployment.deploy(plans / "second")
    (copy,) = copies(folder)
    shutil.rmtree(copy)
    changes, dropped = State(folder / "state").read().fitting(load_config(folder / "site.yaml"))
    assert (changes.deployed, dropped) == (None, [f"plan '{copy}/engine.plan', which is gone"])
    assert named(folder)[0] == folder / "first/engine.plan"


def test_a_plan_that_the_operator_names_later_is_used(
    deployment: Deployment, folder: Path, plans: Path
) -> None:
    deployment.deploy(plans / "second")
    file = folder / "site.yaml"
    file.write_text(file.read_text().replace("first/", f"{plans}/first/"))
    changes, dropped = State(folder / "state").read().fitting(load_config(file))
    assert changes.deployed is None
    assert dropped == [
        f"plan '{copies(folder)[0]}/engine.plan', since the site file now names '{plans}/first/engine.plan'"
    ]
    deployment.reload()
    assert deployment.status.plan == sha(plans / "first")


def test_back_and_forth(deployment: Deployment, tagger: Tagger, folder: Path, plans: Path) -> None:
    deployment.deploy(plans / "second")
    deployment.rollback()
    assert tagger.info["sha256"] == sha(plans / "first")
    assert named(folder)[0] == folder / "first/engine.plan"
    deployment.rollback()  # and forward again
    assert tagger.info["sha256"] == sha(plans / "second")


def test_only_the_previous_copy_is_kept(
    deployment: Deployment,
    make_network: Callable[..., Any],
    folder: Path,
    plans: Path,
    tmp_path: Path,
) -> None:
    build(make_network(tmp_path / "network", seed=9).onnx, tmp_path / "third/engine.plan")
    (folder / "state/plans/mine-0123456789ab").mkdir(parents=True)
    for name in ("second", "first"):
        deployment.deploy(plans / name)
    assert names(folder) == ["first", "mine", "second"]
    deployment.deploy(tmp_path / "third")
    assert names(folder) == ["first", "mine", "third"]
    assert (folder / "first/engine.plan").exists()  # not a copy


@pytest.mark.parametrize(
    ("name", "error"),
    [("other", errors.DeployError), ("order", errors.DeployError), ("bad", errors.SelfTestError),
     ("first", errors.DeployError), ("missing", errors.PlanNotFoundError), ("cut", errors.FileSizeError)],
)  # fmt: skip
def test_what_is_refused_changes_nothing(
    deployment: Deployment, tagger: Tagger, folder: Path, plans: Path, tmp_path: Path,
    name: str, error: type[Exception],
) -> None:  # fmt: skip
    new = tmp_path / name
    if name not in ("missing",):
        shutil.copytree(plans / ("second" if name in ("bad", "cut") else name), new)
    if name == "bad":
        shift_golden(new / "engine.plan", 1)
    if name == "cut":
        (new / "engine.plan").write_bytes((new / "engine.plan").read_bytes()[:-1])
    before = (folder / "site.yaml").read_text()
    with pytest.raises(error):
        deployment.deploy(new)
    assert (folder / "site.yaml").read_text() == before
    assert not copies(folder)
    assert tagger.predict(np.zeros((32, 32, 3), np.uint8)).plan == sha(plans / "first")
    assert error.__name__ in deployment.status.reason


def test_two_at_once(tagger: Tagger, folder: Path, plans: Path) -> None:
    """In one process, and in two, which a second object stands for."""
    first, second = (
        Deployment(tagger, None, plans_of(folder), DeployConfig(probation=0)) for _ in range(2)
    )
    with first._exclusively():
        for one in (first, second):
            with pytest.raises(errors.DeployError, match="in progress"):
                one.deploy(plans / "second")
    first.deploy(plans / "second")


def test_rollback_without_a_previous_plan(deployment: Deployment) -> None:
    with pytest.raises(errors.DeployError, match="previous plan"):
        deployment.rollback()


def test_a_folder_that_cannot_be_written(deployment: Deployment, folder: Path, plans: Path) -> None:
    (folder / "state").mkdir()
    (folder / "state/plans").write_text("a file in the place of the folder")
    before = (folder / "site.yaml").read_text()
    with pytest.raises(errors.OutputError):
        deployment.deploy(plans / "second")
    assert (folder / "site.yaml").read_text() == before


def test_copies_of_killed_processes_are_removed(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    room, plans = folder / "state/plans", plans_of(folder)
    others = [room / ".mine.tmp", room / f"second-{'0' * 12}", room / f"{'x' * 40}-{'0' * 12}"]
    for path in others[1:]:
        if not os.fork():  # killed before the copy appears
            monkeypatch.setattr(os, "rename", lambda *_: os.kill(os.getpid(), 9))
            try:
                write_folder(path, {"engine.plan": b"a part"})
            finally:
                os._exit(0)
        os.wait()
    unfinished = list(room.iterdir())
    for path in others:
        path.mkdir(parents=True)
        (path / "engine.plan").touch()
    with plans.locked():  # a deployment
        plans.remove_leftovers()
        assert len(unfinished) == 2
        assert all(path.exists() for path in unfinished)
    plans.remove_leftovers()
    assert sorted(room.iterdir()) == sorted(others)


def test_a_damaged_copy_is_made_again(
    deployment: Deployment, tagger: Tagger, folder: Path, plans: Path
) -> None:
    deployment.deploy(plans / "second")
    deployment.rollback()
    copy = copies(folder)[0] / "engine.plan"
    copy.write_bytes(b"damaged" + copy.read_bytes()[7:])
    deployment.deploy(plans / "second")
    assert tagger.info["sha256"] == sha(plans / "second")


def test_a_folder_that_is_gone(deployment: Deployment, folder: Path) -> None:
    """The thread that waits for SIGHUP goes on after an error of the SDK only."""
    shutil.rmtree(folder)
    with pytest.raises(errors.ConfigError, match="a YAML file"):
        deployment.reload()


class TestReload:
    def test_the_site_file_decides(
        self, deployment: Deployment, tagger: Tagger, folder: Path, plans: Path
    ) -> None:
        text = (folder / "site.yaml").read_text()
        (folder / "site.yaml").write_text(text.replace("first/", f"{plans}/second/"))
        deployment.reload()
        assert tagger.info["sha256"] == sha(plans / "second")
        deployment.rollback()
        assert tagger.info["sha256"] == sha(plans / "first")

    def test_a_rollback_names_a_plan_that_was_opened_by_a_relative_path(
        self, folder: Path, plans: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Relative to the working directory then; the next start may have another one."""
        monkeypatch.chdir(tmp_path)
        file = folder.relative_to(tmp_path) / "site.yaml"
        with make_tagger(load_config(file)) as tagger:
            deployment = Deployment(tagger, None, plans_of(file.parent), DeployConfig(probation=0))
            file.write_text(file.read_text().replace("first/", f"{plans}/second/"))
            deployment.reload()
            deployment.rollback()
        assert named(folder)[0] == folder / "first/engine.plan"

    def test_a_refused_plan_is_no_longer_named(
        self, deployment: Deployment, folder: Path, plans: Path
    ) -> None:
        """Or the next start would fail."""
        text = (folder / "site.yaml").read_text()
        (folder / "site.yaml").write_text(text.replace("first/", f"{plans}/other/"))
        with pytest.raises(errors.DeployError, match="labels"):
            deployment.reload()
        assert named(folder) == (folder / "first/engine.plan", None)

    def test_an_invalid_file_stays(self, deployment: Deployment, folder: Path) -> None:
        (folder / "site.yaml").write_text("plan: [")
        with pytest.raises(errors.ConfigError):
            deployment.reload()
        assert (folder / "site.yaml").read_text() == "plan: ["

    def test_without_a_site_file_the_plan_is_read_again(
        self, tagger: Tagger, folder: Path, plans: Path
    ) -> None:
        deployment = Deployment(tagger, settings=DeployConfig(probation=0))
        with pytest.raises(errors.DeployError, match="the same"):
            deployment.reload()
        shutil.copytree(plans / "second", folder / "first", dirs_exist_ok=True)
        deployment.reload()
        assert tagger.info["sha256"] == sha(plans / "second")


class TestTrust:
    @pytest.fixture(autouse=True)
    def _signed(
        self, plans: Path, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """``first`` with version 1 and ``second`` with version 2, signed by a trusted key."""
        pytest.importorskip("cryptography")
        if not shutil.which("openssl"):
            pytest.skip("openssl is not installed")
        key, keys = tmp_path / "key.pem", tmp_path / "keys"
        keys.mkdir()
        subprocess.run(["openssl", "genpkey", "-algorithm", "ed25519", "-out", key], check=True)
        subprocess.run(
            ["openssl", "pkey", "-in", key, "-pubout", "-out", keys / "me.pem"], check=True
        )
        shutil.copytree(plans / "second", tmp_path / "second")
        for version, plan in ((1, folder / "first"), (2, tmp_path / "second")):
            sign(plan / "engine.plan", key, version=version, passphrase=str)
        monkeypatch.setenv("PVLR_STATE", str(tmp_path / "versions.json"))

    @pytest.fixture(params=["environment", "argument", "site file"])
    def tagger(
        self,
        _signed: None,
        folder: Path,
        tmp_path: Path,
        request: pytest.FixtureRequest,
        monkeypatch: pytest.MonkeyPatch,
    ) -> Iterator[Tagger]:
        """Its keys are named in one of three places, and hold for every plan that it loads later."""
        trusted = str(tmp_path / "keys")
        if request.param == "environment":
            monkeypatch.setenv("PVLR_TRUST", trusted)
        if request.param == "site file":
            site = folder / "site.yaml"
            site.write_text(site.read_text() + f"trust: {trusted}\n")
            made = make_tagger(load_config(site))
        else:
            made = Tagger(
                folder / "first",
                num_threads=1,
                trust=None if request.param == "environment" else trusted,
            )
        with made:
            yield made

    def version(self, tmp_path: Path) -> int:
        return json.loads((tmp_path / "versions.json").read_text())["tiny"]

    def test_an_unsigned_plan_is_not_copied(
        self, deployment: Deployment, folder: Path, plans: Path
    ) -> None:
        with pytest.raises(errors.NotSignedError):
            deployment.deploy(plans / "second")
        assert not copies(folder)

    def test_a_rollback_lowers_the_version_that_was_recorded(
        self, deployment: Deployment, tagger: Tagger, folder: Path, tmp_path: Path
    ) -> None:
        deployment.deploy(tmp_path / "second")
        assert self.version(tmp_path) == 2
        with pytest.raises(errors.RollbackError):
            deployment.deploy(folder / "first")  # on purpose, it is possible
        deployment.rollback()
        assert self.version(tmp_path) == 1
        assert tagger.info["sha256"] == sha(folder / "first")

    def test_a_plan_that_is_refused_does_not_block_the_one_in_use(
        self, tagger: Tagger, folder: Path, tmp_path: Path
    ) -> None:
        def refuse(_: Tagger) -> None:
            raise errors.DeployError("x", expected="y", got="z", hint="")

        deployment = Deployment(tagger, None, plans_of(folder), check=refuse)
        with pytest.raises(errors.DeployError):
            deployment.deploy(tmp_path / "second")
        assert self.version(tmp_path) == 1
        tagger.load(folder / "first").close()
