"""A training run from the command line: where it writes, what it says, how it goes on."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from tidegate.cli.invocation import Invocation
from tidegate.cli.processes import launch, process_rank
from tidegate.cli.reading import about_file, files_read
from tidegate.cli.show import (
    accuracy_interval,
    accuracy_told,
    beside_baselines,
    clock,
    noted,
    print_json,
    print_table,
    said_aside,
)
from tidegate.data.files.reading import is_read_once, name_of
from tidegate.errors import InputError
from tidegate.output.lock import output_lock
from tidegate.output.places import check_folder, check_output, refuse_inputs
from tidegate.tasks import TASKS, task_class
from tidegate.tasks.estimator import Estimator, default_model_path
from tidegate.terminal import path_text, quoted_path, say
from tidegate.training.clock import counting_from

# What `fit` is given, by place and by name.
Read = Callable[[], tuple[tuple[Any, ...], dict[str, Any]]]

_ELSEWHERE = "elsewhere.safetensors"


class TrainingRun:
    """One run of one task on the file ``data``.

    ``invocation`` is what was typed: several processes are given it, and the way to resume.
    ``layout``: what of it said how the file is written, which its next reader must be told, too.
    """

    def __init__(
        self,
        task: str,
        data: Path,
        options: dict[str, Any],
        *,
        validation: Path | None,
        output: Path | None,
        devices: int,
        json: bool,
        invocation: Invocation,
        layout: str,
    ) -> None:
        self.began = time.monotonic()  # reading the file counts towards the minutes, too
        self.output = output or default_model_path(task, data)
        self.folder = options["run_folder"] or Path("runs") / self.output.stem
        self.model: Estimator = task_class(task)(**{**options, "run_folder": self.folder})
        self.inputs = files_read(options, data, validation)
        self.data, self.devices, self.json, self.invocation = data, devices, json, invocation
        self.layout = layout
        self.first = process_rank() in (None, 0)

    def go(self, read: Read, about: dict[str, Any]) -> None:
        """Check, read what ``fit`` is given, fit, save, report.

        ``about`` goes to the file's provenance.
        """
        self.model.check()
        if self.devices < 1:
            problem = f"expected at least 1, got {self.devices}; leave it out for one process"
            raise InputError(problem, option="devices")
        if self.devices > 1 or process_rank() is not None:
            self._check_inputs()
        if self.first:
            self._check_places()
        if self.devices > 1 and process_rank() is None:
            with output_lock(self.output):
                pass  # if another run holds it, say so before processes are started
            raise click.exceptions.Exit(launch(self.devices, self.invocation.arguments))
        with said_aside(self.json, self.output):
            if not self.first:
                self._learn(read)
                return
            with output_lock(self.output):
                self._learn(read)
                self.model.provenance_ |= {"data": path_text(self.data), **about}
                self._save()
            if not self.json:
                self._report()
        if self.json:
            self._print_json()

    def _check_inputs(self) -> None:
        """Raise InputError for what several processes cannot each read."""
        for given in self.inputs:
            if is_read_once(given):
                raise InputError(
                    "expected a file that every process can read, got a pipe; write what comes "
                    "from it to a file and name that",
                    file=name_of(given),
                )

    def _check_places(self) -> None:
        """Raise InputError where the run could not write, or would write over other files."""
        from tidegate.model.checkpoint import is_model_file
        from tidegate.training.run_folder import FILES

        check_output(self.output, inputs=self.inputs, force=self.model.force, ours=is_model_file)
        check_folder(self.folder)
        refuse_inputs(self.folder, FILES, self.inputs)
        output, folder = (Path(os.path.realpath(p)) for p in (self.output, self.folder))
        if output in (folder, *folder.parents, *(folder / name for name in FILES)):
            raise InputError(
                f"expected an output apart from the run folder {self.folder}, got a part of it; "
                "name another file, or another folder with --run-folder",
                file=self.output,
            )
        if self._has_state() and not (self.model.resume or self.model.force):
            raise InputError(
                "expected a run folder that is free, got one that holds a run; go on with that "
                "run with --resume, replace it with --force, or name another folder with "
                "--run-folder",
                file=self.folder,
            )

    def _learn(self, read: Read) -> None:
        # this needs torch: where there is none, say so before a long file is read
        from tidegate.training.run_folder import RunStopped

        model: Any = self.model
        try:
            data, more = read()
            if self.first:
                say(f"run folder: {self.folder}")
            with counting_from(self.began), about_file(self.data):
                model.fit(*data, **more)
        except KeyboardInterrupt:
            raise KeyboardInterrupt(self._interrupted()) from None
        except RunStopped as e:
            if not self._has_state():
                raise
            problem = f"{e}: {self.invocation.command('--resume')}"
            raise InputError(problem) from e

    def _interrupted(self) -> str:
        if not self._has_state():
            return "interrupted before anything was saved"
        return f"interrupted; go on with: {self.invocation.command('--resume')}"

    def _has_state(self) -> bool:
        return (self.folder / "state.safetensors").exists()

    def _save(self) -> None:
        """Write the model; where that fails, say how to get at what was trained."""
        try:
            self.model.save(self.output, force=self.model.force)
        except InputError as e:
            if e.file is None:  # no other place would help
                raise
            elsewhere = ("--resume", "--run-folder", str(self.folder), "-o", _ELSEWHERE)
            raise InputError(
                f"{e}; what was trained is kept in {self.folder}; write it elsewhere, without "
                f"training again, with: {self.invocation.command(*elsewhere)}"
            ) from e

    def _parts(self) -> tuple[dict[str, Any], dict[str, Any], bool]:
        """Figures of the validation part and of the test part, and whether there was no such part
        of its own.
        """
        figures = self.model.metrics_
        test = {k.removeprefix("test_"): v for k, v in figures.items() if k.startswith("test_")}
        validation = {k: v for k, v in figures.items() if not k.startswith("test_")}
        return validation, test, all(k.startswith("training_") for k in validation)

    def _counts(self, test: dict[str, Any]) -> tuple[int, int]:
        """Inputs of the validation part and of the test part, 0 where the task has none."""
        counted = self.model.provenance_.get(f"validation_{self._inputs()}", 0)
        return counted, test.get("n", 0)

    def _inputs(self) -> str:
        return getattr(self.model, "INPUTS", "")

    def _print_json(self) -> None:
        validation, test, own = self._parts()
        about = self.model.provenance_
        validated, tested = self._counts(test)
        print_json(
            {
                "task": self.model.TASK,
                "model": str(self.output),
                "run_folder": str(self.folder),
                "parameters": self.model.runtime_.architecture.parameter_count(),
                "seconds": about["training_seconds"],
                "steps": about["steps"],
                "best_step": about["best_step"],
                "stopped_by": about["stopped_by"],
                "refit_steps": about.get("refit_steps", 0),
                "precision": about["precision"],
                "validation_share": about.get("validation_share", 1),
                "measured_on": "test" if test else "training" if own else "validation",
                **(test or validation),
                **accuracy_interval(test or validation, tested if test else validated),
                "validation": validation,
                "test": test or None,
                **noted(test or validation),
            }
        )

    def _report(self) -> None:
        validation, test, own = self._parts()
        about = self.model.provenance_
        validated, tested = self._counts(test)
        chosen = accuracy_told(validation, validated, self._inputs())
        told = accuracy_told(test, tested, self._inputs())
        rows = {
            k if own or k.startswith("validation") else f"validation {k}": v
            for k, v in beside_baselines(chosen).items()
        }
        rows |= {f"test {k}": v for k, v in beside_baselines(told).items()}
        rows |= {"parameters": self.model.runtime_.architecture.parameter_count()}
        rows |= {"training time": clock(about["training_seconds"])}
        steps = f"{about['steps']} (best weights at step {about['best_step']})"
        if more := about.get("refit_steps"):
            steps += f", then {more} from all data"
        rows |= {"steps": steps}
        if self.model.precision != "float32":
            rows |= {"precision": about["precision"]}
        print_table("", rows)
        say(f"curve: {self.folder / 'curve.png'}")
        say(f"model: {self.output}")
        names = {"model": quoted_path(self.output), "data": quoted_path(self.data)}
        names["data"] += f" {self.layout}" if self.layout else ""
        names["piece"] = getattr(self.model, "piece_name", "")
        say("next:  " + TASKS[self.model.TASK].then.format(**names))
