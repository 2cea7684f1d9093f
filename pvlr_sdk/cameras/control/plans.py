"""The plan that a site uses at its next start: the site file's, or one that was deployed, of which there is a copy."""

from __future__ import annotations

import hashlib
import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from ... import errors
from ..._util.files import read_file, system_errors, write_folder
from ...bundle.bundle import bundle_files, manifest_path
from ...models.find import default_plan, find_plan
from ...trust.verify import MAX_FILE_BYTES, signature_path
from ..site.changes import DeployedPlan, plan_name
from ..site.config import SiteConfig
from .state import State, give_to_owner, locked, make_folder

_FOLDER = "plans"
_COPY = re.compile(r".+-[0-9a-f]{12}")
_UNFINISHED = f".*.{'[0-9a-f]' * 12}.tmp"


class Plans:
    """Names the plan of a site in its state, and keeps copies of deployed plans in the state folder.

    Args:
        state: of the site.
        read_site: reads the site file as it is now; raises ConfigError.
    """

    def __init__(self, state: State, read_site: Callable[[], SiteConfig]) -> None:
        self.state = state
        self._read_site = read_site
        self._folder = state.folder / _FOLDER

    def named(self) -> tuple[Path, Path | None]:
        """The plan of the next start, and the previous one.

        Raises:
            ConfigError: the site file or the state is invalid.
            PlanNotFoundError: there is no plan at this path.
        """
        site = self._read_site()
        changes, _ = self.state.read().fitting(site)
        if changes.deployed:
            return changes.deployed.plan, changes.deployed.previous
        return _plan_of(site), site.previous_plan and find_plan(site.previous_plan)

    def name(self, plan: Path, previous: Path | None) -> None:
        """Let the next start use a plan. Raises what :meth:`named` and :meth:`State.update` raise."""
        site = self._read_site()
        deployed: DeployedPlan | None = DeployedPlan(
            plan=plan.absolute(),
            previous=previous and previous.absolute(),
            instead_of=plan_name(site),
        )
        if previous is None and _is_same(plan, _plan_of(site)):
            deployed = None  # as before the first deployment
        self.state.update(lambda changes: changes.model_copy(update={"deployed": deployed}))

    def uses(self, plan: Path) -> bool:
        """Whether the next start uses a plan. Raises what :meth:`named` raises."""
        return _is_same(plan, self.named()[0])

    def install(self, plan: Path) -> Path:
        """Copy a bundle into the state folder, all of it or nothing, and return its new path.

        Raises:
            BundleError: a file is missing or unreadable.
            OutputError: no space, no permission.
        """
        contents = {}
        hint = "Copy the bundle again."
        for path in bundle_files(plan):
            with system_errors(
                errors.PlanNotFoundError, str(path), expected="a file of the bundle", hint=hint
            ):
                contents[path.name] = read_file(path, MAX_FILE_BYTES)
        name = plan.parent.resolve().name[:40] or "plan"
        target = self._folder / f"{name}-{fingerprint(plan)[:12]}"
        with suppress(OSError):
            if all(
                read_file(target / file, MAX_FILE_BYTES) == data for file, data in contents.items()
            ):
                return target / plan.name  # the previous plan, deployed again
        _remove(target)
        write_folder(target, contents)
        with suppress(OSError):
            for path in (target, *target.iterdir()):
                give_to_owner(path)
        return target / plan.name

    def discard(self, plan: Path | None) -> None:
        """Delete a bundle that :meth:`install` copied, unless it is named."""
        folder = plan.parent if plan else self._folder
        if folder.parent != self._folder or not _COPY.fullmatch(folder.name):
            return
        with suppress(errors.PvlrError):
            if plan not in self.named():
                _remove(folder)

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Exclude other deployments to this site. Raises DeployError: there is one; OutputError: as for the state."""
        make_folder(self._folder)
        with locked(self._folder):
            yield

    def remove_leftovers(self) -> None:
        """Remove copies that were not finished when their process was killed."""
        if self._folder.is_dir():
            with suppress(errors.PvlrError), self.locked():
                for copy in self._folder.glob(_UNFINISHED):
                    shutil.rmtree(copy, ignore_errors=True)


def fingerprint(plan: Path) -> str:
    """Identifies a bundle with its labels, thresholds and signature: a SHA-256 in hex; empty if it is unreadable."""
    digest = hashlib.sha256()
    try:
        digest.update(read_file(manifest_path(plan), MAX_FILE_BYTES))
        with suppress(FileNotFoundError):
            digest.update(read_file(signature_path(plan), MAX_FILE_BYTES))
    except OSError:
        return ""
    return digest.hexdigest()


def _plan_of(site: SiteConfig) -> Path:
    return find_plan(site.plan) if site.plan else default_plan()


def _is_same(plan: Path, other: Path) -> bool:
    return plan.resolve() == other.resolve()


def _remove(folder: Path) -> None:
    """Delete the files of a bundle and its folder; what others put there stays."""
    with suppress(OSError):
        for plan in folder.glob("*.plan"):
            for path in reversed(bundle_files(plan)):
                path.unlink(missing_ok=True)
        for path in folder.glob(".*.tmp"):
            path.unlink()
        folder.rmdir()
