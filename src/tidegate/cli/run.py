"""A training run from the command line: where it writes, what it says, how it goes on."""

from __future__ import annotations

import contextlib
import shlex
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import typer

from tidegate.cli.processes import launch, process_rank
from tidegate.cli.reading import about_file
from tidegate.cli.show import (
    accuracy_interval,
    accuracy_told,
    beside_baselines,
    clock,
    print_json,
    print_table,
)
from tidegate.errors import InputError
from tidegate.tasks import TASKS, task_class
from tidegate.tasks.estimator import Estimator, default_model_path


class TrainingRun:
    """One run of one task on the file ``data``.

    ``arguments`` is what was typed: several processes are given it, and the way to resume.
    """

    def __init__(
        self,
        task: str,
        data: Path,
        options: dict[str, Any],
        *,
        output: Path | None,
        devices: int,
        json: bool,
        arguments: list[str],
    ) -> None:
        self.output = output or default_model_path(task, data)
        self.folder = options["run_folder"] or Path("runs") / self.output.stem
        self.model: Estimator = task_class(task)(**{**options, "run_folder": self.folder})
        self.data, self.devices, self.json, self.arguments = data, devices, json, arguments
        self.first = process_rank() in (None, 0)

    def go(self, read: Callable[[], tuple[Any, ...]], about: dict[str, Any]) -> None:
        """Check, read what ``fit`` is given, fit, save, report.

        ``about`` goes to the file's provenance.
        """
        self.model.check()
        if self.devices < 1:
            raise InputError(f"option devices: expected at least 1, got {self.devices}")
        if self.first:
            self._refuse_to_overwrite()
        if self.devices > 1 and process_rank() is None:
            raise typer.Exit(launch(self.devices, self.arguments))
        # what is said meanwhile, such as samples, must not mix with the JSON object
        aside = contextlib.redirect_stdout(sys.stderr) if self.json else contextlib.nullcontext()
        with aside:
            self._learn(read)
        if self.first:
            self.model.provenance_ |= {"data": str(self.data), **about}
            self.model.save(self.output)
            self._report()

    def _refuse_to_overwrite(self) -> None:
        """Raise InputError where the run could not write, or would write over another."""
        if not self.output.parent.is_dir():
            raise InputError(
                f"expected a folder {self.output.parent} to write to, got none; make it first",
                file=self.output,
            )
        if self.output.is_dir():
            raise InputError("expected the name of a file to write, got a folder", file=self.output)
        if (self.folder / "state.safetensors").exists() and not self.model.resume:
            raise InputError(
                "expected a run folder that is free, got one that holds a run; go on with that "
                "run by --resume, or name another folder by --run-folder",
                file=self.folder,
            )

    def _learn(self, read: Callable[[], tuple[Any, ...]]) -> None:
        import torch  # noqa: F401  where there is none, say so before a long file is read

        model: Any = self.model
        try:
            data = read()
            if self.first:
                print(f"run folder: {self.folder}", flush=True)
            with about_file(self.data):
                model.fit(*data)
        except KeyboardInterrupt:
            if self.first:
                print(f"\n{self._interrupted()}", file=sys.stderr)
            raise typer.Exit(130) from None

    def _interrupted(self) -> str:
        if not (self.folder / "state.safetensors").exists():
            return "interrupted before anything was saved"
        given = [a for a in self.arguments if a != "--resume"]
        return f"interrupted; go on with: tidegate {shlex.join(given)} --resume"

    def _report(self) -> None:
        model = self.model
        figures, about = model.metrics_, model.provenance_
        test = {k.removeprefix("test_"): v for k, v in figures.items() if k.startswith("test_")}
        validation = {k: v for k, v in figures.items() if not k.startswith("test_")}
        own = all(k.startswith("training_") for k in validation)  # there was no validation part
        parameters = model.network_.architecture.parameter_count()
        what = getattr(model, "INPUTS", "")
        counts = {"validation": about.get(f"validation_{what}", 0), "test": test.get("n", 0)}
        if self.json:
            print_json(
                {
                    "task": model.TASK,
                    "model": str(self.output),
                    "run_folder": str(self.folder),
                    "parameters": parameters,
                    "seconds": about["training_seconds"],
                    "steps": about["steps"],
                    "best_step": about["best_step"],
                    "stopped_by": about["stopped_by"],
                    "measured_on": "test" if test else "training" if own else "validation",
                    **(test or validation),
                    **accuracy_interval(
                        test or validation, counts["test" if test else "validation"]
                    ),
                    "validation": validation,
                    "test": test or None,
                }
            )
            return
        chosen = accuracy_told(validation, counts["validation"], what)
        tested = accuracy_told(test, counts["test"], what)
        rows = {k if own else f"validation {k}": v for k, v in chosen.items()}
        rows |= {f"test {k}": v for k, v in beside_baselines(tested).items()}
        rows |= {"parameters": parameters, "training time": clock(about["training_seconds"])}
        rows |= {"steps": f"{about['steps']} (best weights: {about['best_step']})"}
        print_table("", rows)
        print(f"curve: {self.folder / 'curve.png'}")
        print(f"model: {self.output}")
        names = {"model": shlex.quote(str(self.output)), "data": shlex.quote(str(self.data))}
        print("next:  " + TASKS[model.TASK].then.format(**names))
