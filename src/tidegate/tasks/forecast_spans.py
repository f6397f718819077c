"""Which rows of series a forecaster learns from, and how they are read, chosen by these rows."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np

from tidegate.data.series.panel import Panel
from tidegate.data.series.scaling import Scaler
from tidegate.data.series.season import guess_season, longer_seasons
from tidegate.data.series.series import Series, filled
from tidegate.data.series.windowing import Windowing, choose_context, choose_segment
from tidegate.data.series.windows import Windows
from tidegate.data.times.calendar import calendar_parts
from tidegate.errors import InputError, spelled

_SHARE = 0.8  # of the rows before the end of the validation rows: training
_ASKED = 20  # of many series the longest ones, which tell the season
_HORIZON = 24
_OF_ROWS = 10  # a horizon has one of so many rows where that is fewer
_OF_ROWS_TOLD = 5  # of rows that are told beforehand a horizon may have more


def horizon_of(options: Any, panel: Panel) -> int:
    """How many rows ahead to forecast: what the option says, or what the rows leave room for.

    Rows of which something is known beforehand, and no value, are those to forecast.  Of many
    series the median one tells.
    """
    if options.horizon is not None:
        return int(options.horizon)
    ends = [_end(_rows(options, one, clipped=True), one) for one in panel.series]
    rows = int(np.median(ends))
    told = [len(one.known) - len(one) for one in panel.series if one.known is not None]
    if to_come := [count for count in told if count > 0]:
        return min(*to_come, max(rows // _OF_ROWS_TOLD, 1))
    return min(_HORIZON, max(rows // _OF_ROWS, 1)) if rows < 5 * _HORIZON else _HORIZON


def horizon_told(options: Any, horizon: int) -> str:
    """Why a forecast has so many rows, where nobody said how many and they are not the usual."""
    if options.horizon is not None or horizon == _HORIZON:
        return ""
    return (
        f"{horizon} rows ahead, since the rows, or what is known of those to come, leave no room "
        f"for {_HORIZON}: {spelled('horizon')} asks for others"
    )


def spans_of(options: Any, panel: Panel, horizon: int) -> list[tuple[int, int]]:
    """Ends of training and validation of each series, as rows.  Raises InputError.

    By default a fifth of the rows before the end is there to validate by, and a horizon at least:
    so short series can be judged, and those with ids have a say, too.
    """
    if panel.id_name is None:
        return [_span(options, panel.first, horizon)]
    found = []
    for one in panel.series:
        rows = _rows(options, one, clipped=True)
        end, cut = _end(rows, one), rows["train_until"]
        if cut is None:
            cut = max(_cut(end, horizon), 0)
        found.append((min(cut, end), end))
    least = horizon if options.train_until is None else 0  # before which a row must be read
    if not any(least < cut < end for cut, end in found):
        longest = max(panel.series, key=len)
        _span(options, longest, horizon)  # says what is wrong with it
        end = found[panel.series.index(longest)][1]
        raise _no_rows(options, horizon, end, " in the longest series")
    return found


def _cut(end: int, horizon: int) -> int:
    """Where the training rows end by default."""
    return min(round(_SHARE * end), end - horizon)


def _no_rows(options: Any, horizon: int, end: int, longest: str = "") -> InputError:
    """What is wrong where the validation rows leave none to learn from, and what helps."""
    # a window of training, with a context of a quarter of its rows, and one to validate by
    shorter = f", or a horizon of {3 * end // 7} or less" if end > 2 else ""
    return InputError(
        f"expected more than {max(horizon, 2)} rows, the horizon and some to learn from, got {end}"
        f"{longest}; give more rows{shorter}",
        option=end_given(options),
    )


def end_given(options: Any) -> str | None:
    """The option that says where the training rows end, if one does."""
    given = (n for n in ("train_until", "validate_until") if getattr(options, n) is not None)
    return next(given, None)


def need_answered(part: Windows, rows: str) -> None:
    """Raise InputError where no window of a part, that of such ``rows``, can be learned from."""
    if len(part.answered):
        return
    remedy = "give more rows, or fill some in"
    if part.windowing.own_scale:
        remedy = f"give more rows, or read values as they are with {spelled('own_scale', False)}"
    raise InputError(
        f"expected a window of {rows} rows whose context changes and whose horizon is known, got "
        f"none among {len(part)}; {remedy}"
    )


def first_asked(windowing: Windowing, cut: int) -> int:
    """The first row of a series with an id that training asks for.

    A series that is too short for the whole context is read from its first row on; it then gives
    one window.
    """
    return min(windowing.context, max(1, cut - windowing.horizon))


def windowing_of(options: Any, train: Panel, horizon: int, static_size: int) -> Windowing:
    """What is read and how, chosen and scaled by the training rows alone."""
    first, alone = train.first, train.id_name is None
    none = np.zeros(1, np.int64)
    series = [one for one in train.series if len(one)]
    values = [filled(one.values, none) for one in series]
    asked = sorted(range(len(series)), key=lambda i: -len(series[i]))[:_ASKED]
    season = options.season or _season([series[i] for i in asked], [values[i] for i in asked])
    longer = ()
    if options.season is None:
        found = Counter(lag for i in asked for lag in longer_seasons(first.step, values[i], season))
        longer = tuple(sorted(lag for lag, n in found.items() if 2 * n > len(asked)))
    # where many series share what they teach, each may give half of its rows to be read
    rows = len(first) if alone else 2 * int(np.median([len(one) for one in series]))
    longest = max((season, *longer))
    context = options.context or choose_context(rows, horizon, season, options.segment, longest)
    calendar = calendar_parts(first.step) if options.calendar else ()
    if options.calendar and not calendar:
        raise InputError(
            "expected rows at times of the calendar, within a year, got others; leave it out, or "
            "name a column of dates as their times",
            option="calendar",
        )
    covariates = [filled(one.covariates, none) for one in series]
    known = [one.known[: len(one)] for one in series if one.known is not None]
    return Windowing(
        names=first.names,
        covariate_names=first.covariate_names,
        step=first.step,
        context=context,
        horizon=horizon,
        season=season,
        segment=options.segment or choose_segment(context, season),
        joint=options.joint,
        anchored=options.anchored,
        scaler=Scaler.fit(np.concatenate(values)),
        covariate_scaler=Scaler.fit(np.concatenate(covariates)) if first.covariate_names else None,
        longer_seasons=longer,
        own_scale=not alone if options.own_scale is None else options.own_scale,
        known_names=first.known_names,
        known_scaler=Scaler.fit(np.concatenate(known)) if first.known_names else None,
        calendar=calendar,
        static_size=static_size,
    )


def gaps_told(panel: Panel) -> str:
    """How many values are missing, where some may be."""
    sizes = sum(one.values.size for one in panel.series)
    missing = sum(int(np.isnan(one.values).sum()) for one in panel.series)
    if not missing:
        return ""
    return (
        f"{missing:,} of {sizes:,} values are missing: the last known one is read there, and "
        "nothing is learned from them or judged by them"
    )


def unseen_from(panel: Panel) -> str | dict[str, str]:
    """The time after the last row of each series, by id where they have some."""
    after = [str(one.end) if len(one) else "" for one in panel.series]
    if panel.id_name is None:
        return after[0]
    return {str(i): time for i, time in zip(panel.ids, after, strict=True) if time}


def _season(series: list[Series], values: list[np.ndarray]) -> int:
    """The season that most series have."""
    found = [guess_season(one.step, v) for one, v in zip(series, values, strict=True)]
    return Counter(found).most_common(1)[0][0]


def _span(options: Any, series: Series, horizon: int) -> tuple[int, int]:
    rows = _rows(options, series, clipped=False)
    end = _end(rows, series)
    cut = _cut(end, horizon) if rows["train_until"] is None else rows["train_until"]
    if not horizon < cut < end and options.train_until is None:
        raise _no_rows(options, horizon, end)
    if not 0 < cut < end:
        raise InputError(
            f"expected a moment before {spelled('validate_until')} (row {end}), got row "
            f"{cut}; choose an earlier one",
            option="train_until",
        )
    return cut, end


def _end(rows: dict[str, int | None], series: Series) -> int:
    """Where the validation rows end."""
    return len(series) if rows["validate_until"] is None else rows["validate_until"]


def _rows(options: Any, series: Series, *, clipped: bool) -> dict[str, int | None]:
    """The rows that the two options name; None for one that is not given."""
    rows: dict[str, int | None] = {}
    for name in ("train_until", "validate_until"):
        value = getattr(options, name)
        try:
            rows[name] = None if value is None else series.row_of(value, clipped=clipped)
        except InputError as e:
            raise InputError(str(e), option=name) from e
    return rows
