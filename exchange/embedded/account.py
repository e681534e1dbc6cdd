"""Whom the embedded servers run as, and programs that this account can reach: Note [Whose servers]."""

import os
import pwd
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from exchange.embedded import addresses
from exchange.embedded.errors import EmbeddedServerError

UNPRIVILEGED = "nobody"


class Account(NamedTuple):
    """The account of the servers' processes and files."""

    uid: int
    gid: int


def of(data_dir: Path) -> Account | None:
    """Return the account that the servers switch to, or None when they run as we do."""
    if os.geteuid() != 0:
        return None
    owner = addresses.owner_id(data_dir)
    try:
        entry = pwd.getpwuid(owner) if owner != 0 else pwd.getpwnam(UNPRIVILEGED)
    except KeyError as error:
        raise EmbeddedServerError(
            f"PostgreSQL refuses to run as root, and there is no account to run it as ({error.args[0]})."
        ) from error
    return Account(entry.pw_uid, entry.pw_gid)


def own_folder(path: Path, account: Account | None, *, mode: int = 0o700) -> None:
    """Make a folder that belongs to the servers' account and to nobody else.

    Raises:
        EmbeddedServerError: Somebody else has made it before (as may happen in /tmp), or we may not.
    """
    uid = os.geteuid() if account is None else account.uid
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            path.mkdir(mode=mode)
        except FileExistsError:
            found = path.lstat()
            if not path.is_dir() or path.is_symlink() or found.st_uid not in {uid, os.geteuid()}:
                raise EmbeddedServerError(
                    f"{path} belongs to another user; remove it or use another --data-dir."
                ) from None
        if account is not None:
            os.chown(path, account.uid, account.gid)
        path.chmod(mode)
    except OSError as error:
        raise EmbeddedServerError(f"{path} cannot be used: {error.strerror}.") from error


def reachable(packages: Path, parts: Sequence[str], account: Account | None, name: str) -> Path:
    """Return a folder of packages whose programs the account may run: `packages`, or a copy outside closed folders.

    The copy, `name`, keeps the places of its `parts` to each other, since programs find their libraries
    by them. A part that this machine's wheel does not have is left out.
    """
    if account is None or all(addresses.walkable_by_others(packages / part) for part in parts):
        return packages
    copy = addresses.ROOT_HOME / "programs" / name
    if not copy.exists():
        draft = copy.with_name(f"{copy.name}.{os.getpid()}")
        for part in parts:
            if (packages / part).exists():
                shutil.copytree(packages / part, draft / part, symlinks=True)
        for folder in (copy.parent.parent, copy.parent, draft, *(path for path in draft.rglob("*") if path.is_dir())):
            folder.chmod(0o755)
        draft.rename(copy)
    return copy
