"""The newest version of each signed bundle that this machine has used, against the return of an old one.

An attacker who can write neither the keys nor this file cannot bring back a bundle that was replaced, although its
signature is still valid.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from .. import errors
from .._util.files import read_file, remove_leftovers, system_errors, write_files
from .._util.plain_json import Limits, read_json

_LIMITS = Limits(size=1 << 20, values=1 << 16, depth=1)


@dataclass(frozen=True)
class Versions:
    """The state file at ``path``; with None nothing is recorded or refused.

    ``allow_rollback``: accept an older version, which then becomes the newest.
    """

    path: Path | None
    allow_rollback: bool = False

    def check(self, name: str, version: int, source: str) -> None:
        """Check a bundle's version; ``source`` names it in errors.

        Raises:
            RollbackError: a newer one has been accepted before.
            OptionError: the state file is unreadable.
        """
        if self.path is None or self.allow_rollback:
            return
        newest = self._read(self.path).get(name, 0)
        if version < newest:
            raise errors.RollbackError(
                source,
                f"version {newest} of {name} or a newer one",
                f"version {version}" if version else "a signature without a version",
                f"Use the newer one. To go back, run pvlr verify-signature {_signed_by(source)} --allow-rollback.",
            )

    def accept(self, name: str, version: int) -> None:
        """Record a version that works; later, older ones are refused.

        Raises:
            OptionError: the state file is unreadable.
            OutputError: it cannot be written.
        """
        if self.path is None:
            return
        remove_leftovers(self.path)
        if self._settled(self._read(self.path), name, version):
            return
        with _lock(self.path):
            versions = self._read(self.path)
            if not self._settled(versions, name, version):
                text = json.dumps({**versions, name: version}, indent=1, sort_keys=True) + "\n"
                write_files({self.path: text.encode()}, private=True)

    def _settled(self, versions: dict[str, int], name: str, version: int) -> bool:
        newest = versions.get(name, 0)
        return version == newest or (version < newest and not self.allow_rollback)

    @staticmethod
    def _read(path: Path) -> dict[str, int]:
        try:
            versions = read_json(read_file(path, _LIMITS.size), _LIMITS, printable=False)
            if isinstance(versions, dict) and all(
                type(version) is int and version >= 0 for version in versions.values()
            ):
                return versions
            got = "other contents"
        except FileNotFoundError:
            if not path.is_symlink():
                return {}
            got = "a link to a missing file"
        except OSError as error:
            got = error.strerror or str(error)
        except ValueError as error:
            got = f"invalid JSON ({error})"
        # Not treated as empty: a user who can damage the file could then bring back an old bundle.
        raise errors.OptionError(
            "PVLR_STATE",
            f"the versions of signed bundles in {path}",
            got,
            "Restore the file. Without it, the next bundle is accepted in any version.",
        )


def _signed_by(source: str) -> str:
    path = source.removesuffix(".sig")
    return path if path.endswith(".safetensors") else f"{path}.plan"


@contextlib.contextmanager
def _lock(path: Path) -> Iterator[None]:
    """Exclude other processes: the version that one of them records must not be overwritten by an older one."""
    import fcntl

    hint = (
        "Set PVLR_STATE to a file that this user can write; empty: no protection against rollback."
    )
    with system_errors(errors.OutputError, str(path), expected="a writable state file", hint=hint):
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(path.with_suffix(".lock"), "ab") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield
