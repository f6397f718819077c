"""Layers and networks on torch."""
