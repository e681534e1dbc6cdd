"""Writes a laid out statement as a file: `delimited` CSV, `workbook` XLSX, `paper` PDF."""
