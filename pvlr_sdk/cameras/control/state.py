"""The state folder of a site: the file of the changes that were made while it ran, and copies of deployed plans."""

from __future__ import annotations

import fcntl
import hashlib
import json
import logging
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

from pydantic import ValidationError

from ... import errors
from ..._util.files import read_file, remove_leftovers, state_folder, write_files
from ..._util.plain_json import Limits, read_json
from ..site.changes import Changes

_log = logging.getLogger(__name__)
_FILE = "state.json"
_LIMITS = Limits(size=1 << 20, values=1 << 18, depth=16)
"""Of the file: regions of about 5000 cameras."""


class State:
    """The changes of one site, as they are on disk. Other processes may change them, too: see :meth:`locked`.

    Attributes:
        folder: it is created with the first change.
        path: the file of the changes.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder.resolve()
        self.path = self.folder / _FILE

    @classmethod
    def of_site(cls, site_file: Path, folder: Path | None = None) -> State:
        """The state of a site file.

        ``folder``: of the option ``--state``; None: that of systemd's ``StateDirectory=``, else one of this user's
        state folder that is named after the site file.

        Raises:
            OptionError: this user has no home folder.
        """
        if folder is None:
            folder = state_folder()
            if not os.environ.get("STATE_DIRECTORY"):
                resolved = site_file.resolve()
                name = hashlib.sha256(os.fsencode(resolved)).hexdigest()[:12]
                folder = folder / "sites" / f"{resolved.stem[:40]}-{name}"
        return cls(folder)

    def read(self) -> Changes:
        """The changes on disk; none if there is no file.

        Raises:
            ConfigError: the file cannot be read, or is damaged.
        """
        try:
            raw = read_json(read_file(self.path, _LIMITS.size), _LIMITS, printable=False)
            return Changes.model_validate(raw)
        except FileNotFoundError:
            return Changes()
        except (OSError, ValueError) as error:  # pydantic's is one too
            raise errors.ConfigError(
                str(self.path),
                "the changes of a site",
                getattr(error, "strerror", None) or _first_line(error),
                "pvlr state SITE --forget removes the changes; the site file stays as it is.",
            ) from None

    def read_or_set_aside(self) -> Changes:
        """The changes on disk; a damaged file is set aside with a warning, since a service must start again."""
        try:
            return self.read()
        except errors.ConfigError as error:
            aside = self.path.with_suffix(".damaged.json")
            with suppress(OSError):
                os.replace(self.path, aside)
            _log.warning(
                "%s; it is now %s, and the site begins with its site file", error, aside.name
            )
            return Changes()

    def to_bytes(self, changes: Changes) -> bytes:
        """The contents of the file: JSON, without what was not changed.

        Raises:
            ConfigError: they are larger than the limit.
        """
        raw = changes.model_dump(mode="json", exclude_defaults=True)
        data = (
            json.dumps({"version": changes.version, **raw}, indent=1, ensure_ascii=False) + "\n"
        ).encode()
        if len(data) > _LIMITS.size:
            raise errors.ConfigError(
                str(self.path),
                f"at most {_LIMITS.size} bytes",
                f"{len(data)} bytes",
                "Remove regions or thresholds that are no longer needed.",
            )
        return data

    def update(self, change: Callable[[Changes], Changes]) -> Changes:
        """Change what is on disk now, and return it: nothing that another process wrote is lost.

        Raises:
            ConfigError: as for :meth:`read`.
            DeployError: another process changes it at this moment.
            OutputError: no space, no permission. In each case nothing is changed.
        """
        with self.locked():
            changes = change(self.read())
            replace_files({self.path: self.to_bytes(changes)})
            return changes

    def forget(self) -> None:
        """Remove all changes. Raises OutputError, DeployError."""
        with self.locked():
            try:
                self.path.unlink(missing_ok=True)
            except OSError as error:
                raise _not_writable(self.path, error) from None

    def remove_leftovers(self) -> None:
        """Remove what processes left when they were killed while they wrote the file."""
        remove_leftovers(self.path)

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Exclude other processes that change this state.

        Raises:
            DeployError: one does.
            OutputError: the folder cannot be made or locked.
        """
        make_folder(self.folder)
        with locked(self.folder):
            yield


def make_folder(folder: Path) -> None:
    """Make a folder that only this user can read. Raises OutputError."""
    if folder.is_dir():
        return
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        give_to_owner(folder)
    except OSError as error:
        raise _not_writable(folder, error) from None


def give_to_owner(path: Path) -> None:
    """Let what root writes into the state folder of a service belong to the user of the service, who must read it."""
    owner = path.parent.stat()
    if os.geteuid() == 0 and owner.st_uid != 0:
        os.chown(path, owner.st_uid, owner.st_gid)


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Exclude other processes that lock the same file or folder.

    Raises:
        DeployError: one has it.
        OutputError: it cannot be opened or locked.
    """
    descriptor = -1
    try:
        while True:
            descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.path.samestat(os.fstat(descriptor), os.stat(path)):
                break  # else another process has just replaced it
            os.close(descriptor)
            descriptor = -1
    except BlockingIOError:
        os.close(descriptor)
        raise in_progress(str(path)) from None
    except OSError as error:  # also a network file system without locks
        if descriptor >= 0:
            os.close(descriptor)
        raise _not_writable(path, error) from None
    try:
        yield
    finally:
        os.close(descriptor)


def replace_files(contents: Mapping[Path, bytes]) -> None:
    """Write files in their order, all or none; a file that exists keeps its mode. Raises OutputError."""
    targets = {path.resolve(): data for path, data in contents.items()}
    modes = {path: path.stat().st_mode & 0o777 for path in targets if path.is_file()}
    write_files(targets, private=True)
    for path in targets:
        give_to_owner(path)
    for path, mode in modes.items():
        path.chmod(mode)
    for folder in {path.parent for path in targets}:
        descriptor = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
        # a file system that cannot; else a loss of power might undo the renames
        with suppress(OSError):
            os.fsync(descriptor)
        os.close(descriptor)


def in_progress(argument: str) -> errors.DeployError:
    """The error for two changes at once."""
    return errors.DeployError(
        argument, "one change at a time", "another one in progress", "Try again after it ends."
    )


def _not_writable(path: Path, error: OSError) -> errors.OutputError:
    return errors.OutputError(
        str(path),
        "a state folder that can be written",
        error.strerror or str(error),
        "Choose a folder that this user can write: --state DIR, or StateDirectory= of the systemd unit.",
    )


def _first_line(error: Exception) -> str:
    if isinstance(error, ValidationError):
        problem = error.errors(include_url=False, include_input=False)[0]
        place = ".".join(map(str, problem["loc"]))
        return f"{place}: {problem['msg']}" if place else str(problem["msg"])
    return str(error)
