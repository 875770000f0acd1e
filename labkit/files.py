"""Files that are whole or absent, what identifies their contents, and where ours lie."""

from __future__ import annotations

import contextlib
import errno
import functools
import hashlib
import json
import os
import shutil
import tempfile
import uuid
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from labkit.errors import DataError, InputError

__all__ = [
    "PACKAGE",
    "claim",
    "data_home",
    "explain_full",
    "md5",
    "no_space",
    "probe",
    "read_json",
    "records_home",
    "runs_home",
    "settle_homes",
    "sha256",
    "write_atomic",
    "write_pieces",
]

PACKAGE = Path(__file__).parent
CACHE = "~/.cache/labkit"
HOMES = ("LABKIT_DATA", "LABKIT_RUNS", "LABKIT_RECORDS")
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_NO_LINKS = (errno.EPERM, errno.ENOTSUP, errno.ENOSYS, errno.EMLINK)


def data_home() -> Path:
    """The data folder: LABKIT_DATA, or the user's cache folder.

    Raises:
        InputError: it names a user whom this machine does not know.
        DataError: it is a file.
    """
    home = _home("LABKIT_DATA", f"{CACHE}/data")
    if home.exists() and not home.is_dir():
        raise DataError(f"the data folder {home} is a file; set LABKIT_DATA to a folder")
    return home


def runs_home() -> Path:
    """Where runs and their checkpoints lie: LABKIT_RUNS, or the user's cache folder."""
    return _home("LABKIT_RUNS", f"{CACHE}/runs")


def records_home() -> Path:
    """The committed records: LABKIT_RECORDS, or book/records of the checkout."""
    return _home("LABKIT_RECORDS", str(PACKAGE.parent / "book" / "records"))


def settle_homes() -> None:
    """Make the folders that the environment names absolute.

    A notebook's kernel works in another folder than the command that starts it: a relative path
    would be two places.

    Raises:
        InputError: a user whom this machine does not know.
    """
    for variable in HOMES:
        if os.environ.get(variable):
            os.environ[variable] = str(_home(variable, ""))


def _home(variable: str, default: str) -> Path:
    try:
        return Path(os.environ.get(variable) or default).expanduser().absolute()
    except RuntimeError as error:
        raise InputError(f"{variable}={os.environ.get(variable)}: no such user's folder") from error


def probe(folder: Path, remedy: str) -> float:
    """Write where a folder is or will be, before anything is computed for it; the time it is there.

    Raises:
        DataError: nothing can be written; the message ends with the remedy.
    """
    there = next(place for place in (folder, *folder.absolute().parents) if place.exists())
    try:
        with tempfile.TemporaryFile(dir=there) as file:
            file.write(b"x")
            file.flush()
            return os.fstat(file.fileno()).st_mtime
    except OSError as error:
        raise DataError(f"cannot write {folder}: {error.strerror}; {remedy}") from error


def write_atomic(path: str | Path, content: bytes | str) -> None:
    """Replace `path` by `content`: readers see the old file or the new one, never a part.

    Text is written as UTF-8; missing folders are made.

    Raises:
        OSError: among others, no space is left; the old file is as it was, nothing else remains.
    """
    content = content.encode() if isinstance(content, str) else content
    write_pieces(path, [content], len(content))


def write_pieces(path: str | Path, pieces: Iterable[bytes | memoryview], size: int) -> None:
    """As `write_atomic`, for `size` bytes that are better not held in memory in one piece."""
    with _beside(Path(path), pieces, size) as temporary:
        os.replace(temporary, path)


def claim(path: str | Path, content: bytes | str) -> bool:
    """Create `path` with `content`, whole, unless it exists; of racing processes one gets True."""
    path = Path(path)
    content = content.encode() if isinstance(content, str) else content
    with _beside(path, [content], len(content)) as temporary:
        try:
            os.link(temporary, path)
        except FileExistsError:
            return False
        except OSError as error:
            if error.errno not in _NO_LINKS:
                raise
            return _claim_without_links(path, temporary)
    return True


def read_json(path: str | Path) -> dict[str, Any]:
    """A JSON object that we wrote; empty where the file is missing or damaged."""
    try:
        content = json.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def sha256(source: str | Path | bytes) -> str:
    """SHA-256 of a file (a path) or of bytes, as 64 hexadecimal digits."""
    return _digest("sha256", source)


def md5(source: str | Path | bytes) -> str:
    """MD5, for files whose publisher gives nothing better; always beside a check of the length."""
    return _digest("md5", source)


@contextlib.contextmanager
def explain_full(path: str | Path, size: int) -> Iterator[None]:
    """Turn "no space left on device" into a sentence: which file, bytes needed, bytes free."""
    try:
        yield
    except OSError as error:
        if not no_space(error):
            raise
        free = shutil.disk_usage(Path(path).parent).free
        reason = f"cannot write {path}: it needs {size:,} bytes, {free:,} are free"
        raise OSError(error.errno, f"{reason}; make room and try again") from error


def no_space(error: BaseException) -> bool:
    """Whether an error says that the disk, the quota or the file-size limit is exhausted."""
    return isinstance(error, OSError) and error.errno in _FULL


@contextlib.contextmanager
def _beside(path: Path, pieces: Iterable[bytes | memoryview], size: int) -> Iterator[Path]:
    """A temporary file of `size` bytes in the folder of `path`, gone at the end."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{uuid.uuid4().hex}.tmp")
    try:
        with explain_full(path, size), open(temporary, "xb") as file:
            file.writelines(pieces)
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
        return hashlib.file_digest(
            file, functools.partial(hashlib.new, name, usedforsecurity=False)
        ).hexdigest()
