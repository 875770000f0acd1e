"""Download over https, verified before the file has its name."""

from __future__ import annotations

import contextlib
import hashlib
import http.client
import threading
import time
import urllib.parse
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from tqdm import tqdm

from labkit.errors import DataError
from labkit.files import write_pieces

__all__ = ["fetch"]

CONNECT_SECONDS = 4.0  # a machine without network is told so within 5 s
PAUSES = (1.0, 4.0)  # seconds between two tries
BLOCK = 1 << 20


def fetch(url: str, path: str | Path, *, size: int, md5: str) -> None:
    """Fetch an https address to `path`, which appears only when length and checksum are right.

    A broken transfer is tried three times, from zero. Never http, never another host, and no way
    to skip the check. Missing folders are made.

    Args:
        size: of the file, in bytes.
        md5: of the file, 32 hexadecimal digits.

    Raises:
        DataError: no network, or the file upstream is not the one expected.
        OSError: the file cannot be written.
    """
    for pause in (*PAUSES, None):
        try:
            write_pieces(path, _blocks(url, size, md5), size)
            return
        except _BrokenOffError:
            if pause is None:
                raise
            time.sleep(pause)


class _BrokenOffError(DataError):
    """Fewer bytes came than the file has; another try may help."""


class _SameHostHttps(urllib.request.HTTPRedirectHandler):
    """Follows a redirect only to https on the host that was asked for."""

    def redirect_request(self, req, fp, code, msg, headers, newurl):  # named as in urllib
        old, new = urllib.parse.urlsplit(req.full_url), urllib.parse.urlsplit(newurl)
        if new.scheme != "https" or new.hostname != old.hostname:
            raise DataError(f"{req.full_url} redirects to {newurl}, which labkit does not follow")
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def _connect(url: str) -> IO[bytes]:
    """Open an address, or raise DataError within CONNECT_SECONDS even if the name server hangs."""
    if urllib.parse.urlsplit(url).scheme != "https":
        raise DataError(f"{url} is not an https address; labkit downloads over https only")
    answers: list[IO[bytes] | Exception] = []

    def ask() -> None:
        try:
            opener = urllib.request.build_opener(_SameHostHttps)
            answers.append(opener.open(url, timeout=CONNECT_SECONDS))
        except Exception as error:
            answers.append(error)  # raised below, in the caller's thread

    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    thread.join(CONNECT_SECONDS)
    answer = answers[0] if answers else TimeoutError(f"no answer in {CONNECT_SECONDS:g} seconds")
    if isinstance(answer, DataError):
        raise answer
    if isinstance(answer, Exception):
        reason = getattr(answer, "reason", "") or answer
        raise DataError(f"cannot reach {url}: {reason}") from answer
    return answer


def _blocks(url: str, size: int, md5: str) -> Iterator[bytes]:
    """What `url` sends, at most a byte more than `size`; fails after a wrong end."""
    length, total = 0, hashlib.md5(usedforsecurity=False)
    name = url.rsplit("/", 1)[-1]
    bar = tqdm(total=size, unit="B", unit_scale=True, desc=name, disable=None)
    with bar, _connect(url) as reply, contextlib.suppress(OSError, http.client.HTTPException):
        while block := reply.read(min(BLOCK, size + 1 - length)):  # an error shows in the length
            yield block
            total.update(block)
            length += len(block)
            bar.update(len(block))
    if length < size:
        raise _BrokenOffError(
            f"{url} ended after {length:,} of {size:,} bytes, {1 + len(PAUSES)} times;"
            " nothing was kept, try again later"
        )
    if (length, total.hexdigest()) != (size, md5):
        raise DataError(
            f"the file upstream is not the one this version of labkit knows: {url} sent"
            f" {length:,} bytes or more with MD5 {total.hexdigest()}, expected {size:,} bytes"
            f" with {md5}; nothing was kept"
        )
