"""Which kinds of file there are, and how each is written."""

from collections.abc import Iterator
from datetime import datetime
from typing import Final

from ledger.reports.document import Document
from ledger.reports.files import delimited, paper, workbook

CONTENT_TYPES: Final = {module.ENDING: module.CONTENT_TYPE for module in (delimited, workbook, paper)}
ENDINGS: Final = tuple(CONTENT_TYPES)


def chunks(document: Document, ending: str, now: datetime) -> Iterator[bytes]:
    """Yield a file of the kind that an ending names; the first chunk comes when it is known that it can be written.

    Raises:
        TooLongForPaperError: A PDF of so many rows would be too long.
        TooLongForAWorkbookError: So would an XLSX.
    """
    if ending == workbook.ENDING:
        return workbook.written(document, now)
    if ending == paper.ENDING:
        return paper.written(document, now)
    return delimited.written(document)
