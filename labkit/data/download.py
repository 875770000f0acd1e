"""Download over https, verified before the file has its name."""

from __future__ import annotations

import hashlib
import http.client
import os
import threading
import time
import urllib.parse
import urllib.request
import uuid
from pathlib import Path
from typing import IO

from tqdm import tqdm

from labkit.errors import DataError
from labkit.files import explain_full, no_space

CONNECT_SECONDS = 4.0  # a machine without network is told so within 5 s
TRIES = 3
PAUSES = (1.0, 4.0)  # seconds between two tries
BLOCK = 1 << 20


def fetch(url: str, path: str | Path, *, size: int, md5: str) -> None:
    """Fetch an https address to `path`, which appears only when length and checksum are right.

    A broken transfer is tried three times, from zero. Never http, never another host, and no way
    to skip the check.

    Raises:
        DataError: no network, or the file upstream is not the one expected.
        OSError: the file cannot be written.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    for attempt in range(TRIES):
        temporary = path.with_name(f".{uuid.uuid4().hex}.tmp")
        try:
            with explain_full(path, size):
                got = _receive(url, temporary, size)
            if got == (size, md5):
                os.replace(temporary, path)
                return
        finally:
            temporary.unlink(missing_ok=True)
        if got[0] >= size:
            break  # whole, but another file: trying again would not help
        if attempt < len(PAUSES):
            time.sleep(PAUSES[attempt])
    raise DataError(_refusal(url, got, (size, md5)))


class _SameHostHttps(urllib.request.HTTPRedirectHandler):
    """Follows a redirect only to https on the host that was asked for."""

    def redirect_request(self, req, fp, code, msg, headers, newurl):
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
    """Open an address, or raise DataError within CONNECT_SECONDS even if the name server hangs."""
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


def _receive(url: str, temporary: Path, size: int) -> tuple[int, str]:
    """Write what `url` sends, at most a byte more than `size`; its length and MD5."""
    total = hashlib.md5(usedforsecurity=False)
    length = 0
    bar = tqdm(total=size, unit="B", unit_scale=True, desc=url.rsplit("/", 1)[-1],
               disable=None)  # fmt: skip
    with bar, _connect(url) as reply, open(temporary, "xb") as file:
        try:
            while length <= size and (block := reply.read(min(BLOCK, size + 1 - length))):
                file.write(block)
                total.update(block)
                length += len(block)
                bar.update(len(block))
        except (OSError, http.client.HTTPException) as error:  # broken off: the length will tell
            if no_space(error):
                raise
        file.flush()
        os.fsync(file.fileno())
    return length, total.hexdigest()


def _refusal(url: str, got: tuple[int, str], expected: tuple[int, str]) -> str:
    if got[0] < expected[0]:
        return (
            f"{url} ended after {got[0]:,} of {expected[0]:,} bytes, {TRIES} times;"
            " nothing was kept, try again later"
        )
    return (
        f"the file upstream is not the one this version of labkit knows: {url} sent {got[0]:,}"
        f" bytes or more with MD5 {got[1]}, expected {expected[0]:,} bytes with"
        f" {expected[1]}; nothing was kept"
    )
