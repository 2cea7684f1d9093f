"""Tokens by name: one value, or a file of several that is read again when it changes."""

from __future__ import annotations

import hashlib
import hmac
import logging
import re
import time
from collections.abc import Mapping
from pathlib import Path

from .... import errors
from ...._util.files import read_file

SHORTEST = 16
_HASH = "hash:"
_ONLY = "token"
"""The name of a token without one."""
_NAME = re.compile(r"[A-Za-z0-9_.@-]{1,64}")
_HEX = re.compile("[0-9a-fA-F]{64}")
_LARGEST = 1_000_000
_PAUSE = 1.0
"""Seconds between two looks at the file."""

_log = logging.getLogger(__name__)


class Tokens:
    """The valid tokens. Only hashes are kept, so that neither a dump of the memory nor the file must reveal a token.

    A token's session is its SHA-256 with a prefix; what is kept is the SHA-256 of the session. Sessions therefore
    survive a restart, end with their token, and cannot be made from a file of hashes.

    Args:
        token: a single token; None: no token, if there is no file either.
        path: instead of it a file with lines ``NAME TOKEN`` or ``NAME hash:HEX``, or with one token alone. Empty lines
            and ``#`` comments are ignored.

    Raises:
        OptionError: the file cannot be read, or a line is invalid.
    """

    def __init__(self, token: str | None, path: Path | None) -> None:
        self._path = path
        self._hashes: Mapping[str, str] = {_ONLY: token_hash(token)} if token else {}
        self._version: object = None
        self._next_look = 0.0
        if path:
            self._version = _version(path)
            self._hashes = read_tokens(path)

    @property
    def required(self) -> bool:
        """Whether requests need a token."""
        return self._path is not None or bool(self._hashes)

    def name_of_session(self, session: str) -> str | None:
        """The name of the token that a session belongs to; None: to none. Compared in constant time."""
        digest = _sha256(session)
        match = None
        for name, expected in self._hashes.items():
            if hmac.compare_digest(digest, expected):
                match = name
        return match

    def refresh(self) -> str | None:
        """Read the file again if it has changed; returns then what happened, else None. An invalid file changes
        nothing: the tokens stay as they were."""
        now = time.monotonic()
        if self._path is None or now < self._next_look:
            return None
        self._next_look = now + _PAUSE
        version = _version(self._path)
        if version == self._version:
            return None
        self._version = version
        try:
            self._hashes = read_tokens(self._path)
        except errors.OptionError as error:
            _log.warning("the tokens stay as they were: %s", error)
            return "invalid"
        _log.info("tokens read again: %s", ", ".join(self._hashes))
        return "ok"


def session_of(token: str) -> str:
    """The value of the session cookie of a token."""
    return _sha256(f"pvlr {token}")


def token_hash(token: str) -> str:
    """What a file may contain instead of a token, after ``hash:``."""
    return _sha256(session_of(token))


def check_token(token: str, where: str = "token") -> None:
    """Raises OptionError if a token is too short or has other characters than visible ASCII."""
    if len(token) < SHORTEST or not all("!" <= char <= "~" for char in token):
        # not the token
        expected = f"at least {SHORTEST} visible ASCII characters"
        got = f"{len(token)} characters"
        raise errors.OptionError(
            where, expected, got, "Use for example the output of `openssl rand -hex 16`."
        )


def read_tokens(path: Path) -> dict[str, str]:
    """The hash of each token in a file, by name. Raises OptionError, which never shows a token."""
    try:
        lines = read_file(path, _LARGEST).decode("ascii").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise errors.OptionError(
            "token_file",
            "a file with tokens",
            f"{path}: {getattr(error, 'strerror', None) or 'other characters than ASCII'}",
            "Check its path and permissions.",
        ) from None
    tokens: dict[str, str] = {}
    for number, line in enumerate(lines, 1):
        words = [] if line.lstrip().startswith("#") else line.split()  # a token may contain a #
        if not words:
            continue
        where = f"line {number} of token_file"
        name, token = words if len(words) == 2 else (_ONLY, words[0])
        if len(words) > 2 or name in tokens or not _NAME.fullmatch(name):
            hint = "A name has letters, digits and _ . @ - only."
            got = f"{len(words)} words"  # never the token itself
            raise errors.OptionError(where, "NAME TOKEN, with a new name", got, hint)
        if token.startswith(_HASH):
            digits = token.removeprefix(_HASH)
            # taken for a token, it would be one that the file reveals
            if not _HEX.fullmatch(digits):
                raise errors.OptionError(
                    where,
                    f"64 hexadecimal digits after {_HASH}",
                    f"{len(digits)} characters",
                    "Create the hash again.",
                )
            tokens[name] = digits.lower()
        else:
            check_token(token, where)
            tokens[name] = token_hash(token)
    if not tokens:
        raise errors.OptionError(
            "token_file",
            "at least one token",
            f"none in {path}",
            "Write for example the output of `openssl rand -hex 16` into it.",
        )
    return tokens


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()


def _version(path: Path) -> object:
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_mtime_ns, status.st_size, status.st_ino
