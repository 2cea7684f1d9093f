"""Names from outside (labels, files, cameras) in each output: one function per output, which all code uses.

A name must not control a terminal, forge a row of a CSV, become a formula or markup, or lead to another folder or
topic. JSON needs none of these: ``json.dumps`` writes ASCII.
"""

from __future__ import annotations

import csv
import hashlib
import io
import re
from collections.abc import Collection
from html import escape as html

__all__ = ["csv_row", "escaped", "file_name", "html", "sensor_ids", "terminal", "topic_level"]

_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "\uff1d", "\uff0b", "\uff0d", "\uff20")
"""The last four are the full-width forms of the first four."""
_RESERVED = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\..*)?", re.IGNORECASE)
_MOST = 200
"""Bytes of a file name before its hash; most file systems allow 255 in all."""


def terminal(text: str) -> str:
    """The text on one line, with ``?`` for each character that is not printable, such as an escape sequence's first."""
    return "".join(char if char.isprintable() else "?" for char in text)


def escaped(text: str) -> str:
    """Text of a program that may say anything: at most 1,000 characters, with escapes for those that do not print."""
    return "".join(char if char.isprintable() else ascii(char)[1:-1] for char in text[:1000])[:1000]


def csv_row(*cells: object) -> str:
    """One row of a CSV, without its line end (RFC 4180: a cell with a line break is quoted).

    A text that a spreadsheet would take for a formula gets a leading apostrophe; numbers stay as they are.
    """
    buffer = io.StringIO()
    # Python before 3.13 quotes a line break only if the line terminator contains it.
    csv.writer(buffer, lineterminator="\r\n").writerow(
        f"'{cell}" if isinstance(cell, str) and cell.startswith(_FORMULA) else cell
        for cell in cells
    )
    return buffer.getvalue().removesuffix("\r\n")


def topic_level(text: str) -> str:
    """One level of an MQTT topic: no separator, wildcard or control character, and not a system topic."""
    return _marked(text, re.sub(r"[/+#\x00-\x1f\x7f-\x9f\ud800-\udfff]|^\$|^$", "_", text))


def sensor_ids(labels: Collection[str]) -> dict[str, str]:
    """For each label an identifier of Home Assistant: letters, digits, ``_`` and ``-``, different for each label.

    Spaces become ``_``. Where other characters are replaced, and where another label looks the same, a hash of the
    label follows.
    """
    ids: dict[str, str] = {}
    # cell_phone before "cell phone"
    for label in sorted(labels, key=lambda label: (" " in label, label)):
        plain = label.replace(" ", "_")
        ids[label] = _marked(label, re.sub(r"[^A-Za-z0-9_-]+|^$", "_", plain), plain, ids.values())
    return ids


def file_name(text: str) -> str:
    """The name of a file or a folder: letters and digits of any script, ``_``, ``.`` and ``-``.

    Never ``.``, ``..``, hidden or a device's name; a hash follows where a character was replaced.
    """
    plain = re.sub(r"[^\w.-]|^\.|^$", "_", text).encode()[:_MOST].decode(errors="ignore")
    return _marked(text, f"_{plain}" if _RESERVED.fullmatch(plain) else plain)


def _marked(text: str, escaped: str, same: str | None = None, taken: Collection[str] = ()) -> str:
    """The escaped text, with a hash of the text if information was lost: different names stay different."""
    if escaped == (text if same is None else same) and escaped not in taken:
        return escaped
    return f"{escaped}_{hashlib.sha256(text.encode('utf-8', 'surrogatepass')).hexdigest()[:8]}"
