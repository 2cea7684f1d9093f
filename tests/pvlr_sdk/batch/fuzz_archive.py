"""A fuzz target for archives: python tests/pvlr_sdk/batch/fuzz_archive.py -max_total_time=600

Any bytes are members and errors, in bounded memory: no exception, and no read of more than a limit at once.
"""

from __future__ import annotations

import gzip
import io
import os
import sys
import tarfile

import atheris

with atheris.instrument_imports(include=["pvlr_sdk.batch.archive"]):
    from pvlr_sdk import errors
    from pvlr_sdk.batch import archive

_LIMIT = 4096
_TYPES = [bytes([kind]) for kind in b"0\x001234567SLKxgXVDMN?"]
_SIZES = (0, 1, 3, 511, 512, 513, 4096, 4097, 2**20 + 1, 2**33, 2**62, -1, -512, -(2**40))
_RECORDS = (
    *(
        b"17 path=name.jpg\n",
        b"10 size=3\n",
        b"12 size=-5\n",
        b"9 size=x\n",
        b"0 a=b\n",
        b"999 path=",
        b"6 a=b\n",
    ),
    *(
        b"22 GNU.sparse.major=1\n",
        b"26 GNU.sparse.name=a.jpg\n",
        b"1 =",
        b"99999999999 a=",
        b"12 path=\xff\n",
    ),
)


class _Stream(archive._Stream):
    def read(self, size: int) -> bytes:
        if size > 2**20 + 512:
            raise AssertionError(f"{size} bytes at once")
        return super().read(size)


archive._Stream = _Stream  # type: ignore[misc]


def _member(provider: atheris.FuzzedDataProvider) -> bytes:
    info = tarfile.TarInfo(provider.PickValueInList(["a.jpg", "b.txt", "d/c.png", ""]))
    info.type = provider.PickValueInList(_TYPES)
    content = b"".join(
        provider.PickValueInList(list(_RECORDS))
        if provider.ConsumeBool()
        else provider.ConsumeBytes(20)
        for _ in range(provider.ConsumeIntInRange(0, 4))
    )
    info.size = provider.PickValueInList(list(_SIZES)) if provider.ConsumeBool() else len(content)
    block = bytearray(info.tobuf(tarfile.GNU_FORMAT))
    for _ in range(provider.ConsumeIntInRange(0, 3)):
        block[provider.ConsumeIntInRange(0, 511)] = provider.ConsumeIntInRange(0, 255)
    if provider.ConsumeIntInRange(0, 9):  # a right checksum
        block[148:156] = b" " * 8
        block[148:156] = b"%06o\0 " % sum(block)
    return bytes(block) + content + bytes(-len(content) % 512)


def check(data: bytes) -> None:
    """One input."""
    provider = atheris.FuzzedDataProvider(data)
    content = b"".join(_member(provider) for _ in range(provider.ConsumeIntInRange(1, 5)))
    content += bytes(provider.PickValueInList([1024, 512, 0, 100])) + provider.ConsumeBytes(30)
    if provider.ConsumeBool():
        content = gzip.compress(content, 1)
        content = content[
            : len(content) - provider.ConsumeIntInRange(0, 20)
        ] + provider.ConsumeBytes(10)
    for name, found in archive.read_members(
        io.BytesIO(content), "s", lambda name: not name.endswith("t"), _LIMIT
    ):
        if not (
            isinstance(name, str)
            and name.startswith("s")
            and isinstance(found, (bytes, errors.FrameError))
        ):
            raise AssertionError((name, found))
        if isinstance(found, bytes) and len(found) > _LIMIT:
            raise AssertionError(f"{len(found)} bytes")


if "PVLR_PLANTED_BUG" in os.environ:  # no limit for headers
    archive._MAX_HEADER = 2**70

if __name__ == "__main__":
    atheris.Setup(sys.argv, check)
    atheris.Fuzz()
