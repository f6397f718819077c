"""Times and dates: how they are spelled, their steps, and the grid that they stand on."""
