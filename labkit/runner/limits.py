"""What a notebook that nobody trusts may use while it runs, and what it may see."""

from __future__ import annotations

import dataclasses
import functools
import json
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from labkit import files

__all__ = ["SOCKETS", "Limits", "can_cage", "scrubbed", "visible"]

SOCKETS = "LABKIT_SOCKETS"  # tells papermill's process in which folder a kernel's sockets go
# What a kernel needs of the environment; everything else may be somebody's secret.
KEPT = {"PATH", "LANG", "LANGUAGE", "TZ", "TMPDIR", "SYSTEMROOT", "VIRTUAL_ENV", "CONDA_PREFIX"}
KEPT_BEGINNINGS = ("LC_", "OMP_", "MKL_", "PYTHON", "LABKIT_THREADS")
# Programs and libraries, and the few files of /etc without which they do not find each other.
SYSTEM = ("/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32")
SETTINGS = ("ld.so.cache", "ld.so.conf", "ld.so.conf.d", "passwd", "group", "nsswitch.conf",
            "localtime", "fonts", "alternatives", "mime.types")  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What one execution may use. Past an error or a cell that took too long it goes on.

    Args:
        cell_seconds: a cell that takes longer is interrupted.
        seconds: the whole execution, kernel start included; then it is stopped.
        memory_mb: of data, for the kernel; an allocation beyond it raises MemoryError.
        processes: that the kernel may have started at one time.
        disk_mb: of files in its folder and its temporary folder, in a cage; of one file, elsewhere.
        cage: run the kernel without network, and without sight of any file but programs and its
            own folder. `can_cage` says whether this machine offers it.
    """

    cell_seconds: float = 60.0
    seconds: float = 300.0
    memory_mb: int = 4096
    processes: int = 32
    disk_mb: int = 512
    cage: bool = True

    def to_json(self) -> str:
        """A JSON object with these names."""
        return json.dumps(dataclasses.asdict(self))


def scrubbed(environment: Mapping[str, str]) -> dict[str, str]:
    """The part of an environment that a kernel needs, with nobody's keys and tokens in it."""
    return {
        name: value
        for name, value in environment.items()
        if name in KEPT or name.startswith(KEPT_BEGINNINGS)
    }


def visible() -> list[str]:
    """What a caged kernel sees, read-only: programs, Python's packages, and labkit itself.

    Of a checkout only `labkit/` is among them: the assignments with their solutions lie beside it.
    """
    packages = [Path(entry) for entry in sys.path if entry and Path(entry).is_dir()]
    beside = {files.PACKAGE.parent, Path.cwd()} - {Path(sys.prefix)}
    python = [path for path in packages if path not in beside or path.name == "site-packages"]
    places = [*SYSTEM, *(f"/etc/{name}" for name in SETTINGS), sys.base_prefix, sys.prefix, *python]
    return [str(path) for path in dict.fromkeys(map(str, [*places, files.PACKAGE]))
            if os.path.exists(path)]  # fmt: skip


@functools.cache
def can_cage() -> bool:
    """Whether this machine lets its users make namespaces: most Linux does, nothing else."""
    probe = [sys.executable, "-m", "labkit.runner.cage", "--probe"]
    try:
        done = subprocess.run(probe, capture_output=True, timeout=60, check=False)
    except (OSError, subprocess.SubprocessError):
        return False
    return done.returncode == 0
