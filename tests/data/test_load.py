"""Data sets: every layout people have, the prepared file, faults found at preparation."""

import contextlib
import dataclasses
import errno
import hashlib
import json
import os
import pickle
import socket
import subprocess
import sys
import tempfile
from pathlib import Path

import forge
import pytest
import torch
from forge import FOLDERS, WNIDS

from labkit import data, files
from labkit.data import catalogue, cifar, download, prepared, tiny_imagenet
from labkit.data.classes import CIFAR100, SUPERCLASSES, TINY_IMAGENET
from labkit.data.partitions import PARTITIONS
from labkit.errors import DataError, InputError
from labkit.files import data_home

REAL = tuple(catalogue.CATALOGUE)


@pytest.fixture
def place(home):
    """Somewhere outside the data folder."""
    folder = home / "my downloads"
    folder.mkdir()
    return folder


def official(monkeypatch, name, path):
    """Let a forged archive or folder be the published one."""
    entry = catalogue.CATALOGUE[name]
    entry = dataclasses.replace(entry, size=path.stat().st_size, md5=files.md5(path))
    monkeypatch.setitem(catalogue.CATALOGUE, name, entry)


def expected_cifar(name, files_):
    """Labels and images, read plainly from the bytes of the training files, by their SHA-256."""
    head = 1 if name == "cifar10" else 2
    size, rows = head + 3072, []
    for file in sorted(f for f in files_ if "train" in f or "data_batch" in f):
        content = files_[file]
        for start in range(0, len(content), size):
            pixels = content[start + head : start + size]
            rows.append((hashlib.sha256(pixels).hexdigest(), content[start + head - 1], pixels))
    rows.sort()
    images = torch.tensor([list(pixels) for _, _, pixels in rows], dtype=torch.uint8)
    return torch.tensor([label for _, label, _ in rows]), images.view(-1, 3, 32, 32)


@pytest.mark.faults(36)
@pytest.mark.parametrize("name", ["cifar10", "cifar100"])
@pytest.mark.parametrize("inside", [True, False], ids=["parent", "itself"])
def test_cifar_binary_folder(place, name, inside):
    folder = forge.cifar_folder(place, name, each=2)
    got = data.add(name, place if inside else folder)
    labels, images = expected_cifar(name, forge.cifar_files(name, each=2))
    assert torch.equal(got.train.labels, labels)
    assert torch.equal(got.train.images, images)
    assert len(got.test) == len(got.classes)
    assert not got.complete
    assert not got.synthetic


def test_a_folder_in_the_data_folder_is_found_and_prepared():
    assert not data.available("cifar10")
    forge.cifar_folder(data_home(), "cifar10")
    assert data.available("cifar10")
    first = data.load("cifar10")
    forge.write(data_home() / FOLDERS["cifar10"], {"test_batch.bin": b"no longer looked at"})
    again = data.load("cifar10")
    assert again.card() == first.card()
    assert torch.equal(again.train.images, first.train.images)
    assert torch.equal(again.test.labels, first.test.labels)


@pytest.mark.parametrize("name", ["cifar10", "cifar100"])
def test_cifar_archive(place, name):
    path = forge.cifar_archive(place / "any name.tar.gz", name)
    got = data.add(name, path)
    assert "unofficial" in got.source
    assert torch.equal(got.train.labels, expected_cifar(name, forge.cifar_files(name))[0])


def test_the_published_archive_in_the_data_folder_is_read(monkeypatch):
    path = forge.cifar_archive(data_home() / "cifar-100-binary.tar.gz", "cifar100")
    official(monkeypatch, "cifar100", path)
    got = data.load("cifar100")
    assert len(got.train) == 100
    assert got.source.startswith("official archive https://")


@pytest.mark.faults(12)
def test_another_archive_under_the_published_name_is_refused(home):
    forge.cifar_archive(data_home() / "cifar-10-binary.tar.gz", "cifar10")
    with pytest.raises(DataError, match="not the published file, which has 170,052,171 bytes"):
        data.load("cifar10")
    assert not (data_home() / "prepared").exists()


@pytest.mark.faults(11)
def test_a_download_is_prepared_and_its_archive_removed(monkeypatch, place):
    source = forge.tiny_archive(place / "tiny.zip")
    official(monkeypatch, "tiny_imagenet", source)

    def fetch(url, path, *, size, md5):
        assert (url, size, md5) == (
            "https://cs231n.stanford.edu/tiny-imagenet-200.zip",
            source.stat().st_size,
            files.md5(source),
        )
        Path(path).parent.mkdir(parents=True)
        Path(path).write_bytes(source.read_bytes())

    monkeypatch.setattr(download, "fetch", fetch)
    got = data.load("tiny_imagenet")
    assert len(got.train) == len(got.test) == 200
    assert [p.name for p in data_home().iterdir()] == ["prepared"]


@pytest.mark.faults(13)
@pytest.mark.parametrize("name", REAL)
def test_without_network_and_copy_a_sentence_says_what_to_do(monkeypatch, name):
    def unreachable(*_, **__):
        raise socket.gaierror(-3, "Temporary failure in name resolution")

    monkeypatch.setattr(socket, "getaddrinfo", unreachable)
    entry = catalogue.CATALOGUE[name]
    with pytest.raises(DataError) as error:
        data.load(name)
    path = data_home() / entry.archive
    for part in (entry.url, entry.md5, f"{entry.size:,}", str(path), f"synthetic_{name}"):
        assert part in str(error.value)
    assert not data.available(name)
    assert data.load(f"synthetic_{name}").synthetic


def torchvision_folder(monkeypatch, place, name, contents=None):
    """A forged folder of pickled batches whose checksums are made the published ones."""
    import torchvision.datasets as published

    cls = {"cifar10": published.CIFAR10, "cifar100": published.CIFAR100}[name]
    batches = forge.torchvision_files(name, contents or forge.cifar_files(name))
    for attribute in ("train_list", "test_list"):
        listed = [[file, files.md5(batches[file])] for file, _ in getattr(cls, attribute)]
        monkeypatch.setattr(cls, attribute, listed)
    return forge.write(place / cls.base_folder, batches)


@pytest.mark.parametrize("name", ["cifar10", "cifar100"])
def test_torchvision_folder(monkeypatch, place, name):
    torchvision_folder(monkeypatch, place, name)
    got = data.add(name, place)
    labels, images = expected_cifar(name, forge.cifar_files(name))
    assert torch.equal(got.train.labels, labels)
    assert torch.equal(got.train.images, images)
    assert len(got.test) == len(got.classes)


def assert_equal_sets(first, *others):
    """Equal bit for bit, and so are the subsets that a recipe takes."""
    for other in others:
        assert other.sha256 == first.sha256
        pairs = [(first.train, other.train), (first.test, other.test)]
        spare = len(first.train) > len(first.classes)
        sizes = spare * len(first.classes), len(first.classes), 3  # validation, train_size, seed
        pairs += zip(first.holdout(*sizes), other.holdout(*sizes), strict=True)
        pairs += [(first.test_subset(n), other.test_subset(n)) for n in (0, 7)]
        for ours, theirs in pairs:
            assert torch.equal(ours.images, theirs.images)
            assert torch.equal(ours.labels, theirs.labels)


@pytest.mark.faults(39)
@pytest.mark.parametrize(("name", "each"), [("cifar10", 2), ("cifar100", 3)])
def test_every_copy_of_cifar_gives_the_same_set(monkeypatch, home, place, name, each):
    contents = forge.cifar_files(name, each)
    other = forge.reordered(name, contents)
    assert other != contents
    copies = [
        forge.write(home / "here" / FOLDERS[name], contents),
        forge.write(home / "there" / FOLDERS[name], other),
        forge.tar(place / "a.tar.gz", {f"{FOLDERS[name]}/{k}": v for k, v in contents.items()}),
        forge.tar(place / "b.tar.gz", {f"{FOLDERS[name]}/{k}": v for k, v in other.items()}),
    ]
    sets = [data.add(name, copy) for copy in copies]
    for order in (contents, other):
        with monkeypatch.context() as patch:
            sets.append(data.add(name, torchvision_folder(patch, place, name, order)))
    assert_equal_sets(*sets, data.load(name))


@pytest.mark.faults(39)
def test_every_copy_of_tiny_imagenet_gives_the_same_set(home, place):
    copies = [
        copy
        for reverse in (False, True)
        for copy in (
            forge.tiny_folder(home / str(reverse), each=3, reverse=reverse),
            forge.tiny_archive(place / f"{reverse}.zip", each=3, reverse=reverse),
        )
    ]
    assert_equal_sets(*(data.add("tiny_imagenet", copy) for copy in copies))


class Hostile:
    def __init__(self, marker):
        self.marker = marker

    def __reduce__(self):
        return os.mkdir, (str(self.marker),)


@pytest.mark.faults(16)
@pytest.mark.parametrize("known_checksum", [False, True], ids=["by checksum", "by unpickler"])
def test_a_malicious_pickle_runs_nothing(monkeypatch, place, known_checksum):
    folder = torchvision_folder(monkeypatch, place, "cifar100")
    content = pickle.dumps({b"data": Hostile(place / "marker"), b"fine_labels": [0]}, protocol=3)
    (folder / "train").write_bytes(content)
    if known_checksum:
        from torchvision.datasets import CIFAR100

        monkeypatch.setattr(CIFAR100, "train_list", [["train", files.md5(content)]])
    message = "mkdir; labkit reads numpy arrays only" if known_checksum else "it was not opened"
    with pytest.raises(DataError, match=message):
        data.add("cifar100", folder)
    assert not (place / "marker").exists()


@pytest.mark.faults(20)
@pytest.mark.parametrize("kind", ["folder", "zip", "sorted val", "flat"])
def test_tiny_imagenet_layouts(place, kind):
    if kind == "zip":
        path = forge.tiny_archive(place / "tiny-imagenet-200.zip", each=2)
    else:
        path = forge.tiny_folder(place, each=2)
    if kind in ("sorted val", "flat"):  # as many people rearrange it
        lines = (path / "val/val_annotations.txt").read_text(encoding="utf-8").splitlines()
        for file, wnid in (line.split("\t")[:2] for line in lines):
            folder = path / "val" / wnid / ("images" if kind == "sorted val" else "")
            folder.mkdir(parents=True)
            (path / "val/images" / file).rename(folder / file)
        (path / "val/val_annotations.txt").unlink()
        (path / "val/images").rmdir()
    got = data.add("tiny_imagenet", path)
    assert got.shape == (3, 64, 64)
    assert torch.bincount(got.train.labels).tolist() == [2] * 200
    assert torch.bincount(got.test.labels).tolist() == [1] * 200
    assert not got.complete
    pictures = [tiny_imagenet._decode(forge.jpeg(seed)).copy() for seed in range(4)]
    for split, each in ((got.train, 2), (got.test, 1)):
        for image, label in zip(split.images[:20], split.labels[:20].tolist(), strict=True):
            own = [torch.from_numpy(pictures[(label + i) % 4]) for i in range(each)]
            assert any(torch.equal(image, picture) for picture in own)


@pytest.mark.faults(36)
def test_a_folder_of_links_is_read(home, place):
    folder = forge.tiny_folder(place)
    linked = home / "linked" / folder.name
    for part in ("train", "val/images", "val/val_annotations.txt"):
        (linked / part).parent.mkdir(parents=True, exist_ok=True)
        (linked / part).symlink_to(folder / part)
    assert_equal_sets(data.add("tiny_imagenet", folder), data.add("tiny_imagenet", linked))


@pytest.mark.faults(19)
def test_grey_and_cmyk_images_become_rgb(place):
    folder = forge.tiny_folder(place)
    for wnid, mode in zip(WNIDS, ("L", "CMYK"), strict=False):
        image = forge.jpeg(5, mode=mode)
        forge.write(folder, {f"train/{wnid}/images/{wnid}_0.JPEG": image})
    got = data.add("tiny_imagenet", place)
    grey = got.train.images[got.train.labels == 0][0]
    assert torch.equal(grey[0], grey[1])
    assert got.train.images.shape == (200, 3, 64, 64)


FAULTS = {
    "undecodable": (b"\xff\xd8\xff\xe0 no image at all", "cannot be decoded"),
    "another format": (b"\x89PNG\r\n\x1a\n" + bytes(100), "no JPEG"),
    "empty": (b"", "no JPEG"),
    "cut short": (forge.jpeg()[:-200], "cannot be decoded"),
    "wrong size": (forge.jpeg(size=(64, 63)), "64 x 63 pixels, not 64 x 64"),
    "huge": (
        forge.jpeg(size=(64, 64)).replace(b"\0\x40\0\x40", b"\xff\xff\xff\xff", 1),
        "far more pixels",
    ),
    "oversize": (forge.jpeg() + bytes(1 << 20), "larger than 1,048,576 bytes"),
}


@pytest.mark.faults(19)
@pytest.mark.parametrize("fault", FAULTS)
def test_a_bad_image_is_named_with_its_reason(place, fault):
    content, reason = FAULTS[fault]
    name = f"train/{WNIDS[3]}/images/{WNIDS[3]}_0.JPEG"
    forge.write(forge.tiny_folder(place), {name: content})
    with pytest.raises(DataError, match=f"{name}: .*{reason}"):
        data.add("tiny_imagenet", place)
    assert not (data_home() / "prepared").exists()


@pytest.mark.faults(19)
def test_missing_and_unknown_images_are_listed_up_to_ten(place):
    folder = forge.tiny_folder(place)
    (folder / "val/images/val_7.JPEG").unlink()
    image = forge.jpeg()
    forge.write(folder, {"val/images/stray.JPEG": image})
    forge.write(folder, {f"train/n0000000{i}/images/x.JPEG": image for i in range(9)})
    with pytest.raises(DataError) as error:
        data.add("tiny_imagenet", place)
    lines = str(error.value).splitlines()
    assert "has 11 images that cannot be used" in lines[0]
    assert len(lines) == 12
    assert "its class 'n00000000' is not one of Tiny-ImageNet's 200" in lines[1]
    assert "val/images/stray.JPEG: has no line in val/val_annotations.txt" in lines[10]
    assert "and 1 more" in lines[11]
    assert not (data_home() / "prepared").exists()


@pytest.mark.faults(19)
def test_a_missing_validation_image_is_named(place):
    (forge.tiny_folder(place) / "val/images/val_7.JPEG").unlink()
    with pytest.raises(DataError, match=r"val/images/val_7\.JPEG: missing"):
        data.add("tiny_imagenet", place)


@pytest.mark.faults(19)
def test_a_missing_class_is_named(place):
    (forge.tiny_folder(place) / f"train/{WNIDS[5]}/images/{WNIDS[5]}_0.JPEG").unlink()
    with pytest.raises(DataError, match="no training images of 1 of the 200 classes"):
        data.add("tiny_imagenet", place)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"test.bin": b""}, "has 0 bytes, not a multiple"),
        ({"test.bin": bytes(3073)}, "not a multiple of a record's 3,074"),
        ({"train.bin": bytes(3074 * 50_001)}, "more than the 50,000 records"),
        ({"train.bin": bytes([0, 100]) + bytes(3072)}, "has label 100; labels go from 0 to 99"),
        ({"train.bin": bytes(3074)}, "no training images of 99 of the 100"),
        ({"train.bin": forge.records("cifar100", 1) + bytes(3074 * 500)}, "501 training images"),
        ({"fine_label_names.txt": b"zebra\n"}, "does not list the 100 classes in their order"),
    ],
)
@pytest.mark.faults(19)
def test_a_wrong_cifar_file_is_refused(place, change, message):
    forge.write(forge.cifar_folder(place, "cifar100"), change)
    with pytest.raises(DataError, match=message):
        data.add("cifar100", place)
    assert not (data_home() / "prepared").exists()


def test_add_says_what_it_looked_for(place):
    with pytest.raises(DataError, match=r"does not exist"):
        data.add("cifar10", place / "nowhere")
    with pytest.raises(DataError, match=r"neither is nor has one of cifar-10-batches-bin, "):
        data.add("cifar10", place)
    (place / "notes.txt").write_bytes(b"hello")
    for name in REAL:
        with pytest.raises(DataError, match=r"notes\.txt"):
            data.add(name, place / "notes.txt")
    with pytest.raises(InputError, match="built in"):
        data.add("synthetic_cifar10", place)


def test_an_unknown_name_gets_the_nearest():
    for call in (data.load, data.available, lambda name: data.add(name, ".")):
        with pytest.raises(InputError, match="no data set 'cifar_10'; did you mean"):
            call("cifar_10")


def test_a_data_folder_that_is_a_file_is_refused(home, monkeypatch):
    (home / "file").write_bytes(b"")
    monkeypatch.setenv("LABKIT_DATA", str(home / "file"))
    with pytest.raises(DataError, match="is a file; set LABKIT_DATA to a folder"):
        data.load("cifar10")


@pytest.mark.faults(10)
def test_a_read_only_data_folder_is_explained(place, monkeypatch):
    forge.cifar_folder(place, "cifar10")

    def refuse(*_):
        raise OSError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr(prepared, "write_atomic", refuse)
    with pytest.raises(DataError, match=r"cannot write .*Read-only.*; set LABKIT_DATA"):
        data.add("cifar10", place)
    monkeypatch.setattr(download, "fetch", lambda *_, **__: refuse())
    with pytest.raises(DataError, match=r"cannot write .*; set LABKIT_DATA"):
        data.load("cifar100")


@contextlib.contextmanager
def an_ordinary_user():
    """Root may write everywhere, so it steps down for as long as this lasts."""
    root = os.geteuid() == 0
    if root:
        os.seteuid(65534)
    try:
        yield
    finally:
        if root:
            os.seteuid(0)


@pytest.mark.faults(10)
def test_a_prepared_read_only_folder_can_be_read(monkeypatch):
    with tempfile.TemporaryDirectory() as folder:  # pytest's own are closed to other users
        Path(folder).chmod(0o755)
        place = Path(folder, "downloads")
        place.mkdir()
        monkeypatch.setenv("LABKIT_DATA", str(Path(folder, "data")))
        forge.cifar_folder(place, "cifar10")
        data.add("cifar10", place)
        data.load("cifar10")  # imports what it needs while that can be read
        forge.cifar_folder(place, "cifar100")
        data_home().chmod(0o555)
        with an_ordinary_user():
            assert len(data.load("cifar10").test) == 10
            with pytest.raises(DataError, match=r"cannot write .*denied.*; set LABKIT_DATA"):
                data.add("cifar100", place)


def damage(path, how):
    content = bytearray(path.read_bytes())
    if how == "truncated":
        content = content[:-100]
    elif how == "header":
        content[:8] = b"\xff" * 8
    elif how == "labels":  # the first tensors of the file are the widest: int64 labels
        start = 8 + int.from_bytes(content[:8], "little")
        content[start] = 250
    elif how == "other set":
        content = content.replace(b'\\"name\\": \\"cifar10\\"', b'\\"name\\": \\"cifar1x\\"')
    elif how == "older":
        content = content.replace(b'\\"schema\\": 2', b'\\"schema\\": 1')
    elif how == "no source":
        content = content.replace(b'\\"source\\"', b'\\"sourxe\\"')
    elif how == "empty":
        content = b""
    path.write_bytes(content)


@pytest.mark.faults(12)
@pytest.mark.parametrize(
    "how", ["truncated", "header", "labels", "other set", "older", "no source", "empty"]
)
def test_a_damaged_prepared_file_is_refused(place, how):
    forge.cifar_folder(place, "cifar10")
    data.add("cifar10", place)
    damage(prepared.path_of("cifar10"), how)
    with pytest.raises(DataError, match=r"cifar10\.safetensors cannot be used: .*; delete it"):
        data.load("cifar10")


def test_verify_finds_a_flipped_bit_that_load_does_not(place):
    assert list(data.verify()) == [f"nothing is prepared in {data_home()}"]
    forge.cifar_folder(place, "cifar10")
    forge.cifar_folder(place, "cifar100")
    for name in ("cifar10", "cifar100"):
        data.add(name, place)
    assert [line.split(": ")[-1] for line in data.verify()] == ["ok", "ok"]
    path = prepared.path_of("cifar10")
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    data.load("cifar10")
    lines = data.verify()
    assert "cannot be used: its SHA-256 is" in next(lines)
    assert next(lines).endswith("ok")
    with pytest.raises(DataError, match=r"damaged: .*cifar10\.safetensors; delete it"):
        next(lines)


def test_listing_tells_the_state_of_every_set(place):
    forge.cifar_folder(place, "cifar10")
    data.add("cifar10", place)
    forge.cifar_folder(data_home(), "cifar100")
    rows = {row["name"]: row for row in data.listing()}
    assert list(rows) == list(data.DATASETS)
    states = [rows[name]["state"] for name in (*REAL, "synthetic_cifar10")]
    assert states == ["prepared", "local", "absent", "built in"]
    assert (rows["cifar10"]["train"], rows["cifar10"]["test"]) == (50, 10)
    prepared.path_of("cifar10").write_bytes(b"?")
    assert data.listing()[0]["state"] == "damaged"
    assert json.dumps(data.listing())


def test_the_card_is_json_and_says_how_many_images(place):
    forge.cifar_folder(place, "cifar100")
    card = data.add("cifar100", place).card()
    assert json.loads(json.dumps(card)) == card
    assert (card["train"], card["published_train"], card["complete"]) == (100, 50_000, False)
    assert card["classes"] == list(CIFAR100)


def test_the_digest_tells_copies_apart(place):
    forge.cifar_folder(place, "cifar10")
    first = data.add("cifar10", place)
    assert data.add("cifar10", place).sha256 == first.sha256
    path = place / FOLDERS["cifar10"] / "test_batch.bin"
    path.write_bytes(path.read_bytes()[:-1] + b"!")
    assert data.add("cifar10", place).sha256 != first.sha256


@pytest.mark.faults(39)
def test_nothing_depends_on_the_hash_seed(place):
    forge.tiny_folder(place)
    code = (
        "import sys; from labkit import data; print(data.add('tiny_imagenet', sys.argv[1]).sha256)"
    )
    child = subprocess.run(
        [sys.executable, "-c", code, str(place)],
        env={**os.environ, "PYTHONHASHSEED": "1"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert child.stdout.strip() == data.add("tiny_imagenet", place).sha256


def test_the_constants_are_the_published_ones():
    assert catalogue.CATALOGUE["cifar10"].size == 170_052_171
    assert cifar.BINARY["cifar-10-batches-bin"].record * 10_000 == 30_730_000
    assert len(CIFAR100) == 100
    assert list(CIFAR100) == sorted(CIFAR100)
    assert len(set(TINY_IMAGENET.values())) == len(TINY_IMAGENET) == 200
    assert list(TINY_IMAGENET) == sorted(TINY_IMAGENET)
    assert [len(members) for members in SUPERCLASSES.values()] == [5] * 20


def test_partitions_cover_every_class_once():
    sizes = {name: [len(g) for g in groups.values()] for name, groups in PARTITIONS.items()}
    assert sizes == {"three": [20, 49, 31], "four": [27, 29, 31, 13]}
    for groups in PARTITIONS.values():
        assert sorted(c for group in groups.values() for c in group) == list(CIFAR100)
    three, four = PARTITIONS["three"].values(), PARTITIONS["four"].values()
    assert list(three)[2] == list(four)[2]
    assert "worm" in PARTITIONS["four"]["small objects and small animals"]
    assert {"beaver", "beetle", "lizard"} <= set(PARTITIONS["four"]["land animals and people"])


class TestHoldout:
    images = data.load("synthetic_cifar100")

    def counts(self, split):
        return set(torch.bincount(split.labels, minlength=100).tolist())

    def rows(self, split):
        return {image.numpy().tobytes() for image in split.images}

    def test_splits_are_balanced_and_disjoint(self):
        train, validation = self.images.holdout(2000, 5000, seed=3)
        assert (self.counts(train), self.counts(validation)) == ({50}, {20})
        assert not self.rows(train) & self.rows(validation)

    def test_zero_keeps_all_the_rest(self):
        train, validation = self.images.holdout(2000, 0, seed=3)
        assert (len(train), len(validation)) == (8000, 2000)
        train, validation = self.images.holdout(0, 0, seed=3)
        assert (len(train), len(validation)) == (10_000, 0)
        assert validation.images.shape == (0, 3, 32, 32)

    def test_sizes_are_rounded_down_to_equal_classes(self):
        train, validation = self.images.holdout(299, 1999, seed=3)
        assert (len(train), len(validation)) == (1900, 200)

    def test_seeds_decide(self):
        first, again, other = (self.images.holdout(500, 1000, seed=s) for s in (1, 1, 2))
        assert torch.equal(first[0].images, again[0].images)
        assert torch.equal(first[1].labels, again[1].labels)
        assert self.rows(first[1]) != self.rows(other[1])

    def test_smaller_sets_lie_in_larger_ones(self):
        small, large = (self.rows(self.images.holdout(500, n, seed=1)[0]) for n in (1000, 4000))
        assert small < large

    def test_fewer_images_than_classes_are_one_of_each_of_some(self):
        few, more, all_of_them = (self.images.holdout(500, n, seed=1)[0] for n in (7, 30, 100))
        assert sorted(few.labels.bincount().tolist())[-7:] == [1] * 7
        assert [len(few), len(more), len(all_of_them)] == [7, 30, 100]
        assert self.rows(few) < self.rows(more) < self.rows(all_of_them)

    def test_random_state_is_left_alone(self):
        before = torch.get_rng_state()
        self.images.holdout(500, 1000, seed=1)
        assert torch.equal(torch.get_rng_state(), before)

    @pytest.mark.parametrize(
        ("validation", "train", "message"),
        [
            (50, 0, "less than one image for each of the 100 classes"),
            (99, 0, "validation is 99, less than one"),
            (5000, 6000, "has 100 training images of class .* need 110 of each class"),
            (10_000, 0, "need 101 of each"),
        ],
    )
    def test_too_much_is_refused(self, validation, train, message):
        with pytest.raises(InputError, match=message):
            self.images.holdout(validation, train, seed=0)


IN_THE_WAY = {
    "a link to nowhere": lambda path: path.symlink_to("nowhere"),
    "a pipe": os.mkfifo,
    "a folder": lambda path: path.mkdir(),
}


@pytest.mark.faults(46)
@pytest.mark.parametrize("kind", IN_THE_WAY.values(), ids=IN_THE_WAY)
def test_what_is_no_image_file_is_not_left_out(place, kind):
    folder = forge.tiny_folder(place / "tiny", 2)
    image = next((folder / "train").glob("*/images/*.JPEG"))
    image.unlink()
    kind(image)
    with pytest.raises(DataError, match=f"{image.name}' is not a plain file"):
        tiny_imagenet.read(folder, "tiny-imagenet-200")
