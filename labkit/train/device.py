"""The machine: which device, which precision, whose random numbers, how much memory."""

from __future__ import annotations

import contextlib
import ctypes
import hashlib
import math
import os
import platform
import re
import resource
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch

from labkit.errors import InputError

__all__ = [
    "TOGETHER",
    "cpu_name",
    "derive",
    "device_card",
    "free_memory",
    "kernel_search",
    "own_randomness",
    "peak_memory",
    "pick_device",
    "release_memory",
    "reset_peak_memory",
    "reuse_memory",
    "thread_count",
    "use_bf16",
]

LIBC = ctypes.CDLL(None) if platform.libc_ver()[0] == "glibc" else None
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # as malloc.h of glibc numbers them
MEMINFO, GROUP = Path("/proc/meminfo"), Path("/sys/fs/cgroup")
TOGETHER = "LABKIT_TOGETHER"  # how many processes a sweep runs side by side; it sets it itself


def derive(seed: int, *words: object) -> int:
    """A 63-bit seed for one purpose: (seed, "data", 3) always gives the same numbers."""
    text = "/".join(map(str, (seed, *words)))
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1


@contextlib.contextmanager
def own_randomness(device: torch.device, *, deterministic: bool) -> Iterator[None]:
    """The caller's random state and switches come back afterwards.

    fp32 means fp32 inside: by default PyTorch rounds the factors of a GPU's convolutions to TF32.
    """
    cudnn, memory = torch.backends.cudnn, torch.utils.deterministic
    before = cudnn.benchmark, cudnn.allow_tf32, memory.fill_uninitialized_memory
    strict = torch.are_deterministic_algorithms_enabled()
    warn = torch.is_deterministic_algorithms_warn_only_enabled()
    # seeding reaches a GPU that is in use even where a run is made on the CPU
    used = device.type == "cuda" or torch.cuda.is_initialized()
    devices = [torch.cuda.current_device()] if used else []
    with torch.random.fork_rng(devices=devices):
        torch.use_deterministic_algorithms(deterministic)
        cudnn.benchmark, cudnn.allow_tf32 = not deterministic, False
        memory.fill_uninitialized_memory = False  # a kernel a tensor, whose numbers nobody reads
        try:
            yield
        finally:
            torch.use_deterministic_algorithms(strict, warn_only=warn)
            cudnn.benchmark, cudnn.allow_tf32, memory.fill_uninitialized_memory = before


@contextlib.contextmanager
def kernel_search(allowed: bool) -> Iterator[None]:
    """Let cuDNN time its kernels at the first use of a shape inside, or not.

    For a batch that is smaller than the others the search takes longer than it will ever save.
    """
    before = torch.backends.cudnn.benchmark
    torch.backends.cudnn.benchmark = before and allowed
    try:
        yield
    finally:
        torch.backends.cudnn.benchmark = before


@contextlib.contextmanager
def thread_count(threads: int) -> Iterator[None]:
    """So many threads inside, 0 as many as before; the order of additions depends on them."""
    before = torch.get_num_threads()
    torch.set_num_threads(threads or before)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def pick_device(name: str) -> torch.device:
    """auto takes the first GPU where there is one.

    Raises:
        InputError: cuda was asked for and there is none, or an unknown name.
    """
    if name not in ("auto", "cpu", "cuda"):
        raise InputError(f"device is {name!r}; it must be one of auto, cpu, cuda")
    gpu = name != "cpu" and torch.cuda.is_available()
    if name == "cuda" and not gpu:
        raise InputError(
            "device is 'cuda', but torch sees no GPU here; use device=cpu, or auto, which takes a"
            " GPU only where there is one"
        )
    if not gpu:
        return torch.device("cpu")
    # deterministic products ask for it, and it must not change once cuBLAS has taken its memory
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    return torch.device("cuda")


def use_bf16(precision: str, device: torch.device) -> bool:
    """bfloat16 autocast: as the precision says; "auto" on a GPU that multiplies it.

    On a CPU "auto" is for `labkit.train.choice` to find out, and fp32 where nothing is timed.
    """
    if precision != "auto" or device.type == "cpu":
        return precision == "bf16"
    return torch.cuda.is_bf16_supported(including_emulation=False)


def device_card(
    device: torch.device, bf16: bool, threads: int = 0, rates: Mapping[str, float] = {}
) -> dict[str, Any]:
    """What a record says of the machine: type, name, threads, precision; together, if shared.

    `rates` are the images a second of each precision and thread count, where they were timed.
    """
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else cpu_name()
    card = {"type": device.type, "name": name, "threads": threads or torch.get_num_threads()}
    card |= {"precision": "bf16" if bf16 else "fp32"} | ({"rates": dict(rates)} if rates else {})
    if (together := os.environ.get(TOGETHER, "")).isdecimal():  # times of a shared machine
        card["together"] = int(together)
    return card


def cpu_name() -> str:
    return str(torch.cpu.get_capabilities().get("cpu_name", "unknown CPU"))


def reuse_memory() -> None:
    """Keep the memory that one training step frees for the next one.

    glibc returns a block of 32 MB and more to the system when it is freed, and gets its pages
    afresh, one by one, when a step asks for it again: a sixth of MBN's time on two virtual cores.
    """
    if LIBC:
        LIBC.mallopt(M_MMAP_THRESHOLD, 2**30)
        LIBC.mallopt(M_TRIM_THRESHOLD, 2**31 - 1)


def release_memory() -> None:
    """Give the system back what `reuse_memory` keeps."""
    if LIBC:
        LIBC.malloc_trim(0)


def reset_peak_memory(device: torch.device) -> None:
    """Count the peak from now; where a system cannot, the process's own peak stands."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    else:
        with contextlib.suppress(OSError):
            Path("/proc/self/clear_refs").write_text("5", encoding="ascii")


def peak_memory(device: torch.device) -> float:
    """Megabytes since the last reset: on the GPU, or of this process."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 1e6
    status = Path("/proc/self/status")
    if status.exists():  # ru_maxrss there is no lower than that of the process that started this
        (peak,) = re.findall(r"VmHWM:\s+(\d+) kB", status.read_text(encoding="utf-8"))
        return int(peak) * 1024 / 1e6
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6


def free_memory(device: torch.device) -> float:
    """Megabytes (10^6 bytes) that a run may still take; infinite where the system does not tell."""
    if device.type == "cuda":
        kept = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return (torch.cuda.mem_get_info(device)[0] + kept) / 1e6
    free = [math.inf]
    if MEMINFO.exists():
        free.append(_numbers(MEMINFO)["MemAvailable"] * 1024)
    limit = GROUP / "memory.max"
    if limit.exists() and (text := limit.read_text(encoding="utf-8").strip()).isdigit():
        used = int((GROUP / "memory.current").read_text(encoding="utf-8"))
        cached = _numbers(GROUP / "memory.stat")["inactive_file"]  # given back when needed
        free.append(int(text) - used + cached)
    return min(free) / 1e6


def _numbers(path: Path) -> dict[str, int]:
    """The first number on each line of a system's file, by the word before it."""
    lines = map(str.split, path.read_text(encoding="utf-8").splitlines())
    return {name.rstrip(":"): int(number) for name, number, *_ in lines}
