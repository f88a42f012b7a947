"""The processes that a script has started, and all that those have started.

The script is made their subreaper, so that a worker whose master was killed becomes its child: it can be found, ended,
and waited for.
"""

import contextlib
import ctypes
import os
import pathlib
import signal
import time

PR_SET_CHILD_SUBREAPER = 36


def adopt_orphans() -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0):
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_CHILD_SUBREAPER)")


def children(pid: int) -> list[int]:
    """The living children of all threads of a process; what has ended and was not waited for is not among them."""
    found = []
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        for task in pathlib.Path(f"/proc/{pid}/task").iterdir():
            with contextlib.suppress(FileNotFoundError, ProcessLookupError):
                found += [int(child) for child in (task / "children").read_text().split()]
    return [child for child in found if not is_zombie(child)]


def is_zombie(pid: int) -> bool:
    """Whether a process has ended. A killed one's first thread may have while others still hold its files and ports."""
    try:
        state = pathlib.Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()[0]
        return state == "Z" and len(os.listdir(f"/proc/{pid}/task")) <= 1
    except (FileNotFoundError, ProcessLookupError):
        return True


def name(pid: int) -> str:
    try:
        return pathlib.Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode().strip()
    except (FileNotFoundError, ProcessLookupError):
        return ""


def resident(pid: int) -> int:
    """Resident memory, in KiB; 0 of a process that has ended."""
    try:
        pages = pathlib.Path(f"/proc/{pid}/statm").read_text(encoding="ascii").split()[1]
    except (FileNotFoundError, ProcessLookupError):
        return 0
    return int(pages) * os.sysconf("SC_PAGESIZE") // 1024


def kill(pid: int, number: int = signal.SIGKILL) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)


def wait_for(pids: list[int], seconds: float) -> list[int]:
    """Waits until the processes have ended; returns those that haven't by then."""
    deadline = time.monotonic() + seconds
    while True:
        for pid in pids:
            # A child of another process is waited for by that one.
            with contextlib.suppress(ChildProcessError):
                os.waitpid(pid, os.WNOHANG)
        pids = [pid for pid in pids if not is_zombie(pid)]
        if not pids or time.monotonic() >= deadline:
            return pids
        time.sleep(0.01)
