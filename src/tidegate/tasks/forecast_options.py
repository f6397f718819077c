"""The options of forecasters."""

from __future__ import annotations

from dataclasses import dataclass
from math import gcd

from tidegate.errors import InputError, spelled
from tidegate.tasks.estimator import with_default
from tidegate.tasks.forecast_figures import JudgedForecaster
from tidegate.training.options import option
from tidegate.training.search_space import Among


@dataclass(kw_only=True, eq=False, repr=False)
class ForecastOptions(JudgedForecaster):
    """What a forecaster is told before it sees any series."""

    horizon: int | None = option(
        None,
        "how many rows ahead to forecast (default: 24, or a tenth of fewer than 120 rows; with "
        "columns that are known of rows to come as many as those rows)",
        at_least=1,
        common=True,
    )
    context: int | None = option(
        None,
        "how many past rows a forecast reads (default: 14 seasons and the longest season found, "
        "fewer if the series is short)",
        at_least=1,
    )
    season: int | None = option(
        None,
        "rows after which the series repeats, such as 24 for hourly data (default: guessed, and "
        "longer ones looked for)",
        at_least=1,
    )
    segment: int | None = option(
        None,
        "rows read in one recurrent step; a divisor of `context` (default: a season or a part of "
        "it)",
        at_least=1,
    )
    joint: bool = option(
        False, "forecast all series from the past of all; otherwise each from its own past"
    )
    anchored: bool = option(
        True,
        "read and forecast differences from the last known value; helps if the level drifts",
        search=Among(True, False),
    )
    own_scale: bool | None = option(
        None,
        "read each window in standard deviations of its context, so that series of any size, and "
        "new ones, are alike (default: with ids, and not without)",
    )
    calendar: bool = option(
        False,
        "also read where each row stands in day, week and year, those of the horizon, too; for "
        "what the past does not show",
    )
    linear: bool = option(
        True,
        "add a straight line beside the network: a ridge regression on what it reads, fitted "
        "first, so that the network learns what the line leaves",
    )
    loss: str = option(
        "mae",
        "error that training minimises",
        choices=("mse", "mae", "huber"),
        search=Among("mse", "mae", "huber"),
    )
    train_until: str | int | float | None = option(
        None,
        "end of the training rows: a time, a row number or a fraction of the rows (default: 0.8 of "
        "the rows before the end of the validation rows)",
    )
    validate_until: str | int | float | None = option(
        None,
        "end of the validation rows, which choose the best weights; the rows after it are the test "
        "(default: the last row, no test)",
    )
    dropout: float = with_default("dropout", 0.3)
    batch_size: int = option(
        128, "windows in one optimiser step, over all processes together", at_least=1
    )

    def check(self) -> None:
        """Raise InputError naming the first option whose value cannot be used."""
        super().check()
        if self.context and self.segment and self.context % self.segment:
            raise InputError(
                f"expected a divisor of {spelled('context')}, {self.context}, got {self.segment}; "
                f"give a smaller one that divides it, such as {gcd(self.context, self.segment)}",
                option="segment",
            )
