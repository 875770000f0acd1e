"""Batches: every image once, in the generator's order, normalised after augmentation."""

import pytest
import torch
from helpers import waiting_is_an_error

from labkit.data import augment
from labkit.data.augment import AUGMENTS, Augment, unit
from labkit.data.batches import CHUNK, batches
from labkit.data.dataset import Split
from labkit.errors import InputError

N = 53


def split(n=N, side=8):
    """Image i is grey i; its label is i."""
    images = torch.arange(n, dtype=torch.uint8).view(-1, 1, 1, 1).expand(n, 3, side, side)
    return Split(images.contiguous(), torch.arange(n))


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("drop_last", [True, False])
@pytest.mark.parametrize("batch", [1, 10, 53, 64])
@pytest.mark.parametrize("augment", ["none", "none+none", "none+none+none"])
def test_an_epoch_shows_every_image_once_a_pipeline(batch, drop_last, augment):
    epoch = list(
        batches(split(), batch, generator=generator(), drop_last=drop_last, augment=augment)
    )
    whole, rest = divmod(N * len(augment.split("+")), batch)
    assert len(epoch) == whole + bool(rest and not drop_last)
    sizes = [len(y) for _, y in epoch]
    assert all(size == batch for size in sizes[:-1])
    for x, y in epoch:
        assert torch.equal((x[:, 0, 0, 0] * 255).round().long(), y)
    labels = torch.cat([y for _, y in epoch]) if epoch else torch.zeros(0, dtype=torch.int64)
    counts = torch.bincount(labels, minlength=N)
    each = augment.count("+") + 1
    assert (counts == each).all() if not drop_last else (counts <= each).all()


def test_a_union_mixes_its_pipelines_in_a_batch(monkeypatch):
    monkeypatch.setitem(AUGMENTS, "dark", Augment(lambda images, _: -1 - images / 255))
    for x, y in batches(split(), 53, generator=generator(), augment="none+dark"):
        values = (x[:, 0, 0, 0] * 255).round().long()
        dark = values < 0
        assert 10 < dark.sum() < 43
        assert torch.equal(torch.where(dark, -255 - values, values), y)


def test_what_is_alike_in_every_epoch_is_done_once(monkeypatch):
    asked = []

    def invert(images):
        asked.append(len(images))
        return 255 - images

    def roll(images, generator):
        return images + torch.randint(1, 100, (1,), generator=generator)

    monkeypatch.setitem(AUGMENTS, "both", Augment(roll, fixed=invert))
    monkeypatch.setattr(augment, "AT_ONCE", 20)
    images, numbers = split(), generator()
    epochs = [list(batches(images, 53, generator=numbers, augment="both")) for _ in range(2)]
    assert asked == [20, 20, 13]
    shifts = [(x[:, 0, 0, 0] * 255).round().long() - (255 - y) for [(x, y)] in epochs]
    assert all(len(shift.unique()) == 1 for shift in shifts)
    assert shifts[0][0] != shifts[1][0]


@pytest.mark.parametrize("name", AUGMENTS)
def test_batches_are_augmented_as_by_hand(name):
    images = Split(
        torch.randint(0, 256, (12, 3, 16, 16), dtype=torch.uint8, generator=generator(7)),
        torch.arange(12),
    )
    for _ in range(2):
        [(x, y)] = batches(images, 12, generator=generator(1), augment=name)
        numbers = generator(1)
        order = torch.randperm(12, generator=numbers)
        assert torch.equal(x, unit(AUGMENTS[name](images.images[order], numbers)))
        assert torch.equal(y, order)


def test_the_order_comes_from_the_generator_alone():
    def order(seed, augment="none"):
        return [y.tolist() for _, y in batches(split(), 8, generator=generator(seed))]

    torch.manual_seed(1)
    first, before = order(0), torch.get_rng_state()
    torch.manual_seed(2)
    assert order(0) == first
    assert order(1) != first
    torch.manual_seed(1)
    assert torch.equal(torch.get_rng_state(), before)
    numbers = generator()
    epochs = [[y.tolist() for _, y in batches(split(), 8, generator=numbers)] for _ in range(2)]
    assert epochs[0] == first
    assert epochs[1] != first


def test_without_shuffling_the_order_is_the_splits_own():
    labels = torch.cat([y for _, y in batches(split(), 8, shuffle=False)])
    assert torch.equal(labels, torch.arange(N))


def test_pixels_are_augmented_scaled_then_normalised(monkeypatch):
    seen = []

    def watch(images, _):
        seen.append(images.clone())
        return images

    monkeypatch.setitem(AUGMENTS, "watch", Augment(watch))
    mean, std = (0.1, 0.2, 0.3), (0.5, 0.25, 0.125)
    (x, _), *_ = batches(split(), 4, generator=generator(), augment="watch", normalise=(mean, std))
    assert seen[0].dtype == torch.uint8
    for channel in range(3):
        expected = (seen[0][:, channel] / 255 - mean[channel]) / std[channel]
        assert torch.allclose(x[:, channel], expected, atol=1e-6)


def test_channels_lie_last():
    x, _ = next(batches(split(), 8, shuffle=False))
    assert x.is_contiguous(memory_format=torch.channels_last)


def test_an_empty_split_has_no_batches():
    assert list(batches(split(0), 8, shuffle=False)) == []
    assert list(batches(split(0), 8, generator=generator(), augment="set1+set2")) == []


def test_bad_arguments_are_sentences():
    with pytest.raises(InputError, match="pass generator="):
        next(batches(split(), 8))
    with pytest.raises(InputError, match="pass generator="):
        next(batches(split(), 8, shuffle=False, augment="flip"))
    with pytest.raises(InputError, match="batch is 0"):
        next(batches(split(), 0, shuffle=False))
    with pytest.raises(InputError, match="no augmentation "):
        next(batches(split(), 8, shuffle=False, augment="blurr"))


@pytest.mark.gpu
def test_on_a_gpu_only_a_union_waits_and_once():
    images = Split(
        torch.randint(0, 256, (5000, 3, 64, 64), dtype=torch.uint8, device="cuda"),
        torch.arange(5000, device="cuda"),
    )
    numbers = torch.Generator("cuda").manual_seed(0)
    normalise = ((0.5,) * 3, (0.25,) * 3)
    options = {"generator": numbers, "normalise": normalise}
    for name in ("crop_flip", "set1+set2"):
        count = len(list(batches(images, 64, augment=name, **options)))
        epoch = batches(images, 64, augment=name, **options)
        _, first = next(epoch)  # copies the constants, and reads the sizes of a union
        with waiting_is_an_error():
            rest = [y for _, y in epoch]
        assert len(rest) == count - 1
        shown = torch.bincount(torch.cat([first, *rest]))
        assert shown.tolist() == [len(name.split("+"))] * 5000


@pytest.mark.parametrize("drop_last", [True, False])
@pytest.mark.parametrize("name", ["none", "none+dark"])
def test_a_chunk_of_batches_is_cut_into_the_same_batches(name, drop_last, monkeypatch):
    """As on a GPU, where only what is drawn for an image differs from one batch at a time."""
    monkeypatch.setitem(AUGMENTS, "dark", Augment(lambda images, _: images // 2))

    def epoch():
        return list(
            batches(split(), 8, generator=generator(), drop_last=drop_last, augment=name,
                    normalise=((0.5,) * 3, (0.25,) * 3))
        )  # fmt: skip

    expected = epoch()
    for chunk in (24, 1000):
        monkeypatch.setitem(CHUNK, "cpu", chunk)
        chunked = epoch()
        assert len(chunked) == len(expected)
        for (x, y), (z, w) in zip(chunked, expected, strict=True):
            assert torch.equal(y, w)
            assert torch.equal(x, z)
            assert x.is_contiguous(memory_format=torch.channels_last)


def test_a_chunk_is_augmented_at_once(monkeypatch):
    asked = []
    monkeypatch.setitem(AUGMENTS, "watch", Augment(lambda x, _: asked.append(len(x)) or x))
    for chunk, sizes in ((1, [20, 20, 13]), (50, [40, 13])):
        monkeypatch.setitem(CHUNK, "cpu", chunk)
        asked.clear()
        assert len(list(batches(split(), 20, generator=generator(), augment="watch"))) == 3
        assert asked == sizes
