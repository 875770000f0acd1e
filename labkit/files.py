"""Files that are whole or absent, and bytes from outside that are checked before they are used."""

from __future__ import annotations

import contextlib
import errno
import gzip
import hashlib
import os
import shutil
import struct
import tarfile
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
import uuid
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import IO

from tqdm import tqdm

CONNECT_SECONDS = 4.0  # a machine without network is told so within 5 s
TRIES = 3
PAUSES = (1.0, 4.0)  # seconds between two tries
MEMBERS = 200_000  # an archive that lists more files than this is not read
BLOCK = 1 << 20
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_NO_LINKS = (errno.EPERM, errno.ENOTSUP, errno.ENOSYS, errno.EMLINK)


class DataError(RuntimeError):
    """Data that is missing, damaged or not what it should be (exit code 3)."""


def write_atomic(path: str | Path, content: bytes | str) -> None:
    """Replace `path` by `content`: readers see the old file or the new one, never a part.

    Text is written as UTF-8; missing folders are made.

    Raises:
        OSError: among others, no space is left; the old file is as it was, nothing else remains.
    """
    with _beside(Path(path), content) as temporary:
        os.replace(temporary, path)


def claim(path: str | Path, content: bytes | str) -> bool:
    """Create `path` with `content`, whole, unless it exists; of racing processes one gets True."""
    path = Path(path)
    with _beside(path, content) as temporary:
        try:
            os.link(temporary, path)
        except FileExistsError:
            return False
        except OSError as error:
            if error.errno not in _NO_LINKS:
                raise
            return _claim_without_links(path, temporary)
    return True


def sha256(source: str | Path | bytes) -> str:
    """SHA-256 of a file (a path) or of bytes, as 64 hexadecimal digits."""
    return _digest("sha256", source)


def md5(source: str | Path | bytes) -> str:
    """MD5, for files whose publisher gives nothing better; always beside a check of the length."""
    return _digest("md5", source)


def download(
    url: str, path: str | Path, *, size: int, md5: str = "", sha256: str = "", progress: bool = True
) -> None:
    """Fetch an https address to `path`, which appears only when length and checksum are right.

    A broken transfer is tried three times, from zero. Never http, never another host, and no way
    to skip the check.

    Raises:
        DataError: no network, or the file upstream is not the one expected.
        OSError: the file cannot be written.
    """
    path = Path(path)
    name, expected = ("sha256", sha256) if sha256 else ("md5", md5)
    path.parent.mkdir(parents=True, exist_ok=True)
    for attempt in range(TRIES):
        temporary = path.with_name(f".{uuid.uuid4().hex}.tmp")
        try:
            with explain_full(path, size):
                got = _fetch(url, temporary, size, name, progress)
            if got == (size, expected):
                os.replace(temporary, path)
                return
        finally:
            temporary.unlink(missing_ok=True)
        if got[0] >= size:
            break  # whole, but another file: trying again would not help
        if attempt < len(PAUSES):
            time.sleep(PAUSES[attempt])
    raise DataError(_refusal(url, got, (size, expected), name))


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
    limit = sum(sizes.values()) + 16 * BLOCK
    with _explain_archive(path), gzip.open(path) as content:
        bounded = _Bounded(content, limit)
        with tarfile.open(fileobj=bounded, mode="r|") as archive:
            for count, member in enumerate(archive):
                _check_count(path, count)
                if member.name in sizes:
                    _check_member(path, member.name, member.isreg(), member.name in found)
                    _check_size(path, member.name, member.size, sizes[member.name], exact)
                    found[member.name] = archive.extractfile(member).read()
                    _check_size(path, member.name, len(found[member.name]), member.size, True)
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
            _check_count(path, len(listed))
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


@contextlib.contextmanager
def explain_full(path: str | Path, size: int) -> Iterator[None]:
    """Turn "no space left on device" into a sentence: which file, bytes needed, bytes free."""
    try:
        yield
    except OSError as error:
        if error.errno not in _FULL:
            raise
        with contextlib.suppress(OSError):
            free = f"{shutil.disk_usage(Path(path).parent).free:,} are free"
            reason = (
                f"cannot write {path}: it needs {size:,} bytes, {free}; make room and try again"
            )
            raise OSError(error.errno, reason) from error
        raise


@contextlib.contextmanager
def _beside(path: Path, content: bytes | str) -> Iterator[Path]:
    """A temporary file with `content` in the folder of `path`, gone at the end."""
    content = content.encode() if isinstance(content, str) else content
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{uuid.uuid4().hex}.tmp")
    try:
        with explain_full(path, len(content)), open(temporary, "xb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        yield temporary
    finally:
        temporary.unlink(missing_ok=True)


def _claim_without_links(path: Path, temporary: Path) -> bool:
    """For file systems that know no hard links (some network and FUSE mounts).

    One process still wins; a reader may for a moment see the file empty, never a wrong one.
    """
    try:
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666))
    except FileExistsError:
        return False
    os.replace(temporary, path)
    return True


def _digest(name: str, source: str | Path | bytes) -> str:
    if isinstance(source, bytes):
        return hashlib.new(name, source, usedforsecurity=False).hexdigest()
    with open(source, "rb") as file:
        new = lambda: hashlib.new(name, usedforsecurity=False)  # noqa: E731
        return hashlib.file_digest(file, new).hexdigest()


class _SameHostHttps(urllib.request.HTTPRedirectHandler):
    """Follows a redirect only to https on the host that was asked for."""

    def redirect_request(self, req, fp, code, msg, headers, newurl):  # noqa: ANN001
        old, new = urllib.parse.urlsplit(req.full_url), urllib.parse.urlsplit(newurl)
        if new.scheme != "https" or new.hostname != old.hostname:
            raise DataError(f"{req.full_url} redirects to {newurl}, which labkit does not follow")
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def _opener() -> urllib.request.OpenerDirector:
    """Like urllib's own, without http, ftp, file and data addresses."""
    opener = urllib.request.OpenerDirector()
    for handler in (
        urllib.request.ProxyHandler(),
        urllib.request.HTTPDefaultErrorHandler(),
        urllib.request.HTTPErrorProcessor(),
        urllib.request.HTTPSHandler(),
        _SameHostHttps(),
    ):
        opener.add_handler(handler)
    return opener


def _connect(url: str) -> IO[bytes]:
    """Open an address, or raise DataError within CONNECT_SECONDS, a hanging name server included."""
    if urllib.parse.urlsplit(url).scheme != "https":
        raise DataError(f"{url} is not an https address; labkit downloads over https only")
    answer: list[IO[bytes] | Exception] = []

    def ask() -> None:
        try:
            answer.append(_opener().open(url, timeout=CONNECT_SECONDS))
        except Exception as error:
            answer.append(error)  # raised below, in the caller's thread

    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    thread.join(CONNECT_SECONDS)
    reply = answer[0] if answer else TimeoutError(f"no answer in {CONNECT_SECONDS:g} seconds")
    if isinstance(reply, DataError):
        raise reply
    if isinstance(reply, Exception):
        reason = getattr(reply, "reason", "") or reply
        raise DataError(f"cannot reach {url}: {reason}") from reply
    return reply


def _fetch(url: str, temporary: Path, size: int, algorithm: str, progress: bool) -> tuple[int, str]:
    """Write what `url` sends, at most a byte more than `size`; its length and digest."""
    total = hashlib.new(algorithm, usedforsecurity=False)
    length = 0
    bar = tqdm(total=size, unit="B", unit_scale=True, desc=url.rsplit("/", 1)[-1],
               disable=None if progress else True)  # fmt: skip
    with bar, _connect(url) as reply, open(temporary, "xb") as file:
        try:
            while length <= size and (block := reply.read(min(BLOCK, size + 1 - length))):
                file.write(block)
                total.update(block)
                length += len(block)
                bar.update(len(block))
        except (OSError, EOFError) as error:
            if getattr(error, "errno", None) in _FULL:
                raise
        file.flush()
        os.fsync(file.fileno())
    return length, total.hexdigest()


def _refusal(url: str, got: tuple[int, str], expected: tuple[int, str], name: str) -> str:
    if got[0] < expected[0]:
        return (
            f"{url} ended after {got[0]:,} of {expected[0]:,} bytes, {TRIES} times;"
            " nothing was kept, try again later"
        )
    return (
        f"the file upstream is not the one this version of labkit knows: {url} sent {got[0]:,}"
        f" bytes or more with {name.upper()} {got[1]}, expected {expected[0]:,} bytes with"
        f" {expected[1]}; nothing was kept"
    )


class _Bounded:
    """A readable that refuses to give more than `limit` bytes: archives may be bombs."""

    def __init__(self, source: IO[bytes], limit: int) -> None:
        self.source, self.left = source, limit

    def read(self, size: int = -1) -> bytes:
        block = self.source.read(min(size, self.left + 1) if size >= 0 else self.left + 1)
        self.left -= len(block)
        if self.left < 0:
            raise DataError("it unpacks to more bytes than its files should have")
        return block


@contextlib.contextmanager
def _explain_archive(path: str | Path) -> Iterator[None]:
    damage = (tarfile.TarError, zipfile.BadZipFile, EOFError, zlib.error, gzip.BadGzipFile,
              struct.error, NotImplementedError, ValueError, OverflowError)  # fmt: skip
    try:
        yield
    except damage as error:
        raise DataError(f"{path} is damaged, or not the kind of archive its name says: {error}"
                        ) from error  # fmt: skip


def _check_count(path: str | Path, count: int) -> None:
    if count > MEMBERS:
        raise DataError(f"{path} lists more than {MEMBERS:,} files; it was not read")


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
    if size > MEMBERS * 256:
        raise DataError(f"{path} lists more than {MEMBERS:,} files; it was not read")
