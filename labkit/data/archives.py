"""Read named members of an archive, by an allow-list; nothing is ever unpacked to disk."""

from __future__ import annotations

import contextlib
import gzip
import lzma
import os
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import IO

from labkit.errors import DataError

MEMBERS = 200_000  # a zip that lists more files than this is not read
TAR_MEMBERS = 1_000
SLACK = 16 << 20  # bytes of headers and small files that a tar may have beside the wanted ones


def tar_members(
    path: str | Path, sizes: Mapping[str, int], *, exact: bool = True
) -> dict[str, bytes]:
    """Read the regular files named in `sizes` from a .tar.gz; nothing is written anywhere.

    sizes: member name -> its size in bytes, or with `exact=False` the size it must not exceed.

    Raises:
        DataError: a member is missing, doubled, no regular file or of another size, or the
            archive is damaged, or is larger than these members explain.
    """
    found: dict[str, bytes] = {}
    limit = sum(sizes.values()) + SLACK
    with _explain_archive(path), gzip.open(path) as content:
        bounded = _Bounded(content, limit, path)
        with tarfile.open(fileobj=bounded, mode="r|") as archive:
            for count, member in enumerate(archive):
                _check_count(path, count, TAR_MEMBERS)
                if member.name in sizes:
                    _check_member(path, member.name, member.isreg(), member.name in found)
                    _check_size(path, member.name, member.size, sizes[member.name], exact)
                    found[member.name] = archive.extractfile(member).read()
                    _check_size(path, member.name, len(found[member.name]), member.size, True)
        while bounded.read(1 << 20):
            pass  # to the end, where gzip keeps its checksum
    missing = [name for name in sizes if name not in found]
    if missing and exact:
        raise DataError(f"{path} has no member {missing[0]!r}; it is not the archive it should be")
    return found


def zip_members(
    path: str | Path, wanted: Callable[[str], bool], largest: int
) -> Iterator[tuple[str, bytes]]:
    """Read the regular files of a zip whose names `wanted` accepts, in order of their names.

    largest: bytes that no such member may exceed. Nothing is written anywhere.

    Raises:
        DataError: a wanted member is doubled, encrypted, a link or too large, or the archive is
            damaged or lists too many files.
    """
    with _explain_archive(path):
        _check_directory(path)
        with zipfile.ZipFile(path) as archive:
            listed = sorted(archive.infolist(), key=lambda member: member.filename)
            _check_count(path, len(listed), MEMBERS)
            last = ""
            for member in listed:
                if not wanted(member.filename):
                    continue
                kind = member.external_attr >> 28  # the file type of unix: 8 regular, 0 not said
                regular = kind in (0, 8) and not member.is_dir() and not member.flag_bits & 1
                _check_member(path, member.filename, regular, member.filename == last)
                _check_size(path, member.filename, member.file_size, largest, False)
                last = member.filename
                with archive.open(member) as content:
                    yield last, content.read(member.file_size + 1)


class _Bounded:
    """A readable that refuses to give more than `limit` bytes: archives may be bombs."""

    def __init__(self, source: IO[bytes], limit: int, path: str | Path) -> None:
        self.source, self.left, self.path = source, limit, path

    def read(self, size: int = -1) -> bytes:
        block = self.source.read(min(size, self.left + 1) if size >= 0 else self.left + 1)
        self.left -= len(block)
        if self.left < 0:
            raise DataError(f"{self.path} unpacks to more bytes than its files should have")
        return block


@contextlib.contextmanager
def _explain_archive(path: str | Path) -> Iterator[None]:
    damage = (tarfile.TarError, zipfile.BadZipFile, zlib.error, lzma.LZMAError, struct.error,
              EOFError, OSError, OverflowError, NotImplementedError, ValueError)  # fmt: skip
    try:
        yield
    except damage as error:
        raise DataError(f"{path} is damaged, or not the kind of archive its name says: {error}"
                        ) from error  # fmt: skip


def _check_count(path: str | Path, count: int, most: int) -> None:
    if count > most:
        raise DataError(f"{path} lists more than {most:,} files; it was not used")


def _check_member(path: str | Path, name: str, regular: bool, seen: bool) -> None:
    if not regular:
        raise DataError(f"{path}: member {name!r} is not a plain regular file; it was not read")
    if seen:
        raise DataError(f"{path}: member {name!r} comes twice; the archive was not used")


def _check_size(path: str | Path, name: str, size: int, expected: int, exact: bool) -> None:
    if size < 0 or size > expected or (exact and size != expected):
        most = "" if exact else "at most "
        raise DataError(f"{path}: member {name!r} has {size:,} bytes, expected {most}{expected:,}")


def _check_directory(path: str | Path) -> None:
    """Refuse a zip whose list of files is itself too large, before zipfile reads all of it."""
    with open(path, "rb") as file:
        start = max(0, file.seek(0, os.SEEK_END) - 66_000)
        file.seek(start)
        tail = file.read()
        end = tail.rfind(b"PK\x05\x06")
        if end < 0 or len(tail) < end + 22:
            raise DataError(f"{path} is not a zip archive, or its end is missing")
        (size,) = struct.unpack_from("<L", tail, end + 12)
        if tail[max(0, end - 20) : end].startswith(b"PK\x06\x07"):  # zip64: the size is elsewhere
            (offset,) = struct.unpack_from("<Q", tail, end - 12)
            file.seek(offset)
            record = file.read(56)
            (size,) = struct.unpack_from("<Q", record, 40)
    _check_count(path, size // 128, MEMBERS)  # an entry has 46 bytes and a name
