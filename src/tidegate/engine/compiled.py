"""All that the compiled module has; its stub says what each name is.  Nothing else imports it."""

from tidegate._engine import *  # noqa: F403
