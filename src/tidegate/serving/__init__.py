"""Trained models over HTTP: requests in batches, streams, a page to look at.  No torch."""
