"""The only place that decides how the book's loops are compiled and where machine code is kept."""

import hashlib
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, TypeVar, cast

import numba
from numba import njit

_HERE: Final = Path(__file__).parent
# `_nrt`: the loops make no arrays, and without Numba's reference counting they run three times faster.
_OPTIONS: Final[dict[str, Any]] = {"nogil": True, "error_model": "numpy", "_nrt": False}
_Function = TypeVar("_Function", bound=Callable[..., Any])

# Note [Compiled code follows its source]
#     Numba keeps machine code beside the source and renews it when the file of the outermost
#     function changes. Our entry points inline functions of other files; an edit there would go
#     unnoticed and an old engine would go on running. The folder's name is therefore a digest of
#     all the sources, so that changed sources can only meet freshly compiled code.


def _fingerprint() -> str:
    """Return a digest of all that decides what the machine code is."""
    digest = hashlib.sha256(f"{numba.__version__} {numba.config.BOUNDSCHECK}".encode())  # type: ignore[attr-defined]
    for source in [*sorted(_HERE.glob("*.py")), _HERE.parent / "protocol.py"]:
        digest.update(source.name.encode() + b"\0" + source.read_bytes())
    return digest.hexdigest()[:16]


def _use_cache_of_this_source() -> None:
    """Point Numba at the folder for exactly these sources and drop what older ones left."""
    base = Path(os.environ.get("NUMBA_CACHE_DIR") or _HERE / "__pycache__")
    folder = base / f"book-{_fingerprint()}"
    numba.config.CACHE_DIR = str(folder)  # type: ignore[attr-defined]
    if not folder.exists():
        for stale in base.glob("book-*"):
            shutil.rmtree(stale, ignore_errors=True)


_use_cache_of_this_source()


def is_cached() -> bool:
    """Tell whether machine code of these sources is kept already; without it the first engine compiles for long."""
    return any(Path(str(numba.config.CACHE_DIR)).rglob("*.nbc"))  # type: ignore[attr-defined]


def entry(function: _Function) -> _Function:
    """Compile a loop that Python calls: cached on disk, releasing the GIL while it runs."""
    return cast("_Function", njit(cache=True, **_OPTIONS)(function))


def inlined(function: _Function) -> _Function:
    """Compile a step of a loop into its caller, so that arrays are not passed from call to call."""
    return cast("_Function", njit(forceinline=True, **_OPTIONS)(function))


def called(function: _Function) -> _Function:
    """Compile a step of the rarer road into a function of its own: compiled once, however often it is used."""
    return cast("_Function", njit(**_OPTIONS)(function))


def address_of(function: Callable[..., Any]) -> int:
    """Return where the machine code of an entry stands, compiled for one signature, in Numba's own convention."""
    dispatcher = cast("Any", function)
    [compiled] = dispatcher.overloads.values()
    return int(compiled.library.get_pointer_to_function(compiled.fndesc.llvm_func_name))
