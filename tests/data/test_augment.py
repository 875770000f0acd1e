"""Augmentations against their references: torchvision's pipelines, or the rule in plain numpy."""

import numpy as np
import pytest
import torch
from helpers import waiting_is_an_error
from torchvision.transforms import InterpolationMode, v2
from torchvision.transforms import functional as V

from labkit.data import augment
from labkit.data.augment import AUGMENTS, pipelines
from labkit.errors import InputError

MANY = 1000


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def picture(side=32, seed=0):
    """One smooth, asymmetric image in 1/255 steps, float [3, side, side]."""
    rough = torch.rand(1, 3, 5, 5, generator=generator(seed))
    smooth = torch.nn.functional.interpolate(rough, (side, side), mode="bicubic")[0]
    return (smooth.clamp(0, 1) * 255).round() / 255


def bytes_of(image):
    return (image * 255).round().to(torch.uint8)


def copies(image, many=MANY):
    return image.expand(many, *image.shape).clone()


def torchvision(transform, image, many=MANY):
    """`many` draws of a torchvision pipeline on one 8-bit image, back in [0, 1]."""
    torch.manual_seed(0)
    return torch.stack([transform(bytes_of(image)) for _ in range(many)]).float() / 255


def same_distribution(ours, theirs, *, mean=0.02, spread=0.02):
    """Per pixel mean and standard deviation over the draws, and the quantiles of image features.

    1000 draws leave a standard error below 0.01 in each pixel's mean; torchvision rounds to 8
    bits between its steps and we do not.
    """
    assert (ours.mean(0) - theirs.mean(0)).abs().mean() < mean
    assert (ours.std(0) - theirs.std(0)).abs().mean() < spread
    levels = torch.tensor([0.05, 0.25, 0.75, 0.95])  # a mirrored feature has two humps, no middle
    ramp = torch.linspace(-1, 1, ours.shape[-1])
    for feature in (
        lambda x: x.mean((1, 2, 3)),
        lambda x: (x * ramp).mean((1, 2, 3)),
        lambda x: (x * ramp.view(-1, 1)).mean((1, 2, 3)),
        lambda x: x.diff(dim=3).square().mean((1, 2, 3)).sqrt(),
    ):
        a, b = feature(ours), feature(theirs)
        width = torch.cat([a, b]).std() + 2e-3
        assert ((a.quantile(levels) - b.quantile(levels)).abs() / width).max() < 0.35


REFERENCES = {
    "flip": (v2.RandomHorizontalFlip(), 32),
    "crop_flip": (v2.Compose([v2.RandomCrop(32, padding=4), v2.RandomHorizontalFlip()]), 32),
    "set1": (v2.Compose([v2.RandomHorizontalFlip(), v2.CenterCrop(56), v2.Resize(64)]), 64),
    "set2": (
        v2.Compose(
            [
                v2.RandomRotation(10),
                v2.RandomHorizontalFlip(0.5),
                v2.RandomVerticalFlip(0.5),
                v2.GaussianBlur(5, sigma=(0.1, 2.0)),
            ]
        ),
        64,
    ),
}


@pytest.mark.parametrize("name", REFERENCES)
def test_distribution_is_torchvisions(name):
    transform, side = REFERENCES[name]
    image = picture(side)
    theirs = torchvision(transform, image)
    same_distribution(AUGMENTS[name](copies(image), generator()), theirs)
    same_distribution(augment.unit(AUGMENTS[name](copies(bytes_of(image)), generator())), theirs)


def test_the_comparison_can_tell_another_pipeline():
    image = picture()
    other = v2.Compose([v2.RandomCrop(32, padding=3), v2.RandomHorizontalFlip()])
    ours = AUGMENTS["crop_flip"](copies(image), generator())
    with pytest.raises(AssertionError):
        same_distribution(ours, torchvision(other, image))


@pytest.mark.parametrize("name", AUGMENTS)
class TestEvery:
    def images(self, side=32, many=8):
        return torch.rand(many, 3, side, side, generator=generator(5))

    def test_shape_type_and_range_stay(self, name):
        for side, many in ((32, 8), (64, 3), (32, 1)):
            images = self.images(side, many)
            out = AUGMENTS[name](images, generator())
            assert (out.shape, out.dtype) == (images.shape, images.dtype)
            assert -1e-5 <= out.min() <= out.max() <= 1 + 1e-5

    def test_bytes_give_what_their_floats_give(self, name):
        bytes_ = bytes_of(self.images(64))
        ours = augment.unit(AUGMENTS[name](bytes_, generator()))
        theirs = AUGMENTS[name](augment.unit(bytes_), generator())
        rounding = 1.01 / 255 if name == "set1" else 0  # half a grey level along rows and columns
        assert (ours - theirs).abs().max() <= rounding

    def test_only_the_generator_decides(self, name):
        images, before = self.images(), torch.get_rng_state()
        first = AUGMENTS[name](images, generator(1))
        torch.manual_seed(99)
        assert torch.equal(AUGMENTS[name](images, generator(1)), first)
        torch.set_rng_state(before)
        AUGMENTS[name](images, generator(2))
        assert torch.equal(torch.get_rng_state(), before)

    def test_input_is_not_changed(self, name):
        images = self.images()
        kept = images.clone()
        AUGMENTS[name](images, generator())
        assert torch.equal(images, kept)

    def test_every_image_has_its_own_draw(self, name):
        out = AUGMENTS[name](copies(picture(), 64), generator())
        different = len({image.numpy().tobytes() for image in out})
        assert different >= {"none": 1, "flip": 2, "set1": 2}.get(name, 20)

    def test_memory_format_does_not_matter(self, name):
        images = self.images()
        last = images.contiguous(memory_format=torch.channels_last)
        ours, theirs = (AUGMENTS[name](x, generator(3)) for x in (images, last))
        assert torch.allclose(ours, theirs, atol=1e-6)


def test_flips_are_exact_and_happen_half_the_time():
    image = picture()
    out = AUGMENTS["flip"](copies(image), generator())
    flipped = (out == image.flip(2)).flatten(1).all(1)
    assert ((out == image).flatten(1).all(1) | flipped).all()
    assert 440 < flipped.sum() < 560


def test_crops_are_windows_of_the_padded_image_and_all_occur():
    image = picture()
    padded = torch.nn.functional.pad(image, (4, 4, 4, 4))
    windows = [padded[:, y : y + 32, x : x + 32] for y in range(9) for x in range(9)]
    keys = {w.contiguous().numpy().tobytes() for w in windows + [w.flip(2) for w in windows]}
    out = AUGMENTS["crop_flip"](copies(image, 3000), generator())
    found = {window.numpy().tobytes() for window in out}
    assert found <= keys
    assert len(found) == len(keys) == 162


@pytest.mark.parametrize("degrees", [-10.0, -3.3, 7.0])
def test_rotation_is_torchvisions(monkeypatch, degrees):
    """The same angle gives the same image: nearest pixel and black fill, up to ties."""
    image = picture(64)
    ours = rotated(monkeypatch, image, degrees, 10.0, mode="nearest", padding="zeros")
    theirs = V.rotate(image, degrees, InterpolationMode.NEAREST, fill=[0.0])
    assert ((ours - theirs).abs() > 1e-6).float().mean() < 0.005


@pytest.mark.parametrize("degrees", [-20.0, -3.3, 14.0])
def test_rotation_repeats_the_edge_as_keras_does(monkeypatch, degrees):
    """Against the rule written plainly: bilinear about the centre, coordinates clamped."""
    image = picture(32)
    ours = rotated(monkeypatch, image, degrees, 20.0, mode="bilinear", padding="border")
    angle, centre = np.deg2rad(degrees), 15.5
    y, x = np.mgrid[:32, :32] - centre
    source_x = np.cos(angle) * x - np.sin(angle) * y + centre
    source_y = np.sin(angle) * x + np.cos(angle) * y + centre
    assert np.abs(ours.numpy() - bilinear(image.numpy(), source_y, source_x)).max() < 1e-4


def rotated(monkeypatch, image, degrees, limit, *, mode, padding):
    share = (degrees / limit + 1) / 2
    monkeypatch.setattr(torch, "rand", lambda shape, **_: torch.full(tuple(shape), share))
    return augment._rotate(image[None], limit, generator(), mode=mode, padding=padding)[0]


def bilinear(image, y, x):
    """image [3, H, W] at the places y, x [H, W]; outside, the nearest edge pixel."""
    side = image.shape[1]
    y, x = np.clip(y, 0, side - 1), np.clip(x, 0, side - 1)
    top, left = np.floor(y).astype(int), np.floor(x).astype(int)
    below, right = np.minimum(top + 1, side - 1), np.minimum(left + 1, side - 1)
    v, u = y - top, x - left
    upper = image[:, top, left] * (1 - u) + image[:, top, right] * u
    lower = image[:, below, left] * (1 - u) + image[:, below, right] * u
    return upper * (1 - v) + lower * v


def keras_draws(image, rng, *, rotation=0.0, shift=0.0, many=MANY):
    """ImageDataGenerator's random transform and flip on one image, in plain numpy."""
    side = image.shape[1]
    centre = (side - 1) / 2
    out = []
    for _ in range(many):
        angle = np.deg2rad(rng.uniform(-rotation, rotation))
        down, right = rng.uniform(-shift, shift, 2) * side
        y, x = np.mgrid[:side, :side] - centre
        y, x = y + down, x + right
        source_y = np.sin(angle) * x + np.cos(angle) * y + centre
        source_x = np.cos(angle) * x - np.sin(angle) * y + centre
        drawn = bilinear(image, source_y, source_x)
        out.append(drawn[:, :, ::-1] if rng.random() < 0.5 else drawn)
    return torch.from_numpy(np.stack(out)).float()


@pytest.mark.parametrize(
    ("name", "ranges"), [("rotate20_flip", {"rotation": 20.0}), ("flip_shift", {"shift": 0.1})]
)
def test_distribution_is_keras(name, ranges):
    image = picture()
    theirs = keras_draws(image.numpy(), np.random.default_rng(0), **ranges)
    same_distribution(AUGMENTS[name](copies(image), generator()), theirs)


def test_shifts_reach_a_tenth_of_the_side_and_no_further():
    ramp = torch.linspace(0, 1, 32).expand(3, 32, 32)
    out = AUGMENTS["flip_shift"](copies(ramp, 4000), generator())
    rising = out[:, 0, 16, 20] > out[:, 0, 16, 12]
    moved = (out[rising, 0, 16, 16] - ramp[0, 16, 16]) * 31
    assert 3.1 < moved.max() < 3.2001
    assert -3.2001 < moved.min() < -3.1


@pytest.mark.parametrize("sigma", [0.1, 0.5, 2.0])
def test_blur_is_torchvisions(monkeypatch, sigma):
    image = picture(64)
    monkeypatch.setattr(
        torch, "rand", lambda shape, **_: torch.full(tuple(shape), (sigma - 0.1) / 1.9)
    )
    ours = augment._blur(copies(image, 2), generator())[1]
    assert torch.allclose(ours, V.gaussian_blur(image, 5, [sigma, sigma]), atol=1e-5)


def test_set1_enlarges_as_torchvision_does():
    image = picture(64)
    out = AUGMENTS["set1"](image[None], generator(0))[0]
    reference = V.resize(V.center_crop(image, [56, 56]), [64, 64], antialias=True)
    assert min((out - r).abs().max() for r in (reference, reference.flip(2))) < 1e-5


def test_set1_gives_the_grey_levels_of_pillow(monkeypatch):
    images = torch.randint(0, 256, (16, 3, 64, 64), dtype=torch.uint8, generator=generator(1))
    pillow = [V.center_crop(V.to_pil_image(image), [56, 56]) for image in images]
    pillow = torch.stack([V.pil_to_tensor(V.resize(image, [64, 64])) for image in pillow])
    ours = AUGMENTS["set1"](images, generator(0))
    mirrored = ((ours == pillow.flip(3)).flatten(1).all(1)).view(-1, 1, 1, 1)
    assert 2 < mirrored.sum() < 14
    assert torch.equal(ours, torch.where(mirrored, pillow.flip(3), pillow))
    monkeypatch.setattr(augment, "_resizes_bytes", lambda device: False)  # as on a GPU
    assert torch.equal(AUGMENTS["set1"](images, generator(0)), ours)


def plain_cutout(side, rng, many):
    """The eraser of report 004 as its rule is written: (height, width, top, left) or None."""
    boxes = []
    for _ in range(many):
        if rng.random() >= 0.5:
            boxes.append(None)
            continue
        while True:
            area, aspect = rng.uniform(0.02, 0.4) * side * side, rng.uniform(0.3, 1 / 0.3)
            width, height = int(np.sqrt(area / aspect)), int(np.sqrt(area * aspect))
            left, top = rng.integers(0, side, 2)
            if left + width <= side and top + height <= side:
                break
        boxes.append((height, width, int(top), int(left)))
    return boxes


def boxes_of(images):
    """Where images that were -1 everywhere have been painted, as `plain_cutout` gives it."""
    boxes = []
    for image in images:
        painted = image[0] >= 0
        if not painted.any():
            boxes.append(None)
            continue
        rows, columns = painted.any(1).nonzero()[:, 0], painted.any(0).nonzero()[:, 0]
        height, width = len(rows), len(columns)
        assert painted.sum() == height * width, "the box is not a rectangle"
        assert image[:, painted].unique().numel() == 1, "the box has more than one grey"
        boxes.append((height, width, int(rows[0]), int(columns[0])))
    return boxes


@pytest.mark.parametrize("side", [32, 64])
def test_cutout_follows_its_rule(side):
    many = 1500
    out = augment.cutout(torch.full((many, 3, side, side), -1.0), generator())
    ours, theirs = boxes_of(out), plain_cutout(side, np.random.default_rng(0), many)
    assert abs(ours.count(None) - many / 2) < 80  # four standard deviations
    a, b = (np.array([box for box in boxes if box]) / side for boxes in (ours, theirs))
    levels = [0.05, 0.25, 0.5, 0.75, 0.95]
    for feature in (
        lambda box: box[:, 0] * box[:, 1],  # area
        lambda box: box[:, 0] / box[:, 1],  # aspect
        *(lambda box, i=i: box[:, i] for i in range(4)),
    ):
        gap = np.quantile(feature(a), levels) - np.quantile(feature(b), levels)
        assert np.abs(gap / feature(b).std()).max() < 0.3
    greys = out.flatten(1).max(1).values
    greys = greys[greys >= 0]
    assert abs(greys.mean() - 0.5) < 0.05
    assert abs(greys.std() - 12**-0.5) < 0.03


def test_cutout_that_never_fits_keeps_the_image(monkeypatch):
    monkeypatch.setattr(augment, "CANDIDATES", 1)
    out = augment.cutout(torch.full((2000, 3, 32, 32), -1.0), generator())
    painted = (out >= 0).flatten(1).any(1).float().mean()
    assert 0.12 < painted < 0.2  # 0.5 times the 0.32 of candidates that fit


class Cutout(torch.nn.Module):
    """The paper's square as its authors write it, on one 8-bit image."""

    def __init__(self, side):
        super().__init__()
        self.side = side

    def forward(self, image):
        image = image.clone()
        y, x = (int(torch.randint(length, (1,))) for length in image.shape[1:])
        rows = slice(max(0, y - self.side // 2), y + self.side // 2)
        columns = slice(max(0, x - self.side // 2), x + self.side // 2)
        image[:, rows, columns] = 128
        return image


@pytest.mark.parametrize("side", [8, 16])
def test_square_cutout_follows_its_rule(side):
    image = picture()
    steps = [v2.RandomCrop(32, padding=4), v2.RandomHorizontalFlip(), Cutout(side)]
    theirs = torchvision(v2.Compose(steps), image)
    ours = AUGMENTS[f"crop_flip_cutout{side}"](copies(image), generator())
    same_distribution(ours, theirs)
    with pytest.raises(AssertionError):
        same_distribution(AUGMENTS["crop_flip"](copies(image), generator()), theirs)


@pytest.mark.parametrize("side", [8, 16])
def test_square_cutout_has_every_centre_and_may_stick_out(side):
    out = AUGMENTS[f"crop_flip_cutout{side}"](torch.full((4000, 3, 32, 32), -1.0), generator())
    squares = set(boxes_of(torch.where(out == 0.5, out, torch.tensor(-1.0))))
    half = side // 2
    spans = [(max(0, c - half), min(32, c + half)) for c in range(32)]
    every = {(b - a, d - c, a, c) for a, b in spans for c, d in spans}
    assert squares <= every
    assert len(squares) > 0.95 * len(every)


def test_flip_shift_cutout_is_one_after_the_other():
    images = copies(picture(), 32)
    numbers = generator(4)
    apart = augment.cutout(AUGMENTS["flip_shift"](images, numbers), numbers)
    assert torch.equal(AUGMENTS["flip_shift_cutout"](images, generator(4)), apart)


def test_passes():
    assert pipelines("set1+set2") == [AUGMENTS["set1"], AUGMENTS["set2"]]
    assert pipelines("none") == [AUGMENTS["none"]]
    with pytest.raises(InputError, match="no augmentation 'fliip'; did you mean flip"):
        pipelines("set1+fliip")


@pytest.mark.gpu
@pytest.mark.parametrize("name", AUGMENTS)
def test_nothing_waits_for_the_device(name):
    images = torch.randint(0, 256, (64, 3, 64, 64), dtype=torch.uint8, device="cuda")
    numbers = torch.Generator("cuda").manual_seed(0)
    AUGMENTS[name](images, numbers)
    with waiting_is_an_error():
        out = AUGMENTS[name](images, numbers)
    assert out.device == images.device


@pytest.mark.gpu
def test_a_gpu_enlarges_to_the_same_grey_levels():
    images = torch.randint(0, 256, (64, 3, 56, 56), dtype=torch.uint8)
    ours = augment._enlarge(images.cuda(), (64, 64)).cpu()
    assert torch.equal(ours, augment._enlarge(images, (64, 64)))
