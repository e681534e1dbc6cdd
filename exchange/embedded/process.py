"""Starts child processes that cannot outlive us, and ends them.

Note [No orphans]
    Every child leads a session of its own, so that Ctrl-C reaches only the supervisor, which then
    stops the children in order. On Linux each child also asks the kernel for a signal at the death of
    its parent (PR_SET_PDEATHSIG), so that even kill -9 of the supervisor takes them along; the signal
    is the child's own polite one, and its own children go with it. The request is made after the
    change of user, which would clear it. Elsewhere the next `up` ends what status.json lists.
"""

import contextlib
import ctypes
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import IO

from exchange.embedded.account import Account

_PR_SET_PDEATHSIG = 1
_LIBC = ctypes.CDLL(None) if sys.platform == "linux" else None


def _tied_to_parent(death_signal: int) -> Callable[[], None] | None:
    """Return what a new child runs before its program, so that it dies with its parent."""
    if _LIBC is None:
        return None
    libc, parent = _LIBC, os.getpid()

    def tie() -> None:
        libc.prctl(_PR_SET_PDEATHSIG, death_signal, 0, 0, 0)
        if os.getppid() != parent:
            os._exit(1)

    return tie


def spawn(
    command: Sequence[str],
    *,
    output: int | IO[bytes],
    cwd: Path | str = "/",
    environment: Mapping[str, str] | None = None,
    account: Account | None = None,
    death_signal: int = signal.SIGTERM,
) -> subprocess.Popen[bytes]:
    """Start a child with no standard input, both outputs into `output`: Note [No orphans].

    It runs as `account` (None: as we do) and gets `death_signal` when we die.
    """
    return subprocess.Popen(  # noqa: S603 -- command lines are built by us
        list(command),
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=subprocess.STDOUT,
        cwd=cwd,
        env=None if environment is None else dict(environment),
        user=None if account is None else account.uid,
        group=None if account is None else account.gid,
        extra_groups=None if account is None else [],
        start_new_session=True,
        preexec_fn=_tied_to_parent(death_signal),  # noqa: PLW1509 -- we have one thread when we fork
    )


def signal_group(process: subprocess.Popen[bytes], number: int) -> None:
    """Send a signal to a child's whole group, gone or not."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, number)


def end(process: subprocess.Popen[bytes], number: int, seconds_max: float) -> None:
    """Ask a child to stop, wait, and kill its group if it does not listen."""
    if process.poll() is None:
        process.send_signal(number)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(timeout=seconds_max)
    signal_group(process, signal.SIGKILL)
    process.wait()


def alive(pid: int) -> bool:
    """Tell whether a process with this id exists (a zombie does not count where we can see that)."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (OSError, IndexError):
        return True


def program(pid: int) -> str:
    """Return the name of a process's program, or an empty text when it cannot be told."""
    if Path("/proc/self/comm").exists():
        with contextlib.suppress(OSError):
            return Path(f"/proc/{pid}/comm").read_text().strip()
        return ""
    shown = subprocess.run(  # noqa: S603 -- a constant program
        ["/bin/ps", "-o", "comm=", "-p", str(pid)], capture_output=True, text=True, check=False
    )
    return Path(shown.stdout.strip()).name


def last_lines(log: Path, count: int = 5) -> list[str]:
    """Return the end of a log, for the one line that explains a failure."""
    try:
        with log.open("rb") as file:
            file.seek(max(0, log.stat().st_size - 8192))
            return file.read().decode(errors="replace").splitlines()[-count:]
    except OSError:
        return []
