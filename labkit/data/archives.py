"""Read named members of an archive, by an allow-list; nothing is ever unpacked to disk."""

from __future__ import annotations

import contextlib
import gzip
import lzma
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import IO

from labkit.errors import DataError

__all__ = ["tar_members", "zip_members"]

MEMBERS = 200_000  # a zip that lists more files than this is not read
SLACK = 1 << 20  # bytes of headers and small files that a tar may have beside the wanted ones
_DAMAGE = (tarfile.TarError, zipfile.BadZipFile, zlib.error, lzma.LZMAError, struct.error,
           EOFError, OSError, OverflowError, NotImplementedError, ValueError)  # fmt: skip


def tar_members(path: str | Path, largest: Mapping[str, int]) -> dict[str, bytes]:
    """Read the regular files named in `largest` from a .tar.gz; nothing is written anywhere.

    Args:
        path: the archive.
        largest: name of a member -> bytes that it must not exceed.

    Raises:
        DataError: a member is doubled, no regular file or too large, or the archive is damaged
            or larger than these members explain.
    """
    contents: dict[str, bytes] = {}
    with _explain_damage(path), gzip.open(path) as file:
        bounded = _Bounded(file, sum(largest.values()) + SLACK, path)
        with tarfile.open(fileobj=bounded, mode="r|") as archive:
            for member in archive:
                if member.name in largest:
                    _check_kind(path, member.name, member.isreg(), member.name in contents)
                    _check_size(path, member.name, member.size, largest[member.name])
                    contents[member.name] = archive.extractfile(member).read()
        while bounded.read(1 << 20):
            pass  # to the end, where gzip keeps its checksum
    return contents


def zip_members(
    path: str | Path, wanted: Callable[[str], bool], largest: int
) -> Iterator[tuple[str, bytes]]:
    """Read the regular files of a zip, in order of their names; nothing is written anywhere.

    Args:
        path: the archive.
        wanted: whether the member of this name shall be read.
        largest: bytes that no such member may exceed.

    Raises:
        DataError: a wanted member is doubled, encrypted, a link or too large, or the archive is
            damaged or lists too many files.
    """
    with _explain_damage(path), zipfile.ZipFile(path) as archive:
        if len(archive.infolist()) > MEMBERS:
            raise DataError(f"{path} lists more than {MEMBERS:,} files; it was not used")
        last = ""
        for member in sorted(archive.infolist(), key=lambda member: member.filename):
            if wanted(member.filename):
                _check_kind(path, member.filename, _is_regular(member), member.filename == last)
                _check_size(path, member.filename, member.file_size, largest)
                last = member.filename
                with archive.open(member) as content:
                    yield last, content.read(member.file_size + 1)


class _Bounded:
    """A readable that refuses to give more than `left` bytes: archives may be bombs."""

    def __init__(self, source: IO[bytes], left: int, path: str | Path) -> None:
        self.source, self.left, self.path = source, left, path

    def read(self, size: int) -> bytes:
        block = self.source.read(min(size, self.left + 1))
        self.left -= len(block)
        if self.left < 0:
            raise DataError(f"{self.path} unpacks to more bytes than its files should have")
        return block


@contextlib.contextmanager
def _explain_damage(path: str | Path) -> Iterator[None]:
    try:
        yield
    except _DAMAGE as error:
        reason = f"is damaged, or not the kind of archive its name says: {error}"
        raise DataError(f"{path} {reason}") from error


def _is_regular(member: zipfile.ZipInfo) -> bool:
    kind = member.external_attr >> 28  # the file type of unix: 8 regular, 0 not said
    return kind in (0, 8) and not member.is_dir() and not member.flag_bits & 1  # 1: encrypted


def _check_kind(path: str | Path, name: str, regular: bool, again: bool) -> None:
    if not regular:
        raise DataError(f"{path}: member {name!r} is not a plain regular file; it was not read")
    if again:
        raise DataError(f"{path}: member {name!r} comes twice; the archive was not used")


def _check_size(path: str | Path, name: str, size: int, largest: int) -> None:
    if not 0 <= size <= largest:
        raise DataError(f"{path}: member {name!r} has {size:,} bytes, expected at most {largest:,}")
