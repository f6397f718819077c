"""Cells compared on the reader's own data, beside a baseline that costs little: ``compare``."""
