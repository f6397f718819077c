"""A trained network on numpy arrays: what predicts, generates, forecasts and scores.  No torch."""
