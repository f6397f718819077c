"""Files of any kind and the tables in them: bytes, code pages, separators, formats, columns."""
