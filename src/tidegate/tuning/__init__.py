"""``tune``: options searched on one's own data, and what that gained over the defaults."""
