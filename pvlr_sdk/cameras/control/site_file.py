"""The site file as it is changed while the site runs, and the bundles that are copied into ``plans/`` next to it."""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
import shutil
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

from ... import errors
from ..._util.files import own_file, read_file, remove_leftovers, state_folder, system_errors, write_files, write_folder
from ...bundle.bundle import bundle_files, manifest_path
from ...bundle.label_bank import LabelBank
from ...models.find import default_plan
from ...trust import Trust
from ...trust.verify import MAX_FILE_BYTES, signature_path
from ..site.config import SiteConfig, load_config
from ..site.yaml_file import edited, read_yaml

_FOLDER = "plans"
_OURS = re.compile(r".+-[0-9a-f]{12}")


class SiteFile:
    """A site file, and the plans that its folder keeps."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.folder = path.resolve().parent

    def remove_leftovers(self) -> None:
        """Remove what processes left when they were killed while they wrote the file or copied a bundle."""
        remove_leftovers(self.path.resolve())
        with suppress(errors.PvlrError), locked(self.folder):
            for left in (self.folder / _FOLDER).glob(f".*.{'[0-9a-f]' * 12}.tmp"):
                shutil.rmtree(left, ignore_errors=True)

    def plans(self) -> tuple[Path, Path | None]:
        """The plan of the site file, and the previous one. Raises what ``load_config`` raises."""
        config = load_config(self.path)
        return config.plan or default_plan(), config.previous_plan

    def texts(self) -> tuple[Any, Any]:
        """The same as written in the file. Raises what ``read_yaml`` raises."""
        raw = read_yaml(self.path)
        return raw.get("plan") or default_plan().parent.name, raw.get("previous_plan")

    def install(self, plan: Path) -> Path:
        """Copy a bundle into the site's folder, all of it or nothing, and return its new path.

        Raises:
            BundleError: a file is missing or unreadable.
            OutputError: no space, no permission.
        """
        contents, hint = {}, "Copy the bundle again."
        for path in bundle_files(plan):
            with system_errors(errors.PlanNotFoundError, str(path), expected="a file of the bundle", hint=hint):
                contents[path.name] = read_file(path, MAX_FILE_BYTES)
        name = plan.parent.resolve().name[:40] or "plan"
        target = self.folder / _FOLDER / f"{name}-{fingerprint(plan)[:12]}"
        with suppress(OSError):
            if all(read_file(target / file, MAX_FILE_BYTES) == data for file, data in contents.items()):
                return target / plan.name  # the previous plan, deployed again
        _remove(target)
        write_folder(target, contents)
        return target / plan.name

    def text_of(self, plan: Path) -> str:
        """How the site file names a plan, whatever the working directory is then."""
        plan = Path(os.path.abspath(plan))
        with suppress(ValueError):
            plan = plan.relative_to(self.folder)
        return str(plan).replace("$", "$$")

    def edited(self, changes: Mapping[tuple[str, ...], Any]) -> tuple[bytes, SiteConfig]:
        """The text of the file with some keys changed, and the configuration that the next start reads from it.

        Raises:
            ConfigError: the file is invalid, would be, or has a structure that allows no change in place.
        """
        text, raw = edited(self.path, changes)
        return text, SiteConfig.parse(raw, source=str(self.path), folder=self.path.parent)

    def name(self, plan: Any, previous: Any) -> None:
        """Name the plan and the previous one in the file. Raises what :meth:`edited` raises, and OutputError."""
        with locked(self.path):
            text, _ = self.edited({("plan",): plan, ("previous_plan",): previous})
            replace_files({self.path: text})

    def discard(self, text: Any) -> None:
        """Delete a bundle that :meth:`install` copied, unless this site file or another one beside it names it."""
        try:
            others = (path.read_text(errors="replace") for path in self.folder.glob("*.y*ml"))
            if not isinstance(text, str) or text in self.texts() or any(text in other for other in others):
                return
        except (errors.ConfigError, OSError):
            return
        folder = (self.folder / text.replace("$$", "$")).parent
        if folder.parent == self.folder / _FOLDER and _OURS.fullmatch(folder.name):
            _remove(folder)
            with suppress(OSError):  # others are in it
                folder.parent.rmdir()


@contextmanager
def locked(*paths: Path) -> Iterator[None]:
    """Exclude other processes that change these files, or deploy to a folder.

    Raises:
        DeployError: one does.
        OutputError: a path cannot be opened or locked.
    """
    with ExitStack() as opened:
        for path in paths:
            try:
                while True:
                    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
                    opened.callback(os.close, descriptor)
                    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    if os.path.samestat(os.fstat(descriptor), os.stat(path)):
                        break  # else another process has just replaced it
            except BlockingIOError:
                raise in_progress(str(path)) from None
            except OSError as error:  # also a network file system without locks
                got, hint = error.strerror or str(error), "Check the folder of the site file and its permissions."
                raise errors.OutputError(str(path), expected="a path to lock", got=got, hint=hint) from None
        yield


def replace_files(contents: Mapping[Path, bytes]) -> None:
    """Write files in their order, all or none; a file that exists keeps its mode. Raises OutputError."""
    targets = {path.resolve(): data for path, data in contents.items()}
    modes = {path: path.stat().st_mode & 0o777 for path in targets if path.is_file()}
    write_files(targets, private=True)  # a site file may contain passwords
    for path, mode in modes.items():
        path.chmod(mode)
    for folder in {path.parent for path in targets}:
        descriptor = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
        with suppress(OSError):  # a file system that cannot; else a loss of power might undo the renames
            os.fsync(descriptor)
        os.close(descriptor)


def check_bank(path: Path, bank: LabelBank, trust: Trust | None) -> None:
    """Check that the file of the label bank in use can be replaced.

    Raises:
        DeployError: it has other contents: labels would be lost.
        OptionError: the next start would refuse it, since it has no signature and is not in the state folder.
    """
    if trust and not own_file(path):
        expected = f"a file in {state_folder()} that only this user can write"
        hint = "With trusted keys, other label banks must be signed, and the site cannot change them."
        raise errors.OptionError("bank", expected=expected, got=str(path), hint=hint)
    if path.is_file() and LabelBank.load(path, trust=False).sha256 != bank.sha256:
        expected, hint = "the label bank in use", "Another process has changed the file. Restart to use it."
        raise errors.DeployError(str(path), expected=expected, got="another one", hint=hint)


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


def in_progress(argument: str) -> errors.DeployError:
    """The error for two deployments at once."""
    hint = "Try again after it ends."
    return errors.DeployError(argument, expected="one deployment at a time", got="another one in progress", hint=hint)


def _remove(folder: Path) -> None:
    """Delete the files of a bundle and its folder; what others put there stays."""
    with suppress(OSError):
        for plan in folder.glob("*.plan"):
            for path in reversed(bundle_files(plan)):
                path.unlink(missing_ok=True)
        for path in folder.glob(".*.tmp"):
            path.unlink()
        folder.rmdir()
