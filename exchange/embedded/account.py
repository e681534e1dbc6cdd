"""Whom the embedded servers run as, and programs that this account can reach: Note [Whose servers]."""

import os
import pwd
import shutil
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


def reachable(programs: Path, account: Account | None, name: str) -> Path:
    """Return a folder of programs that the account may run: `programs`, or a copy outside closed folders.

    Args:
        programs: The folder as installed, possibly below a closed home folder.
        account: None when the servers run as we do, and so reach what we reach.
        name: Name of the copy; it carries the version, so that an update makes a new one.
    """
    if account is None or addresses.walkable_by_others(programs):
        return programs
    copy = addresses.ROOT_HOME / "programs" / name
    if not copy.exists():
        draft = copy.with_name(f"{copy.name}.{os.getpid()}")
        shutil.copytree(programs, draft, symlinks=True)
        for folder in (copy.parent.parent, copy.parent, draft):
            folder.chmod(0o755)
        draft.rename(copy)
    return copy
