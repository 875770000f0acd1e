"""Read the expected files of a folder, a .tar.gz or a .zip; nothing is ever unpacked to disk."""

from __future__ import annotations

import functools
import glob
import gzip
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO

from labkit.errors import DataError

__all__ = ["members"]

ENTRIES = 200_000  # a zip that lists more files than this is not read
UNPACKED = 1 << 28  # nor a tar that unpacks to more bytes; CIFAR's have 184 MB
_DAMAGE = (tarfile.TarError, zipfile.BadZipFile, zlib.error, struct.error, EOFError, OSError,
           OverflowError, NotImplementedError, ValueError)  # fmt: skip

_Entry = tuple[str, bool, Callable[[], IO[bytes]]]  # name, whether a plain file, how to open it


def members(
    place: Path, root: str, largest: Callable[[str], int | None]
) -> Iterator[tuple[str, bytes | None]]:
    """(name, content) of the expected files; None for the content of one that is too large.

    Args:
        place: a folder, or an archive that has it under the name `root`.
        root: the folder from which names count.
        largest: name -> bytes that this file may have; 0 or None for one that is not expected.

    Raises:
        DataError: an expected file is doubled, encrypted or no plain file, or the archive is
            damaged, lists too many files or unpacks to too many bytes.
    """
    names = set()
    try:
        for path, plain, opener in _entries(place):
            name = path.removeprefix(f"{root}/")
            if not (size := largest(name)):
                continue
            if not plain or name in names:
                fault = "comes twice" if name in names else "is not a plain file"
                raise DataError(f"{place}: {path!r} {fault}; nothing of it was used")
            names.add(name)
            with opener() as file:
                content = file.read(size + 1)
            yield name, content if len(content) <= size else None
    except _DAMAGE as error:
        reason = f"cannot be read, it is damaged or another kind of archive: {error}"
        raise DataError(f"{place} {reason}") from error


def _entries(place: Path) -> Iterator[_Entry]:
    if place.is_dir():
        return _in_folder(place)
    with open(place, "rb") as file:
        return _in_tar(place) if file.read(2) == b"\x1f\x8b" else _in_zip(place)


def _in_folder(folder: Path) -> Iterator[_Entry]:
    for name in sorted(glob.glob("**", root_dir=folder, recursive=True)):  # follows links
        # a link to nowhere, a pipe or a folder of that name is a fault, not a missing file
        yield name, (folder / name).is_file(), functools.partial(open, folder / name, "rb")


def _in_tar(path: Path) -> Iterator[_Entry]:
    with _BoundedGzip(path) as file:
        with tarfile.open(fileobj=file, mode="r|") as archive:
            for member in archive:
                plain = member.isreg() and member.size >= 0
                yield member.name, plain, functools.partial(archive.extractfile, member)
        while file.read(1 << 20):
            pass  # to the end, where gzip keeps its checksum


def _in_zip(path: Path) -> Iterator[_Entry]:
    with zipfile.ZipFile(path) as archive:
        listing = sorted(archive.infolist(), key=lambda member: member.filename)
        if len(listing) > ENTRIES:
            raise DataError(f"{path} lists more than {ENTRIES:,} files; it was not used")
        for member in listing:
            kind = member.external_attr >> 28  # the file type of unix: 8 plain, 0 not said
            encrypted, folder = member.flag_bits & 1, member.filename.endswith("/")
            plain = kind in (0, 8) and not folder and not encrypted
            yield member.filename, plain, functools.partial(archive.open, member)


class _BoundedGzip(gzip.GzipFile):
    """Refuses to give more than UNPACKED bytes: archives may be bombs."""

    def read(self, size: int = -1) -> bytes:
        block = super().read(size)
        if self.tell() > UNPACKED:
            raise DataError(f"{self.name} unpacks to more than {UNPACKED:,} bytes; it was not used")
        return block
