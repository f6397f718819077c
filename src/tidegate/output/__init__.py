"""Where a file may be written, how it is written, and who may write there at the same time."""
