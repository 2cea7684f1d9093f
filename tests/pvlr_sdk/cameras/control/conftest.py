"""A site whose plan is exchanged while it runs."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from pvlr_sdk import Tagger
from pvlr_sdk.cameras.control.deployment import Deployment
from pvlr_sdk.cameras.site import Site, load_config
from pvlr_sdk.cameras.site.config import DeployConfig
from tests.pvlr_sdk.cameras.control.deployed import plans_of
from tests.waiting import until

DEPLOYED = """
# A comment that stays.
plan: first/engine.plan
threads: 1
cameras: {door: 'test://?fps=30&size=64x48'}
events: {thresholds: {cat: 0}, labels: [cat], min_duration: 0.1}
deploy: {probation: 0}
"""


@pytest.fixture
def folder(plans: Path, tmp_path: Path) -> Path:
    """A folder with a site file, and ``first`` in use."""
    shutil.copytree(plans / "first", tmp_path / "site/first")
    (tmp_path / "site/site.yaml").write_text(DEPLOYED)
    return tmp_path / "site"


@pytest.fixture
def tagger(folder: Path) -> Iterator[Tagger]:
    with Tagger(folder / "first", num_threads=1) as made:
        yield made


@pytest.fixture
def running(folder: Path, tagger: Tagger) -> Iterator[Callable[..., tuple[Site, Deployment]]]:
    """Starts the site with other settings of deployments."""
    started: list[tuple[Site, Deployment, threading.Thread]] = []

    def start(**settings: Any) -> tuple[Site, Deployment]:
        site = Site(load_config(folder / "site.yaml"), tagger=tagger)
        deployed = DeployConfig(**{"probation": 0, **settings})
        deployment = Deployment(tagger, site, plans_of(folder), deployed)
        thread = threading.Thread(target=site.run)
        thread.start()
        started.append((site, deployment, thread))
        until(lambda: site.latest("door"))
        return site, deployment

    yield start
    for site, deployment, thread in started:
        site.stop()
        thread.join()
        deployment.close()
