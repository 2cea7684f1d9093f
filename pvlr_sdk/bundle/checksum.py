"""The manifest's checksum: a flipped bit in a threshold is found without a signature too.

It is the SHA-256 of the file in which the 64 digits of the checksum itself are zeros. It covers bytes, not values, so
the readers, this one and libpvlr's, need no common form of JSON. It proves no origin: anyone can compute it.
"""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path
from typing import Any

from .. import errors

FIELD = "checksum"
_ZEROS = "0" * 64
_DIGITS = re.compile("[0-9a-f]{64}")


def with_checksum(raw: dict[str, Any]) -> bytes:
    """The text of a manifest, with its checksum."""
    return _text(raw, hashlib.sha256(_text(raw, _ZEROS)).hexdigest())


def take_checksum(raw: Any, text: str | bytes, path: Path) -> None:
    """Compare the checksum with the text that ``raw`` was parsed from, and remove it from ``raw``.

    Manifests of older versions have none.

    Raises:
        ManifestError: the text is not what was written.
    """
    if not isinstance(raw, dict) or FIELD not in raw:
        return
    digits, data = raw.pop(FIELD), text.encode() if isinstance(text, str) else text
    if not _covers(digits, data):
        raise errors.ManifestError(
            str(path),
            expected="a manifest as it was written",
            got="one that was changed afterwards",
            hint=f"Copy the bundle again. If you edited the manifest on purpose, remove its line {FIELD}.",
        )


def _covers(digits: Any, data: bytes) -> bool:
    """Whether these digits are in the data once, and are its checksum."""
    if not isinstance(digits, str) or not _DIGITS.fullmatch(digits) or data.count(digits.encode()) != 1:
        return False
    return hashlib.sha256(data.replace(digits.encode(), _ZEROS.encode())).hexdigest() == digits


def _text(raw: dict[str, Any], digits: str) -> bytes:
    return (json.dumps({**raw, FIELD: digits}, indent=1, ensure_ascii=False, sort_keys=True) + "\n").encode()
