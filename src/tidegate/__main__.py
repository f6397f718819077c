"""``python -m tidegate``, which is also what each process of a distributed run executes."""

from __future__ import annotations

import sys

from tidegate.cli import main

if __name__ == "__main__":
    sys.exit(main())
