"""Collects static files, but only when they differ from what was collected last."""

import hashlib
from pathlib import Path

from django.conf import settings
from django.contrib.staticfiles.finders import get_finders
from django.core.management import call_command

FINGERPRINT = ".fingerprint"


def _fingerprint() -> str:
    """Return a digest of every source file's place, size and time of change."""
    digest = hashlib.sha256()
    for finder in get_finders():
        for path, storage in finder.list(ignore_patterns=None):
            found = Path(storage.path(path)).stat()
            digest.update(f"{path}\0{storage.path(path)}\0{found.st_size}\0{found.st_mtime_ns}\n".encode())
    return digest.hexdigest()


def collect() -> bool:
    """Bring STATIC_ROOT up to date; tell whether there was anything to do."""
    marker, wanted = Path(settings.STATIC_ROOT) / FINGERPRINT, _fingerprint()
    if marker.exists() and marker.read_text() == wanted:
        return False
    call_command("collectstatic", interactive=False, verbosity=0, clear=True)
    marker.parent.mkdir(parents=True, exist_ok=True)
    marker.write_text(wanted)
    return True
