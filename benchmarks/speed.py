"""How fast labkit trains: against a student's loop, the bare network, and Keras.

Each network is timed several ways in turn, several rounds over, and the medians are compared, so
that a machine that slows down slows them all:

- `student`: a DataLoader with two workers, PIL transforms, fp32, a loss read every step; in a
  process of its own, where nothing that labkit sets for the whole process can help it;
- `labkit`: `labkit.train.loop.optimise`, as every record is made;
- `bare`: one fixed batch through the same update, with no data behind it. Nothing can be faster;
  on a CPU in fp32 and in bf16, of which labkit is held to the faster;
- `eager`, on a GPU: `bare` without the CUDA graph;
- `deterministic`, on a GPU: `bare` with kernels that repeat their bits;
- `compiled`, on a GPU with --compiled: `bare` with a network of torch.compile in the CUDA graph;
- `keras`, where a Python with TensorFlow is given: Keras's own `fit` on report 002's two networks.
"""

from __future__ import annotations

import argparse
import contextlib
import functools
import json
import multiprocessing
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, Dataset
from torchvision import transforms

from labkit import files, models, records
from labkit.cli import number
from labkit.data import Split
from labkit.errors import OK, InputError, unknown
from labkit.recipe import Recipe
from labkit.train import loop
from labkit.train.choice import fastest
from labkit.train.device import (
    device_card,
    own_randomness,
    pick_device,
    reuse_memory,
    thread_count,
    use_bf16,
)
from labkit.train.evaluate import IMAGENET, Numerics
from labkit.train.folder import RunFolder

# labkit's speed over theirs; Keras's depends on the network
TARGETS = {"student": 3.0, "bare": 0.95}
BARE = ("fp32", "bf16")
KERAS = {"mnist_net": 1.3, "mbn": 3.0}
RATES = {("resnet18_cifar", 512): 55_000, ("residual_attention", 64): 50_000}  # on one H200
BENCHMARKS = Path(__file__).parent
RESULTS = BENCHMARKS / "results"
DESCRIPTION = """Time training against a student's loop, Keras, and the bare network. With --rows it
says how long each row of the reports takes (labkit bench --rows --help)."""


@dataclass(frozen=True)
class Case:
    """One network as its report trains it; `images` make one timed round on two CPU cores.

    A GPU gets GPU_SHARE times as many: it is done with the others before its clock is warm.
    """

    model: str
    batch: int
    images: int
    augment: str
    transform: tuple[Callable, ...]  # the same augmentation as torchvision writes it
    optimizer: str = "sgd"
    lr: float = 0.01
    size: int = 32
    classes: int = 100

    @property
    def recipe(self) -> Recipe:
        # two epochs: the first warms up, the second is timed
        return Recipe(
            dataset="random", model=self.model, epochs=2, batch=self.batch, lr=self.lr,
            optimizer=self.optimizer, augment=self.augment, drop_last=True,
        )  # fmt: skip


CROP = (transforms.RandomCrop(32, padding=4), transforms.RandomHorizontalFlip())
TURN = (transforms.RandomRotation(20), transforms.RandomHorizontalFlip())
SHIFT = (
    transforms.RandomHorizontalFlip(),
    transforms.RandomAffine(0, translate=(0.1, 0.1)),
    transforms.ToTensor(),
    transforms.RandomErasing(),
)
ZOOM = (transforms.RandomHorizontalFlip(), transforms.CenterCrop(56), transforms.Resize(64))
CASES = (
    Case("mnist_net", 256, 10240, "none", (), "adam", 1e-3),
    Case("mbn", 64, 192, "rotate20_flip", TURN, "rmsprop", 1e-4),
    Case("resnet18_cifar", 128, 384, "crop_flip", CROP),
    Case("residual_attention", 64, 1024, "flip_shift_cutout", SHIFT, "adam", 1e-3, classes=10),
    Case("wrn16_4", 64, 640, "crop_flip", CROP),
    Case("m1", 256, 16384, "set1", ZOOM, "radam", 1e-3, size=64, classes=200),
)
GPU_CASES = (Case("resnet18_cifar", 512, 1024, "crop_flip", CROP),)
GPU_SHARE = 32


def main(argv: Sequence[str] | None = None) -> int:
    """`labkit bench`, or `python benchmarks/speed.py`; returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="labkit bench", description=DESCRIPTION, allow_abbrev=False
    )
    parser.add_argument("names", nargs="*", help="networks of the comparison (default: all)")
    parser.add_argument("--rounds", type=number(1, 1000), default=3,
                        help="medians over so many rounds (3)")  # fmt: skip
    parser.add_argument("--device", default="auto", help="auto, cpu or cuda")
    parser.add_argument("--scale", type=number(1e-4, 1000, float), default=1.0,
                        help="images a round, as a share of usual (1)")  # fmt: skip
    parser.add_argument("--keras", metavar="PYTHON",
                        help="a Python with TensorFlow, to compare with")  # fmt: skip
    parser.add_argument("--compiled", action="store_true",
                        help="torch.compile too, on a GPU: minutes a network")  # fmt: skip
    arguments = parser.parse_args(argv)
    models = [case.model for case in (*CASES, *GPU_CASES)]
    for name in arguments.names:
        if name not in models:
            raise InputError(unknown("benchmark", name, dict.fromkeys(models)))
    bench(**vars(arguments))
    return OK


def bench(
    names: list[str] | None = None,
    *,
    rounds: int = 3,
    device: str = "auto",
    scale: float = 1.0,
    keras: str | None = None,
    compiled: bool = False,
) -> dict[str, Any]:
    """Time every case, print a line each, write the results; images per second throughout.

    Some of the cases, or other numbers of images, replace no written results. Where there are none
    yet, a run that is cut short leaves the cases that it has timed.

    `keras` is a Python that has TensorFlow; without one that comparison is left out, and said so.

    Raises:
        InputError: that Python cannot run Keras, or `compiled` is asked for without a GPU.
    """
    target = pick_device(device)
    if compiled and target.type != "cuda":
        raise InputError("--compiled is timed on a GPU only; leave it out, or use device=cuda")
    card = machine(target)
    peak = max(_multiplying(target, kind) for kind in (torch.float32, torch.bfloat16))
    print(f"{card['name']}, {card['threads']} threads, {card['precision']}; images per second")
    if not keras:
        print("not compared with Keras: give a Python with TensorFlow, --keras PYTHON")
    lines: list[dict[str, Any]] = []
    results = {"device": card, "versions": records.versions(), "created": records.now(),
               "rounds": rounds, "peak_flops": peak, "cases": lines}  # fmt: skip
    whole = not names and scale == 1
    first = whole and not _path(target.type).exists()
    for case in (*CASES, *(GPU_CASES if target.type == "cuda" else ())):
        if names and case.model not in names:
            continue
        few = _count(case, scale)
        many = GPU_SHARE * few if target.type == "cuda" else few
        split = random_images(many, case.size, case.classes, target)
        choice = choice_of(case.recipe, (3, case.size, case.size), case.classes, target)
        ways = {"labkit": functools.partial(_labkit, choice=choice)}
        if target.type == "cpu":
            ways |= {f"bare {name}": functools.partial(_bare, precision=name) for name in BARE}
        else:
            ways |= {"bare": _bare, "eager": _eager, "deterministic": _deterministic}
            ways |= {"compiled": _compiled} if compiled else {}
        with contextlib.ExitStack() as stack:
            ways["student"] = stack.enter_context(_student(card["threads"], few))
            if keras and case.model in KERAS:
                ways["keras"] = stack.enter_context(_keras(keras, case, few, card["threads"]))
            speeds: dict[str, list[float]] = {way: [] for way in ways}
            for _ in range(rounds):
                for way, run in ways.items():
                    with own_randomness(target, deterministic=False):  # as in every training
                        speeds[way].append(run(case, split, target))
        lines.append(_line(case, speeds, peak, target) | {"choice": choice})
        print(*_told(lines[-1]), sep="\n", flush=True)
        if first:
            write(results, target.type)
    if whole:
        write(results, target.type)
    else:
        print("not written: the results are of all cases at their usual size")
    return results


def _multiplying(device: torch.device, kind: torch.dtype) -> float:
    """Operations a second in one large matrix product, the best of a few."""
    n = 8192 if device.type == "cuda" else 1536  # more than caches hold
    numbers = torch.Generator(device).manual_seed(0)  # of ones a GPU multiplies more a second
    a, times = torch.randn(n, n, generator=numbers, device=device).to(kind), []
    for _ in range(6):
        started = time.perf_counter()
        a @ a
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        times.append(time.perf_counter() - started)
    return 2 * n**3 / min(times)


def write(results: dict[str, Any], name: str) -> None:
    """Keep results under this name in benchmarks/results."""
    RESULTS.mkdir(parents=True, exist_ok=True)
    path = _path(name)
    files.write_atomic(path, json.dumps(results, indent=1) + "\n")
    print(f"written to {path}")


def _path(name: str) -> Path:
    return RESULTS / f"{name}.json"


def _line(
    case: Case, speeds: dict[str, list[float]], peak: float, device: torch.device
) -> dict[str, Any]:
    """What is kept of one case: every round, the medians, the ratios with their targets."""
    median = {way: statistics.median(values) for way, values in speeds.items()}
    median.setdefault("bare", max(v for way, v in median.items() if way.startswith("bare")))
    targets = TARGETS | ({"keras": KERAS[case.model]} if "keras" in median else {})
    ratios = {way: median["labkit"] / median[way] for way in median if way != "labkit"}
    rate = RATES.get((case.model, case.batch))
    if rate and device.type == "cuda":
        ratios[f"{rate:,} a second"], targets[f"{rate:,} a second"] = median["labkit"] / rate, 1.0
    flops = 6 * _multiply_adds(case) * median["labkit"]
    return {
        "model": case.model,
        "batch": case.batch,
        "size": case.size,
        "speeds": speeds,
        "median": median,
        "ratios": ratios,
        "targets": targets,
        "flops": flops,
        "share_of_peak": flops / peak,
    }


def _told(line: dict[str, Any]) -> Iterator[str]:
    """A case in words: one line for each comparison, with its target."""
    median = line["median"]
    yield (
        f"{line['model']}, batch {line['batch']}: labkit {median['labkit']:,.0f},"
        f" {line['flops'] / 1e12:.3f} TFLOP/s, {100 * line['share_of_peak']:.0f} % of a large"
        " matrix product's"
    )
    for way, ratio in line["ratios"].items():
        target = line["targets"].get(way)
        verdict = "" if target is None else (
            f"  target {target:.2f}: {'met' if ratio >= target else 'MISSED'}"
        )  # fmt: skip
        speed = f"{median[way]:>9,.0f}" if way in median else ""
        yield f"  {ratio:6.2f} x {way:<8} {speed}{verdict}"


def _multiply_adds(case: Case) -> int:
    with torch.device("meta"):
        net = models.build(case.model, classes=case.classes, size=case.size)
    return models.summary(net, (3, case.size, case.size)).multiply_adds


@contextlib.contextmanager
def _student(threads: int, images: int) -> Iterator[Callable[..., float]]:
    """Another Python that runs the student's loop on so many images whenever it is called.

    It makes its own images: the thread that would send tensors to it would start a second team of
    OpenMP threads here, and with more threads than cores OpenMP no longer waits without sleep.
    """
    fresh = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, fresh, torch.set_num_threads, (threads,)) as pool:
        yield lambda case, _, device: pool.submit(_students_loop, case, images, device).result()


@contextlib.contextmanager
def _keras(python: str, case: Case, images: int, threads: int) -> Iterator[Callable[..., float]]:
    """Another Python that trains one of Keras's networks for an epoch whenever it is called."""
    script = str(BENCHMARKS / "keras_fit.py")
    words = [python, script, case.model, str(case.batch), str(images), str(threads)]
    pipe = subprocess.PIPE
    with tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace") as log:
        try:
            started = subprocess.Popen(words, stdin=pipe, stdout=pipe, stderr=log, text=True)
        except OSError as error:
            raise InputError(f"cannot run {python}: {error.strerror}") from error
        with started as process:

            def answer() -> str:
                line = process.stdout.readline().strip()
                if not line:
                    log.seek(0)
                    said = log.read().strip().splitlines() or ["it ended without a word"]
                    raise InputError(f"Keras does not run: {said[-1]}")
                return line

            def epoch(*_: object) -> float:
                process.stdin.write("\n")
                process.stdin.flush()
                return float(answer())

            answer()  # it is ready
            yield epoch


def _count(case: Case, scale: float) -> int:
    """Images of one round on a CPU: whole batches."""
    return max(1, round(case.images * scale / case.batch)) * case.batch


def random_images(count: int, size: int, classes: int, device: torch.device) -> Split:
    """So many square images and labels without a meaning, on the device."""
    draw = functools.partial(
        torch.randint, generator=torch.Generator(device).manual_seed(0), device=device
    )
    images = draw(0, 256, (count, 3, size, size), dtype=torch.uint8)
    return Split(images, draw(0, classes, (count,)))


def machine(device: torch.device) -> dict[str, Any]:
    """The device card of the results; on a CPU each network has a precision of its own."""
    card = device_card(device, use_bf16("auto", device))
    return card | ({"precision": "fp32 or bf16"} if device.type == "cpu" else {})


def choice_of(
    recipe: Recipe, shape: tuple[int, int, int], classes: int, device: torch.device
) -> dict[str, Any]:
    """In which precision and on how many threads labkit trains the recipe's network here."""
    if device.type == "cpu":
        return fastest(recipe, shape, classes)
    precision = "bf16" if use_bf16("auto", device) else "fp32"
    return {"precision": precision, "threads": 0, "rates": {}}


def _labkit(case: Case, split: Split, device: torch.device, choice: Mapping[str, Any]) -> float:
    return images_per_second(case.recipe, split, case.classes, choice)


def images_per_second(
    recipe: Recipe, split: Split, classes: int, choice: Mapping[str, Any]
) -> float:
    """How fast labkit trains a new network by a recipe: the rate of its last epoch."""
    reuse_memory()
    device = split.images.device
    net = loop.build(recipe, classes, split.images.shape[-1])
    net.to(device, memory_format=torch.channels_last)
    numerics = Numerics(IMAGENET, choice["precision"] == "bf16")
    with tempfile.TemporaryDirectory() as folder, thread_count(choice["threads"]):
        history = loop.optimise(
            net, recipe, split, numerics=numerics,
            folder=RunFolder(Path(folder), every=1e9), label=recipe.model,
        )  # fmt: skip
    return history[-1]["images"] / history[-1]["train_seconds"]


def _bare(case: Case, split: Split, device: torch.device, precision: str = "auto") -> float:
    net, optimizer = _made(case, device)
    with loop.make_update(net, optimizer, case.recipe, use_bf16(precision, device)) as update:
        return _fixed_batch(case, split, device, update)


def _deterministic(case: Case, split: Split, device: torch.device) -> float:
    with own_randomness(device, deterministic=True):
        return _bare(case, split, device)


def _compiled(case: Case, split: Split, device: torch.device) -> float:
    torch.compiler.reset()  # after a few networks it would leave the next ones as they are
    net, optimizer = _made(case, device)
    net.compile(dynamic=False)
    bf16 = use_bf16("auto", device)
    with loop.make_update(net, optimizer, case.recipe, bf16) as update:
        return _fixed_batch(case, split, device, update)


def _eager(case: Case, split: Split, device: torch.device) -> float:
    net, optimizer = _made(case, device)

    def update(x: Tensor, y: Tensor, lr: float) -> Tensor:
        return loop.train_step(net, optimizer, x, y, lr, 0.0, use_bf16("auto", device))

    return _fixed_batch(case, split, device, update)


def _fixed_batch(case: Case, split: Split, device: torch.device, update: Callable) -> float:
    reuse_memory()
    x = split.images[: case.batch].float().div(255).contiguous(memory_format=torch.channels_last)
    y = split.labels[: case.batch]

    def epoch() -> None:
        for _ in range(len(split) // case.batch):
            update(x, y, case.lr)

    return len(split) / _seconds(epoch, device)


class _Pictures(Dataset):
    def __init__(self, split: Split, transform: Callable) -> None:
        self.images = split.images.permute(0, 2, 3, 1).cpu().numpy()
        self.labels, self.transform = split.labels.tolist(), transform

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int):
        picture = transforms.functional.to_pil_image(self.images[index])
        return self.transform(picture), self.labels[index]


def _students_loop(case: Case, images: int, device: torch.device) -> float:
    split = random_images(images, case.size, case.classes, torch.device("cpu"))
    net = loop.build(case.recipe, case.classes, case.size).to(device).train()
    optimizer = loop.make_optimizer(net, case.recipe)
    tensor = [] if any(isinstance(t, transforms.ToTensor) for t in case.transform) else [
        transforms.ToTensor()
    ]  # fmt: skip
    steps = [*case.transform, *tensor, transforms.Normalize(*IMAGENET)]
    pictures = _Pictures(split, transforms.Compose(steps))
    loader = DataLoader(
        pictures, case.batch, shuffle=True, num_workers=2, persistent_workers=True,
        pin_memory=device.type == "cuda",
    )  # fmt: skip

    def epoch() -> None:
        for x, y in loader:
            optimizer.zero_grad()
            loss = F.cross_entropy(net(x.to(device)), y.to(device))
            loss.backward()
            optimizer.step()
            loss.item()

    return len(split) / _seconds(epoch, device)


def _net(case: Case, device: torch.device) -> nn.Module:
    net = loop.build(case.recipe, case.classes, case.size)
    return net.to(device, memory_format=torch.channels_last)


def _made(case: Case, device: torch.device) -> tuple[nn.Module, torch.optim.Optimizer]:
    net = _net(case, device).train()
    return net, loop.make_optimizer(net, case.recipe)


def _seconds(epoch: Callable[[], None], device: torch.device) -> float:
    """Of the second of two epochs, with the device's work done."""
    for _ in range(2):
        if device.type == "cuda":
            torch.cuda.synchronize()
        started = time.perf_counter()
        epoch()
        if device.type == "cuda":
            torch.cuda.synchronize()
    return time.perf_counter() - started


if __name__ == "__main__":
    sys.exit(main())
