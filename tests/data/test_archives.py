"""Archives give their expected members or a refusal, and never write."""

import gzip
import io
import os
import struct
import tarfile
import zipfile

import forge
import numpy as np
import pytest

from labkit.data import archives
from labkit.data.archives import tar_members, zip_members
from labkit.errors import DataError

SIZES = {"set/a.bin": 1000, "set/b.bin": 10}
GOOD = {"set/a.bin": b"a" * 1000, "set/b.bin": b"b" * 10, "set/readme.txt": b"hello"}


def member(name, **fields):
    info = tarfile.TarInfo(name)
    for key, value in fields.items():
        setattr(info, key, value)
    return info


def plain(files):
    return [(member(name), content) for name, content in files.items()]


def raw_header(name, size_field):
    """A ustar header with any bytes for the size, its checksum right."""
    head = bytearray(member(name).tobuf(tarfile.USTAR_FORMAT))
    head[124:136] = size_field
    head[148:156] = b" " * 8
    head[148:156] = b"%06o\0 " % sum(head)
    return bytes(head)


def test_tar_members_are_read(home):
    path = forge.tar(home / "set.tar.gz", GOOD)
    assert tar_members(path, SIZES) == {k: GOOD[k] for k in SIZES}


def test_tar_members_may_be_smaller_or_missing(home):
    path = forge.tar(home / "set.tar.gz", {"set/a.bin": b"a" * 7})
    assert tar_members(path, SIZES) == {"set/a.bin": b"a" * 7}


TAR_TRICKS = {
    "symbolic link": (
        [(member("set/a.bin", type=tarfile.SYMTYPE, linkname="/etc/passwd"), b"")],
        "not a plain regular file",
    ),
    "hard link": (
        [*plain({"x": b"x"}), (member("set/a.bin", type=tarfile.LNKTYPE, linkname="x"), b"")],
        "not a plain regular file",
    ),
    "device": ([(member("set/a.bin", type=tarfile.CHRTYPE), b"")], "not a plain regular file"),
    "pipe": ([(member("set/a.bin", type=tarfile.FIFOTYPE), b"")], "not a plain regular file"),
    "folder": ([(member("set/a.bin", type=tarfile.DIRTYPE), b"")], "not a plain regular file"),
    "twice": (plain(GOOD) + plain(GOOD), "comes twice"),
    "too large": (plain({"set/a.bin": b"a" * 1001}), "has 1,001 bytes, expected at most 1,000"),
    "many": (plain({f"f{i}": b"" for i in range(2100)}), "unpacks to more bytes"),
}


@pytest.mark.faults(15)
@pytest.mark.parametrize("trick", TAR_TRICKS)
def test_tar_tricks_are_refused(home, trick):
    members, message = TAR_TRICKS[trick]
    path = forge.tar_of(home / "set.tar.gz", members)
    with pytest.raises(DataError, match=message):
        tar_members(path, SIZES)
    assert os.listdir(home) == ["set.tar.gz"]


@pytest.mark.faults(15)
def test_tar_names_outside_are_not_read(home):
    path = forge.tar(home / "set.tar.gz", {"../set/a.bin": b"x", "/set/a.bin": b"x"})
    assert tar_members(path, SIZES) == {}
    assert os.listdir(home) == ["set.tar.gz"]


@pytest.mark.faults(15)
@pytest.mark.parametrize(
    "size",
    [b"\xff" * 12, b"\x80" + b"\xff" * 11, b"not octal  \0"],
    ids=["negative", "astronomic", "no number"],
)
def test_tar_headers_with_strange_sizes_are_refused(home, size):
    path = home / "set.tar.gz"
    path.write_bytes(gzip.compress(raw_header("set/a.bin", size) + bytes(4096)))
    with pytest.raises(DataError):
        tar_members(path, SIZES)


@pytest.mark.faults(15)
def test_a_tar_bomb_is_stopped_at_the_expected_size(home, monkeypatch):
    path = forge.tar_of(home / "set.tar.gz", plain({"zeros": bytes(40 << 20)}))
    with pytest.raises(DataError, match="unpacks to more bytes"):
        tar_members(path, SIZES)


@pytest.mark.faults(15)
def test_a_truncated_tar_is_refused(home):
    path = forge.tar(home / "set.tar.gz", {"set/a.bin": os.urandom(1000), "set/b.bin": b"b" * 10})
    whole = path.read_bytes()
    for length in (0, 10, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:length])
        with pytest.raises(DataError, match=r"set\.tar\.gz"):
            tar_members(path, SIZES)


def wanted(name):
    return name.startswith("set/") and name.endswith(".bin")


def zipped(path, entries, **fields):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in entries:
            info = zipfile.ZipInfo(name)
            for key, value in fields.items():
                setattr(info, key, value)
            archive.writestr(info, content)
    return path


def test_zip_members_are_read_in_order(home):
    path = zipped(home / "set.zip", reversed(GOOD.items()))
    found = list(zip_members(path, wanted, 1000))
    assert found == sorted((k, v) for k, v in GOOD.items() if k in SIZES)


@pytest.mark.faults(15)
@pytest.mark.parametrize("attr", [0o120777, 0o020666, 0o040755], ids=["link", "device", "folder"])
def test_zip_members_of_other_kinds_are_refused(home, attr):
    path = zipped(home / "set.zip", GOOD.items(), external_attr=attr << 16)
    with pytest.raises(DataError, match="not a plain regular file"):
        list(zip_members(path, wanted, 1000))


@pytest.mark.faults(15)
def test_zip_names_outside_are_not_read(home):
    path = zipped(home / "set.zip", [("../set/a.bin", b"x"), ("/set/a.bin", b"x")])
    assert list(zip_members(path, wanted, 1000)) == []


@pytest.mark.faults(15)
@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_zip_members_come_once(home):
    path = zipped(home / "set.zip", [*GOOD.items(), *GOOD.items()])
    with pytest.raises(DataError, match="comes twice"):
        list(zip_members(path, wanted, 1000))


@pytest.mark.faults(15)
def test_zip_bombs_are_refused(home):
    path = zipped(home / "set.zip", [("set/a.bin", bytes(5 << 20))])
    with pytest.raises(DataError, match="expected at most 1,000"):
        list(zip_members(path, wanted, 1000))
    content = path.read_bytes()  # a header that lies about the size, too
    lie = content.replace(struct.pack("<L", 5 << 20), struct.pack("<L", 500))
    path.write_bytes(lie)
    with pytest.raises(DataError):
        list(zip_members(path, wanted, 1000))


@pytest.mark.faults(15)
def test_a_zip_with_too_many_files_is_refused(home, monkeypatch):
    monkeypatch.setattr(archives, "MEMBERS", 50)
    path = zipped(home / "set.zip", [(f"set/{i}.bin", b"x") for i in range(51)])
    with pytest.raises(DataError, match="more than 50 files"):
        list(zip_members(path, wanted, 1000))


@pytest.mark.faults(15)
@pytest.mark.parametrize("times", [5000])
@pytest.mark.parametrize("kind", ["tar", "zip"])
def test_damaged_archives_are_read_right_or_refused(home, kind, times):
    """Flip bytes all over an archive: the true contents or a DataError, nothing else."""
    path = home / f"set.{kind}"
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:") as archive:
        for info, content in plain(GOOD):
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    whole = bytearray(buffer.getvalue())
    if kind == "zip":
        whole = bytearray(zipped(path, GOOD.items()).read_bytes())
    rng = np.random.default_rng(times)
    refused = 0
    for _ in range(times):
        bad = bytearray(whole)
        for _ in range(rng.integers(1, 6)):
            bad[rng.integers(len(bad))] = rng.integers(256)
        path.write_bytes(gzip.compress(bad, 1) if kind == "tar" else bad)
        try:
            if kind == "tar":
                found = tar_members(path, SIZES)
            else:
                found = dict(zip_members(path, wanted, 1000))
            assert set(found) <= set(SIZES)
        except DataError:
            refused += 1
    assert refused > times / 10
