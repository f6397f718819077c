"""Weights and networks of other libraries, read and written."""
