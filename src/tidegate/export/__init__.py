"""Exporters: what is written from the cells' one definition."""
