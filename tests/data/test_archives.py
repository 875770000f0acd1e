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
from labkit.data.archives import members
from labkit.errors import DataError

SIZES = {"a.bin": 1000, "b.bin": 10}
GOOD = {"set/a.bin": b"a" * 1000, "set/b.bin": b"b" * 10, "set/readme.txt": b"hello"}
EXPECTED = {"a.bin": b"a" * 1000, "b.bin": b"b" * 10}


def contents(path):
    """The expected files, by name."""
    return dict(members(path, "set", lambda name: SIZES.get(name, 0)))


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


def zipped(path, files, *more, **fields):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in [*files.items(), *more]:
            info = zipfile.ZipInfo(name)
            for key, value in fields.items():
                setattr(info, key, value)
            archive.writestr(info, content)
    return path


def forged(kind, path, files):
    if kind == "folder":
        forge.write(path.parent, files)
        return path
    return (forge.tar if kind == "tar" else zipped)(path, files)


@pytest.mark.parametrize("kind", ["folder", "tar", "zip"])
def test_the_expected_files_are_read(home, kind):
    assert contents(forged(kind, home / "set", GOOD)) == EXPECTED


@pytest.mark.faults(15)
@pytest.mark.parametrize("kind", ["folder", "tar", "zip"])
def test_files_may_be_smaller_or_missing_and_larger_ones_are_not_given(home, kind):
    path = forged(kind, home / "set", {"set/a.bin": b"a" * 7, "set/b.bin": b"b" * 11})
    assert contents(path) == {"a.bin": b"a" * 7, "b.bin": None}
    assert os.listdir(home) == ["set"]


TAR_TRICKS = {
    "symbolic link": (
        [(member("set/a.bin", type=tarfile.SYMTYPE, linkname="/etc/passwd"), b"")],
        "is not a plain file",
    ),
    "hard link": (
        [*plain({"x": b"x"}), (member("set/a.bin", type=tarfile.LNKTYPE, linkname="x"), b"")],
        "is not a plain file",
    ),
    "device": ([(member("set/a.bin", type=tarfile.CHRTYPE), b"")], "is not a plain file"),
    "pipe": ([(member("set/a.bin", type=tarfile.FIFOTYPE), b"")], "is not a plain file"),
    "folder": ([(member("set/a.bin", type=tarfile.DIRTYPE), b"")], "is not a plain file"),
    "twice": (plain(GOOD) + plain(GOOD), "comes twice"),
    "many": (plain({f"f{i}": b"" for i in range(2100)}), "unpacks to more than 1,048,576 bytes"),
    "bomb": (plain({"zeros": bytes(40 << 20)}), "unpacks to more than 1,048,576 bytes"),
}


@pytest.mark.faults(15)
@pytest.mark.parametrize("trick", TAR_TRICKS)
def test_tar_tricks_are_refused(home, monkeypatch, trick):
    monkeypatch.setattr(archives, "UNPACKED", 1 << 20)
    forged, message = TAR_TRICKS[trick]
    path = forge.tar_of(home / "set.tar.gz", forged)
    with pytest.raises(DataError, match=message):
        contents(path)
    assert os.listdir(home) == ["set.tar.gz"]


@pytest.mark.faults(15)
@pytest.mark.parametrize("kind", ["tar", "zip"])
def test_names_outside_are_not_read(home, kind):
    files = {"../set/a.bin": b"x", "/set/a.bin": b"x"}
    assert contents(forged(kind, home / "set", files)) == {}
    assert os.listdir(home) == ["set"]


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
        contents(path)


@pytest.mark.faults(15)
def test_a_truncated_tar_is_refused(home):
    path = forge.tar(home / "set.tar.gz", {"set/a.bin": os.urandom(1000), "set/b.bin": b"b" * 10})
    whole = path.read_bytes()
    for length in (0, 10, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:length])
        with pytest.raises(DataError, match=r"set\.tar\.gz"):
            contents(path)


@pytest.mark.faults(15)
@pytest.mark.parametrize("attr", [0o120777, 0o020666, 0o040755], ids=["link", "device", "folder"])
def test_zip_members_of_other_kinds_are_refused(home, attr):
    path = zipped(home / "set.zip", GOOD, external_attr=attr << 16)
    with pytest.raises(DataError, match="is not a plain file"):
        contents(path)


@pytest.mark.faults(15)
@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_zip_members_come_once(home):
    path = zipped(home / "set.zip", GOOD, *GOOD.items())
    with pytest.raises(DataError, match="comes twice"):
        contents(path)


@pytest.mark.faults(15)
def test_a_zip_bomb_is_read_as_far_as_its_file_may_be_large(home):
    path = zipped(home / "set.zip", {"set/a.bin": bytes(5 << 20)})
    assert contents(path) == {"a.bin": None}
    content = path.read_bytes()  # a header that lies about the size, too
    lie = content.replace(struct.pack("<L", 5 << 20), struct.pack("<L", 500))
    path.write_bytes(lie)
    with pytest.raises(DataError):
        contents(path)


@pytest.mark.faults(15)
def test_a_zip_with_too_many_files_is_refused(home, monkeypatch):
    monkeypatch.setattr(archives, "ENTRIES", 50)
    path = zipped(home / "set.zip", {f"set/{i}.bin": b"x" for i in range(51)})
    with pytest.raises(DataError, match="more than 50 files"):
        contents(path)


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
        whole = bytearray(zipped(path, GOOD).read_bytes())
    rng = np.random.default_rng(times)
    refused = 0
    for _ in range(times):
        bad = bytearray(whole)
        for _ in range(rng.integers(1, 6)):
            bad[rng.integers(len(bad))] = rng.integers(256)
        path.write_bytes(gzip.compress(bad, 1) if kind == "tar" else bad)
        try:
            assert set(contents(path)) <= set(SIZES)
        except DataError:
            refused += 1
    assert refused > times / 10
