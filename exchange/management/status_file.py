"""The file in which `up` writes what it runs, for `status` and for the next `up`."""

import json
import os
import time
from datetime import datetime
from pathlib import Path
from typing import Any

import psutil

from exchange.embedded import process
from exchange.management.supervisor import Supervisor

SURVIVOR_SECONDS_MAX = 15.0


def path(data_dir: Path) -> Path:
    """Return the file's place."""
    return data_dir / "run" / "status.json"


def write(data_dir: Path, supervisor: Supervisor, *, url: str, started_at: datetime) -> None:
    """Write the present state, whole or not at all."""
    now = time.monotonic()
    children = [
        {
            "name": child.name,
            "state": child.state,
            "pid": child.process.pid if child.process else None,
            "uptime_seconds_at_write": round(now - child.started_at, 1) if child.process else None,
            "begun_at": _begun_at(child.process.pid) if child.process else None,
            "restarts": child.restarts,
            "last_exit_code": child.exit_code,
        }
        for child in supervisor.children
    ]
    body = {"pid": os.getpid(), "url": url, "started_at": started_at.isoformat(), "children": children}
    draft = path(data_dir).with_suffix(f".{os.getpid()}")
    draft.write_text(json.dumps(body))
    draft.replace(path(data_dir))


def read(data_dir: Path) -> dict[str, Any] | None:
    """Return what the last `up` wrote, or None."""
    try:
        body: dict[str, Any] = json.loads(path(data_dir).read_text())
    except (OSError, ValueError):
        return None
    return body


def _begun_at(pid: int) -> float | None:
    """Return when a process began, by which it is told from a later one with the same id."""
    try:
        return float(psutil.Process(pid).create_time())
    except psutil.Error:
        return None


def end_survivors(data_dir: Path) -> int:
    """Wait for the children of an `up` that was killed, and end those that stay; return how many there were.

    On Linux they end by themselves: exchange.embedded.process, Note [No orphans].
    """
    body = read(data_dir)
    if body is None:
        return 0
    left = [
        child["pid"]
        for child in body["children"]
        if child["pid"] and child["begun_at"] and _begun_at(child["pid"]) == child["begun_at"]
    ]
    found, deadline = len(left), time.monotonic() + SURVIVOR_SECONDS_MAX
    while left and time.monotonic() < deadline:
        left = [pid for pid in left if process.alive(pid)]
        time.sleep(0.05)
    for pid in left:
        psutil.Process(pid).kill()
    path(data_dir).unlink(missing_ok=True)
    return found
