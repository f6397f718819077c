"""All that the compiled module has; its stub says what each name is.  Nothing else imports it."""

from pathlib import Path

from tidegate import _engine
from tidegate._engine import *  # noqa: F403

FOLDER = Path(str(_engine.__file__)).parent  # where it lies, and what was installed beside it
