"""The options of ``tidegate tune`` that are about the search, whatever the task."""

from __future__ import annotations

from tidegate.cli.command import Option
from tidegate.cli.parameters import folder_to_write, json_option, like_file, output_option
from tidegate.cli.search_folder import STUDY

_PANEL = "Search"
HELD_OUT = (
    like_file("--validation", "chooses the best weights and options (default: a part of FILE)"),
    like_file("--test", "the gain is measured on (default: --test-fraction of FILE, or a fifth)"),
)


def search_options() -> tuple[Option, ...]:
    """How long, what and how to search, and where to write what was found."""
    from tidegate.tuning.study import PRUNERS

    return (
        Option(
            "--max-minutes",
            metavar="X",
            type=float,
            help="time of all, the gain included; it ends within seconds of it",
            panel=_PANEL,
        ),
        Option(
            "--trials",
            metavar="N",
            type=int,
            help="stop after so many trials, the defaults among them",
            panel=_PANEL,
        ),
        Option(
            "--trial-minutes",
            metavar="X",
            type=float,
            help="minutes of a trial (default: so many that --max-minutes is enough for ten, and "
            "for the gain)",
            panel=_PANEL,
        ),
        Option(
            "--fix",
            metavar="OPTION=VALUE",
            multiple=True,
            help="do not search this option but keep it at VALUE, as if it were given itself; may "
            "be repeated",
            panel=_PANEL,
        ),
        Option(
            "--space",
            metavar="NAME=LOW:HIGH|A,B,...",
            multiple=True,
            help="what is drawn for an option, such as units=64:256 or cell=gru,lstm; may be "
            "repeated",
            panel=_PANEL,
        ),
        Option(
            "--show-space",
            is_flag=True,
            help="show what would be searched and exit; FILE is not needed",
            panel=_PANEL,
        ),
        Option(
            "--seeds",
            metavar="N",
            type=int,
            default=3,
            help="runs of the defaults and of the winner that the gain is measured by, each with "
            "another seed; 0 for machines that only help with trials",
            panel=_PANEL,
        ),
        Option(
            "--pruner",
            metavar="NAME",
            default="median",
            help=f"when a trial is stopped that is behind others: {', '.join(PRUNERS)}",
            panel=_PANEL,
        ),
        Option(
            "--storage",
            metavar="URL",
            help="database for the trials, such as sqlite:///study.db or postgresql://HOST/NAME, "
            f"which several machines may share (default: {STUDY} in the folder of -o)",
            panel=_PANEL,
        ),
        Option(
            "--study",
            metavar="NAME",
            help="name of the study in the database (default: named after FILE and the task)",
            panel=_PANEL,
        ),
        Option(
            "--resume",
            is_flag=True,
            help="add trials to the study that is there, also from further machines",
            panel=_PANEL,
        ),
        output_option(
            "folder for the study, the picture and the winner (default: in this folder, named "
            "after FILE and the task)",
            _PANEL,
            folder_to_write,
        ),
        json_option(_PANEL),
    )
