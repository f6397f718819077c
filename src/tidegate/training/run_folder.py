"""The run folder: config.json, metrics.csv, curve.png and the training state."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Self

from tidegate.errors import InputError, shown, spelled
from tidegate.output.lock import lock
from tidegate.output.pictures import image_of
from tidegate.output.places import check_folder
from tidegate.output.writing import write_atomically
from tidegate.training.curve import as_columns, draw_history
from tidegate.training.gradient_watch import PICTURE, TABLE
from tidegate.training.state import LIMITS, TrainingState, read_state, write_state

# Names of what a run writes into its folder.
FILES = (
    "config.json", "metrics.csv", "curve.png", "state.safetensors", TABLE, PICTURE,
)  # fmt: skip
# A run may be resumed with other values of these: limits, places and looks.
MAY_DIFFER = {
    *LIMITS,
    "verbose",
    "resume",
    "force",
    "run_folder",
    "checkpoint_seconds",
    "gradient_norms",
}


class RunStopped(InputError):
    """The run folder cannot be written to any more; what was saved there before is whole."""


class RunFolder:
    """What one run leaves behind.

    From ``begin`` or ``go_on`` to the end of the ``with`` no other run can use the folder.  Nothing
    here overwrites another run or anyone's files, unless ``force`` says to.
    """

    def __init__(self, path: Path, force: bool = False) -> None:
        self.path, self.force = Path(path), force
        self.state_path = self.path / "state.safetensors"
        self._held = ExitStack()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self._held.close()

    def begin(self, settings: dict[str, Any]) -> None:
        """Make the folder for a new run.  Raises InputError if it holds a run already."""
        check_folder(self.path)
        try:
            self.path.mkdir(parents=True, exist_ok=True)
        except OSError as e:
            raise InputError(
                f"expected a folder to write to, got: {e.strerror}; name another one",
                file=self.path,
            ) from e
        self._lock()
        if not self.force:
            self._refuse_to_overwrite()
        for name in FILES:  # of another run, and no longer true
            (self.path / name).unlink(missing_ok=True)
        self._write_config(settings)
        self.write_metrics([])

    def go_on(self, settings: dict[str, Any]) -> TrainingState:
        """The state of the run here.  Raises InputError if there is none, or it is another's.

        Nothing is written: ``went_on`` does that, once the state has been found to be sound.
        """
        if not self.state_path.exists():
            raise InputError(
                "expected a folder with a training state to resume, got none; "
                "name the folder of that run, or begin a new run: leave out "
                f"{spelled('resume', True)}",
                file=self.path,
            )
        self._lock()
        for left_over in self.path.glob(".*.partial"):  # of a process killed while writing
            left_over.unlink(missing_ok=True)
        state = read_state(self.state_path)
        self._refuse_differences(state.settings, settings)
        return state

    def went_on(self, settings: dict[str, Any], history: list[dict[str, float]]) -> None:
        """Settings and history as the resumed run has them."""
        self._write_config(settings)
        # rows that were written after the state: the resumed run comes by them again
        self.write_metrics(history)

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Say in an error about what is written inside what there is to go on with."""
        try:
            yield
        except InputError as e:
            kept = "nothing was saved before; begin again when there is room"
            if self.state_path.exists():
                kept = "the last state that was saved is kept; continue it with "
                kept += spelled("resume", True)
            stopped = RunStopped(f"{e}; {kept}")
            stopped.file = e.file
            raise stopped from e

    def save(self, state: TrainingState) -> None:
        write_state(self.state_path, state)

    def append_metrics(self, row: dict[str, float]) -> None:
        """Add an evaluation to metrics.csv; the first one names the columns."""
        path = self.path / "metrics.csv"
        try:
            with open(path, "a", newline="", encoding="utf-8") as file:
                writer = csv.DictWriter(file, list(row), lineterminator="\n")
                if file.tell() == 0:
                    writer.writeheader()
                writer.writerow(row)
        except OSError as e:
            raise InputError(
                f"expected a place to write a row to, got: {e.strerror}; free some space", file=path
            ) from e

    def write_metrics(self, rows: list[dict[str, float]]) -> None:
        text = io.StringIO()
        if rows:
            writer = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
            writer.writeheader()
            writer.writerows(rows)
        write_atomically(self.path / "metrics.csv", text.getvalue().encode())

    def draw_curve(self, rows: list[dict[str, float]], best_step: int) -> None:
        """The losses and figures over the steps, as curve.png."""
        picture = image_of(draw_history(as_columns(rows), best_step)[0].figure)
        write_atomically(self.path / "curve.png", picture)

    def _lock(self) -> None:
        expected = "a run folder that no other run uses"
        self._held.enter_context(lock(self.path / ".lock", self.path, expected))

    def _refuse_to_overwrite(self) -> None:
        """Raise InputError for a run that is here, and for files that are of no run."""
        if not _is_config(self.path / "config.json"):
            for name in FILES:
                if (self.path / name).exists():
                    raise InputError(
                        f"expected a folder for a new run, got one with a {name} that is of no "
                        "run; name another folder, or replace that file with "
                        f"{spelled('force', True)}",
                        file=self.path,
                    )
            return
        metrics = self.path / "metrics.csv"
        if self.state_path.exists():
            go_on, replace = spelled("resume", True), spelled("force", True)
            remedy = f"continue it with {go_on}, replace it with {replace}, or name another folder"
        elif metrics.exists() and metrics.stat().st_size > 0:
            remedy = (
                f"its state is gone, so replace it with {spelled('force', True)}, or name another "
            )
            remedy += "folder"
        else:
            return  # it ended before it had come to anything
        raise InputError(
            f"expected a folder without a run, got one that holds a run already; {remedy}",
            file=self.path,
        )

    def _write_config(self, settings: dict[str, Any]) -> None:
        text = json.dumps(settings, indent=2, ensure_ascii=False) + "\n"
        write_atomically(self.path / "config.json", text.encode())

    def _refuse_differences(self, then: dict[str, Any], now: dict[str, Any]) -> None:
        for part in ("options", "objective"):
            for name in sorted({*then[part], *now[part]} - MAY_DIFFER):
                subject = f"setting {name}: " if part == "objective" else ""
                old, new = then[part].get(name), now[part].get(name)
                if old != new:
                    # what follows from the data and from several options cannot be given alone
                    as_it_was = "the same files and options" if subject else "it as it was"
                    raise InputError(
                        f"{subject}expected {shown(old, 400)}, as when the run began, "
                        f"got {shown(new, 400)}; "
                        f"give {as_it_was}, or begin a new run in another folder",
                        file=self.path,
                        option=name if part == "options" else None,
                    )
        if then["processes"] != now["processes"]:
            raise InputError(
                f"expected {then['processes']} processes, as when the run began, "
                f"got {now['processes']}; start as many, with --devices of tidegate train or with "
                "torchrun",
                file=self.path,
            )
        if then["fingerprint"] != now["fingerprint"]:
            raise InputError(
                "expected the training data the run began with, got others; "
                "give the same files, or begin a new run in another folder",
                file=self.path,
            )


def _is_config(path: Path) -> bool:
    """Whether a file is what ``_write_config`` wrote, of this version or another."""
    try:
        values = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        return False
    return isinstance(values, dict) and {"options", "fingerprint", "processes"} <= set(values)
