"""The vendored front-end files are the ones that their table names, byte for byte, each with its licence."""

import hashlib
import re
from pathlib import Path

import pytest
from django.conf import settings

VENDOR = Path(settings.BASE_DIR) / "exchange" / "static" / "vendor"
ROWS = re.findall(
    r"^\| [^|]+ \| [0-9.]+ \| [^|]+ \| `([^`]+)` .*`([0-9a-f]{64})` \|$",
    (VENDOR / "README.md").read_text(),
    re.MULTILINE,
)


def test_the_table_names_every_vendored_script() -> None:
    scripts = {str(path.relative_to(VENDOR)) for path in VENDOR.rglob("*") if path.suffix in {".js", ".mjs"}}

    assert {file for file, _ in ROWS} == scripts


@pytest.mark.parametrize(("file", "digest"), ROWS)
def test_a_vendored_script_is_unchanged_and_has_its_licence(file: str, digest: str) -> None:
    path = VENDOR / file

    assert hashlib.sha256(path.read_bytes()).hexdigest() == digest
    assert [name.name for name in path.parent.iterdir() if name.name.startswith("LICEN")] != []
