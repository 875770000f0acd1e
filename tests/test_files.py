"""Files are whole or absent: atomic writing, claiming, digests, a full disk."""

import errno
import hashlib
import os
import subprocess
import sys
import textwrap
from concurrent.futures import ThreadPoolExecutor

import pytest

from labkit import files


def test_write_atomic_makes_folders_and_replaces(home):
    path = home / "deep" / "er" / "räum {0} %s #1.txt"
    files.write_atomic(path, "zweite Zeile: äöü €")
    assert path.read_bytes().decode("utf-8") == "zweite Zeile: äöü €"
    files.write_atomic(path, b"\x00new")
    assert path.read_bytes() == b"\x00new"
    assert os.listdir(path.parent) == [path.name]


@pytest.mark.faults(36)
def test_names_may_be_as_long_as_the_file_system_allows(home):
    path = home / ("n" * 250)
    files.write_atomic(path, "long")
    assert files.claim(home / ("c" * 250), "long")
    assert path.read_text(encoding="utf-8") == "long"


def test_written_files_follow_the_umask(home):
    files.write_atomic(home / "file", "x")
    (home / "plain").write_bytes(b"x")
    assert (home / "file").stat().st_mode == (home / "plain").stat().st_mode


@pytest.mark.faults(9)
@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_a_full_disk_is_explained_and_leaves_the_old_file(home, monkeypatch, number):
    path = home / "record.json"
    path.write_bytes(b"old")

    def full(_):
        raise OSError(number, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    for write in (files.write_atomic, files.claim):
        with pytest.raises(OSError, match=r"record\.json: it needs 1,234 bytes, [\d,]+ are free"):
            write(path, b"n" * 1234)
    assert path.read_bytes() == b"old"
    assert os.listdir(home) == ["record.json"]


@pytest.mark.faults(9)
def test_a_limit_in_the_middle_of_a_write_leaves_nothing(home):
    code = """
        import resource, sys
        from labkit import files
        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
        try:
            files.write_atomic(sys.argv[1], bytes(5000))
        except OSError as error:
            print(error)
    """
    path = home / "big"
    path.write_bytes(b"old")
    command = [sys.executable, "-c", textwrap.dedent(code), str(path)]
    child = subprocess.run(command, capture_output=True, text=True, check=True, encoding="utf-8")
    assert "needs 5,000 bytes" in child.stdout
    assert path.read_bytes() == b"old"
    assert os.listdir(home) == ["big"]


def test_another_error_is_passed_on(home):
    (home / "file").write_bytes(b"")
    with pytest.raises(OSError, match="File exists|Not a directory"):
        files.write_atomic(home / "file" / "below", "x")


def test_claim_is_given_once(home):
    assert files.claim(home / "record", "first")
    assert not files.claim(home / "record", "second")
    assert (home / "record").read_bytes() == b"first"
    assert os.listdir(home) == ["record"]


@pytest.mark.faults(25)
@pytest.mark.parametrize("links", [True, False], ids=["links", "no links"])
def test_of_racing_claims_one_wins_and_is_whole(home, monkeypatch, links):
    if not links:  # as on some network mounts

        def refuse(*_):
            raise OSError(errno.ENOTSUP, "Operation not supported")

        monkeypatch.setattr(os, "link", refuse)
    contents = [bytes([i]) * 100_000 for i in range(16)]
    with ThreadPoolExecutor(16) as pool:
        won = list(pool.map(lambda c: files.claim(home / "record", c), contents))
    assert sum(won) == 1
    assert (home / "record").read_bytes() == contents[won.index(True)]
    assert os.listdir(home) == ["record"]


def test_digests_of_files_and_bytes_agree(home):
    content = bytes(range(256)) * 999
    (home / "f").write_bytes(content)
    assert files.sha256(home / "f") == files.sha256(content) == hashlib.sha256(content).hexdigest()
    assert files.md5(str(home / "f")) == files.md5(content) == hashlib.md5(content).hexdigest()
