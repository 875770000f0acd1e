"""What a kernel that nobody trusts is started through: `python -m labkit.runner.cage SPEC COMMAND`.

Limits are set in any case. With `cage` the command also gets namespaces of its own, which Linux
gives any user: no network, no other process, and a file system that holds programs, the folder it
works in, and nothing else. Its rights inside are given up before it starts. Files that it leaves
are gone with it; what it says goes through its sockets.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

__all__ = ["main"]

# of <sched.h>, <sys/mount.h> and <sys/prctl.h>
NEW_MOUNTS, NEW_IPC, NEW_USER, NEW_PIDS, NEW_NET = (
    1 << 17, 1 << 27, 1 << 28, 1 << 29, 1 << 30)  # fmt: skip
READ_ONLY, NO_SUID, NO_DEV, NO_EXEC, REMOUNT, BIND, RECURSIVE, PRIVATE = (
    1, 2, 4, 8, 32, 4096, 16384, 1 << 18)  # fmt: skip
LOCKED = NO_SUID | NO_DEV | NO_EXEC | 1024 | 2048  # what a mount has and may not lose
DETACH, DIE_WITH_PARENT, DROP_RIGHT, NO_NEW_RIGHTS = 2, 1, 24, 38
DEVICES = ("null", "zero", "full", "random", "urandom")
UNCAGED = 125  # the exit code where no namespace is to be had


def main(arguments: Sequence[str]) -> int:
    """Run a command within limits, and with `cage` in a cage. Returns its exit code.

    Args:
        arguments: a JSON object and the words of the command. The object has `cage`, `memory_mb`,
            `processes`, `disk_mb`, and for a cage `root` (an empty folder to build it on), `work`
            (the folder copied into it), `sockets` (the one folder shared with outside) and
            `visible` (paths to read). Or `--probe` alone.
    """
    if list(arguments) == ["--probe"]:
        return _probe()
    spec, command = json.loads(arguments[0]), list(arguments[1:])
    with contextlib.suppress(AttributeError, OSError):  # Linux has it
        _call("prctl", DIE_WITH_PARENT, signal.SIGKILL, 0, 0, 0)
    if not spec["cage"]:
        _limit(spec)
        os.execvp(command[0], command)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the kernel in the cage gets it, and may end
    try:
        _unshare()
    except OSError as error:
        print(f"no cage: {error}", file=sys.stderr)
        return UNCAGED
    inner = os.fork()
    if inner == 0:
        _run(spec, command)
    _, status = os.waitpid(inner, 0)
    return os.waitstatus_to_exitcode(status) % 256


def _probe() -> int:
    """Build a cage and run `true` in it."""
    with tempfile.TemporaryDirectory(prefix="labkit-cage-", ignore_cleanup_errors=True) as name:
        folders = {each: str(Path(name) / each) for each in ("root", "work", "sockets")}
        for folder in folders.values():
            Path(folder).mkdir()
        limits = {"cage": True, "memory_mb": 64, "processes": 8, "disk_mb": 16}
        places = [path for path in ("/usr", "/bin", "/lib", "/lib64") if os.path.exists(path)]
        spec = json.dumps({**folders, **limits, "visible": places})
        # of a process of its own: where a cage was built, its root cannot be removed
        return subprocess.call([sys.executable, "-m", "labkit.runner.cage", spec, "true"])


def _run(spec: dict[str, Any], command: list[str]) -> None:
    """In the first process of the new namespaces: shut the doors, then become the command."""
    try:
        _call("prctl", DIE_WITH_PARENT, signal.SIGKILL, 0, 0, 0)
        _build(spec)
        _limit(spec)
        _give_up_rights()
        signal.signal(signal.SIGINT, signal.default_int_handler)
        os.execvp(command[0], command)
    except OSError as error:
        print(f"no cage: {error}", file=sys.stderr, flush=True)
        os._exit(UNCAGED)


def _call(name: str, *arguments: Any) -> None:
    """A function of the C library.

    Raises:
        OSError: it failed.
    """
    library = ctypes.CDLL(None, use_errno=True)
    words = [each.encode() if isinstance(each, str) else each for each in arguments]
    if getattr(library, name)(*words) != 0:
        code = ctypes.get_errno()
        raise OSError(code, f"{name}: {os.strerror(code)}", *arguments[1:2])


def _unshare() -> None:
    """Leave the machine's users, files, network and processes; the next child is process 1."""
    user, group = os.getuid(), os.getgid()
    if not sys.platform.startswith("linux"):
        raise OSError("namespaces are Linux's own")
    _call("unshare", NEW_USER | NEW_MOUNTS | NEW_NET | NEW_PIDS | NEW_IPC)
    maps = {"setgroups": "deny", "uid_map": f"{user} {user} 1", "gid_map": f"{group} {group} 1"}
    for name, text in maps.items():
        Path("/proc/self", name).write_text(text, encoding="ascii")


def _build(spec: dict[str, Any]) -> None:
    """A root in memory with what may be seen; the machine's own is let go."""
    _call("mount", "none", "/", None, RECURSIVE | PRIVATE, None)
    root = spec["root"]
    size = f"size={spec['disk_mb']}m,mode=755"
    _call("mount", "none", root, "tmpfs", NO_SUID | NO_DEV, size)
    for path in spec["visible"]:
        _show(root, path)
    for name in DEVICES:
        _bind(f"/dev/{name}", f"{root}/dev/{name}")
    for name in ("/tmp", "/dev/shm", "/proc"):
        os.makedirs(root + name, exist_ok=True)
    _call("mount", "proc", f"{root}/proc", "proc", NO_SUID | NO_DEV | NO_EXEC, None)
    shutil.copytree(spec["work"], root + spec["work"], dirs_exist_ok=True)
    _bind(spec["sockets"], root + spec["sockets"])
    os.chdir(root)
    _call("pivot_root", ".", ".")
    _call("umount2", ".", DETACH)
    os.chdir(spec["work"])


def _show(root: str, path: str) -> None:
    """Let a file or folder be read, where it is and by the name that leads to it."""
    real = os.path.realpath(path)
    if not os.path.exists(root + real):
        _bind(real, root + real)
        kept = os.statvfs(real).f_flag & LOCKED
        _call("mount", None, root + real, None, BIND | REMOUNT | READ_ONLY | kept, None)
    if path != real and not os.path.lexists(root + path):
        os.makedirs(os.path.dirname(root + path), exist_ok=True)
        os.symlink(real, root + path)


def _bind(source: str, target: str) -> None:
    if os.path.isdir(source):
        os.makedirs(target, exist_ok=True)
    else:
        os.makedirs(os.path.dirname(target), exist_ok=True)
        Path(target).touch()
    _call("mount", source, target, None, BIND | RECURSIVE, None)


def _limit(spec: dict[str, Any]) -> None:
    """Memory, the size of a file, no core dumps; processes where they are counted by namespace."""
    limits = {"RLIMIT_DATA": spec["memory_mb"] << 20, "RLIMIT_FSIZE": spec["disk_mb"] << 20,
              "RLIMIT_CORE": 0}  # fmt: skip
    if spec["cage"]:
        limits["RLIMIT_NPROC"] = 16 * spec["processes"]  # threads count, too
    for name, value in limits.items():
        # a lower limit of the machine's own stays
        with contextlib.suppress(AttributeError, ValueError, OSError):
            resource.setrlimit(getattr(resource, name), (value, value))


def _give_up_rights() -> None:
    """A user who is root has rights even in here, such as to mount; the command gets none."""
    with contextlib.suppress(OSError):  # the kernel knows fewer than 64
        for right in range(64):
            _call("prctl", DROP_RIGHT, right, 0, 0, 0)
    _call("prctl", NO_NEW_RIGHTS, 1, 0, 0, 0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
