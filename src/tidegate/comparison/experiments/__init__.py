"""What is compared on: one experiment per task, with the baselines beside it."""
