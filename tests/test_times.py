"""Times are read in the ways people write them, and written again in the same way."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import numpy as np
import polars
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidegate.data.series.tables import read_series
from tidegate.data.times.grid import step_from_json, step_to_json
from tidegate.data.times.styles import read_times
from tidegate.errors import InputError

BERLIN = ZoneInfo("Europe/Berlin")


def table(folder: Path, times: list[str], more: str = "") -> Path:
    path = folder / "load.csv"
    rows = [f'"{time}",{i % 7}' for i, time in enumerate(times)]
    path.write_text("\n".join(["time,load", *rows]) + "\n" + more)
    return path


def berlin(start: datetime, step: timedelta, count: int, *, wall: bool) -> list[str]:
    """Local times with their offsets, evenly apart on the wall's clock or in fact."""
    if wall:
        moments = [(start + i * step).replace(tzinfo=BERLIN) for i in range(count)]
    else:
        first = start.replace(tzinfo=BERLIN).astimezone(UTC)
        moments = [(first + i * step).astimezone(BERLIN) for i in range(count)]
    return [moment.isoformat() for moment in moments]


DAYS = [f"2016-06-{day:02}" for day in range(27, 31)]
SUMMER = timedelta(hours=1)


@pytest.mark.parametrize(
    ("times", "step", "following"),
    [
        (DAYS, "86400s", "2016-07-01"),
        (["2016-6-29", "2016-6-30"], "86400s", "2016-7-1"),
        (["2016/06/29", "2016/06/30"], "86400s", "2016/07/01"),
        (["20160629", "20160630"], "86400s", "20160701"),
        (["2016-06-30 22:00", "2016-06-30 23:00"], "3600s", "2016-07-01 00:00"),
        (["2016-06-30T22:00:00", "2016-06-30T23:00:00"], "3600s", "2016-07-01T00:00:00"),
        (["2016-06-30T22", "2016-06-30T23"], "3600s", "2016-07-01T00"),
        (["20160630T2200", "20160630T2300"], "3600s", "20160701T0000"),
        (["2016-06-30 23:00", "2016-06-30 24:00"], "3600s", "2016-07-01 01:00"),
        (["2016-06-30 22:00:00Z", "2016-06-30 23:00:00Z"], "3600s", "2016-07-01 00:00:00Z"),
        (["2016-06-30T22:00+02:00", "2016-06-30T23:00+02:00"], "3600s", "2016-07-01T00:00+02:00"),
        (["2016-06-30T22:00-0330", "2016-06-30T23:00-0330"], "3600s", "2016-07-01T00:00-0330"),
        (["2016-06-30 23:00 UTC", "2016-07-01 00:00 UTC"], "3600s", "2016-07-01 01:00 UTC"),
        # as spreadsheets export midnights
        (["6/29/2016 12:00", "6/30/2016", "6/30/2016 12:00"], "43200s", "7/1/2016 0:00"),
        (["30.06.2016 23:00", "01.07.2016 00:00"], "3600s", "01.07.2016 01:00"),
        (["31/12/2015", "01/01/2016"], "86400s", "02/01/2016"),
        (["12/31/2015", "01/01/2016"], "86400s", "01/02/2016"),
        (["2016-06-30 10:00 PM", "2016-06-30 11:00 PM"], "3600s", "2016-07-01 12:00 AM"),
        (["6/30/2016 11:30 am", "6/30/2016 12:00 pm"], "1800s", "6/30/2016 12:30 pm"),
        (["2015-11", "2015-12"], "1M", "2016-01"),
        (["2015/11", "2015/12"], "1M", "2016/01"),
        (["201511", "201512"], "1M", "201601"),
        (["11/2015", "12/2015"], "1M", "01/2016"),
        (["11.2015", "12.2015"], "1M", "01.2016"),  # no numbers: there is no month 13
        (["2015.11", "2015.12"], "1M", "2016.01"),
        (["2015.9", "2015.10", "2015.11"], "1M", "2015.12"),
        (["2015.1", "2015.2"], "0.1", "2015.3"),  # which may be tenths of a year
        (["201501", "201504"], "3M", "201507"),
        (["Nov 2015", "Dec 2015"], "1M", "Jan 2016"),
        (["November 2015", "December 2015"], "1M", "January 2016"),
        (["30-Jun-2016", "01-Jul-2016"], "86400s", "02-Jul-2016"),
        (["30 JUN 2016", "1 JUL 2016"], "86400s", "2 JUL 2016"),
        (["June 29, 2016", "June 30, 2016"], "86400s", "July 01, 2016"),
        (["2015-W52", "2015-W53"], "604800s", "2016-W01"),
        (["2015W53", "2016W01"], "604800s", "2016W02"),
        (["2015-W53-1", "2015-W53-2"], "86400s", "2015-W53-3"),
        (["201552", "201553", "201601"], "604800s", "201602"),
        (["2015Q3", "2015Q4"], "3M", "2016Q1"),
        (["2015-Q3", "2015-Q4"], "3M", "2016-Q1"),
        (["Q3 2015", "Q4 2015"], "3M", "Q1 2016"),
        (["20153", "20154", "20161"], "3M", "20162"),
        (["2015364", "2015365"], "86400s", "2016001"),
        (["2015-364", "2015-365"], "86400s", "2016-001"),
        (["2015123122", "2015123123"], "3600s", "2016010100"),
        (["201512312358", "201512312359"], "60s", "201601010000"),
        (["20151231235958", "20151231235959"], "1s", "20160101000000"),
        (["2014-12-31", "2015-01-31", "2015-02-28"], "1M", "2015-03-31"),
        (["31.12.2014", "31.01.2015", "28.02.2015"], "1M", "31.03.2015"),
        # as R's tsibble writes months and weeks
        (["1991 Nov", "1991 Dec"], "1M", "1992 Jan"),
        (["1991 W51", "1991 W52"], "604800s", "1992 W01"),
        (["2015-Dec-30", "2015-Dec-31"], "86400s", "2016-Jan-01"),
        # as spreadsheets write dates: two digits of the year, the month in letters
        (["Nov-98", "Dec-98", "Jan-99"], "1M", "Feb-99"),
        (["Nov-99", "Dec-99", "Jan-00"], "1M", "Feb-00"),
        (["Jan 17", "Feb 17"], "1M", "Mar 17"),
        (["28-Feb-16", "29-Feb-16"], "86400s", "01-Mar-16"),
        (["12/30/15", "12/31/15", "1/1/16"], "86400s", "1/2/16"),
        (["30.12.15 13:00", "31.12.15 13:00", "01.01.16 13:00"], "86400s", "02.01.16 13:00"),
        # no day is above 12, but only the month can be what changes within and over years
        (
            [f"{m:02}/01/{y}" for y in (2014, 2015) for m in range(1, 13)],
            "1M",
            "01/01/2016",
        ),
        ([f"01/{m:02}/{y}" for y in (2014, 2015) for m in (1, 4, 7, 10)], "3M", "01/01/2016"),
        (["01/01/2014", "01/01/2015"], "12M", "01/01/2016"),
        (["2014", "2015"], "1", "2016"),
        (["1467331200", "1467334800"], "3600s", "1467338400"),
        (["1467331200000", "1467334800000"], "3600s", "1467338400000"),
        (["1467331200000000000", "1467334800000000000"], "3600s", "1467338400000000000"),
        (["1467331200.0", "1467334800.0"], "3600s", "1467338400.0"),
        (["1464739200", "1467331200"], "1M", "1470009600"),  # June, July, August
        (["1000000000", "1000000001"], "1", "1000000002"),
        (["0.0", "0.5", "1.0"], "0.5", "1.5"),
        (["0", "0.333", "0.667", "1.0"], "0.333333", "1.333"),
        (["1700.25", "1700.50"], "0.25", "1700.75"),
        (["-2", "-1"], "1", "0"),
        (["2016-07-01 00:00:00.0", "2016-07-01 00:00:00.5"], "500000us", "2016-07-01 00:00:01.0"),
        (["2016-07-01 00:00:00.5", "2016-07-01 00:00:01.5"], "1s", "2016-07-01 00:00:02.5"),
        (
            ["2016-07-01T00:00:00.000000000", "2016-07-01T01:00:00.000000000"],
            "3600s",
            "2016-07-01T02:00:00.000000000",
        ),
        # weekends are left out, so they are of the forecast
        ([f"2016-06-{d}" for d in (22, 23, 24, 27, 28, 29, 30)], "1B", "2016-07-01"),
        ([f"2016-06-{d}" for d in (22, 23, 24, 27, 28)], "1B", "2016-06-29"),
        (["2016-06-22", "2016-06-23", "2016-06-24", "2016-06-27"], "1B", "2016-06-28"),
        # clocks go forward on the 27th of March and back on the 30th of October
        (berlin(datetime(2016, 3, 25), 24 * SUMMER, 4, wall=True), "86400s", "2016-03-29"),
        (berlin(datetime(2016, 10, 28), 24 * SUMMER, 4, wall=True), "86400s", "2016-11-01"),
        (berlin(datetime(2016, 3, 27), SUMMER, 4, wall=False), "3600s", "2016-03-27T05:00:00+02"),
        (berlin(datetime(2016, 10, 30), SUMMER, 5, wall=False), "3600s", "2016-10-30T04:00:00+01"),
    ],
)
def test_a_time_is_followed_by_the_next_one_in_its_own_writing(
    tmp_path: Path, times: list[str], step: str, following: str
) -> None:
    series = read_series(table(tmp_path, times), "time", ["load"])
    assert step_to_json(series.step) == step
    assert step_from_json(step) == series.step
    written = series.style.write(series.future_times(30))
    assert written[0].startswith(following)
    # what is written is read as the times that it goes on with
    both = read_series(table(tmp_path, times + written), "time", ["load"])
    assert len(both) == len(times) + 30
    assert both.step == series.step
    np.testing.assert_array_equal(both.times[: len(times)], series.times)


@pytest.mark.parametrize(
    ("times", "problem"),
    [
        (["01/02/2016", "02/02/2016"], "no row tells which number is the day .*year-month-day"),
        (["13/02/2016", "02/14/2016"], "in some rows the day comes first, in others the month"),
        (["15/12/30", "15/12/31"], "write the year in four digits"),
        (["2016-01-01", "02/01/2016"], "written as 2016-01-01, the first one, got '02/01/2016'"),
        (["2016-01-01 00:00Z", "2016-01-01 01:00"], "with its zone, as others have"),
        (["2016-01-01", ""], "fill it or remove the row"),
        (["2016-01-01", "soon"], "expected a time such as 2016-07-01 13:00, got 'soon'"),
        (["2016-02-30", "2016-03-01"], "got '2016-02-30'; rewrite it"),
        ([*(f"201601{day}" for day in range(10, 32)), "20160132"], "got 20160132, which is none"),
        (["Jan-15", "Foo-15"], "got 'Foo-15'; rewrite it"),
        (["00:00", "00:15"], "write the date before it, or number the rows"),
        (["FY2015", "FY2016"], "write the first one alone"),
        (["2015/16", "2016/17"], "write the first one alone"),
        (["2015-01-01 00:00 CET", "2015-01-01 01:00 CET"], r"as its offset from UTC, such as \+01"),
        (["9999-12-30", "9999-12-32"], "got '9999-12-32'"),
        (["2015-W54", "2016-W01"], "got '2015-W54'"),
        (["2016-01-01 13:00 PM", "2016-01-01 14:00 PM"], "got '2016-01-01 13:00 PM'"),
        (["2016-01-01 00:00:60", "2016-01-01 00:01:00"], "got '2016-01-01 00:00:60'"),
        (["٢٠١٦-٠١-٠١", "٢٠١٦-٠١-٠٢"], "expected a time such as"),
        (["1e999", "1"], "expected a finite number as time"),
        (["9" * 19, "1"], "up to 18 digits"),
        (["9" * 24 + "1", "9" * 24 + "2"], "differ in their first 15 digits, .*number the rows"),
        (["0 h", "1 h"], "rewrite it as year-month-day, or number the rows and name that column"),
        (["2016-01-01 00:00:00.1234567", "2016-01-01 00:00:01"], "got '2016-01-01 00:00:00.1234"),
    ],
)
def test_what_cannot_be_read_as_a_time_is_named_with_what_to_do(
    tmp_path: Path, times: list[str], problem: str
) -> None:
    with pytest.raises(InputError, match=f"load.csv, line [0-9]+, column 'time': .*{problem}"):
        read_series(table(tmp_path, times), "time", ["load"])


def test_months_in_digits_never_become_a_thirteenth(tmp_path: Path) -> None:
    times = [f"{year}{month:02}" for year in (2015, 2016) for month in range(1, 13)]
    series = read_series(table(tmp_path, times), "time", ["load"])
    assert series.style.write(series.future_times(2)) == ["201701", "201702"]
    assert series.row_of("201601") == 12
    assert series.row_of("2016-01") == 12
    assert series.row_of("12") == 12  # a row number has other digits


def test_numbers_that_are_no_months_stay_numbers(tmp_path: Path) -> None:
    series = read_series(table(tmp_path, [str(n) for n in range(201490, 201520)]), "time", ["load"])
    assert series.style.write(series.future_times(1)) == ["201520"]
    assert series.row_of("201500") == 10


def test_filling_is_advised_only_where_few_rows_are_missing(tmp_path: Path) -> None:
    days = [np.datetime64("2016-01-01") + i for i in range(40)]
    few = [str(d) for i, d in enumerate(days) if i != 20]
    with pytest.raises(InputError, match=r"line 22.*expected 2016-01-21.*\(1 row .*fill_gaps=True"):
        read_series(table(tmp_path, few), "time", ["load"])
    hours = [f"2016-01-{d:02} {h:02}:00" for d in range(4, 9) for h in range(9, 17)]
    with pytest.raises(InputError, match="too many to fill in; read the time between") as caught:
        read_series(table(tmp_path, hours), "time", ["load"])
    assert "fill-gaps" not in str(caught.value)


def test_a_missing_holiday_is_named_among_business_days(tmp_path: Path) -> None:
    days = [d for d in np.datetime64("2016-01-01") + np.arange(60) if np.is_busday(d)]
    times = [str(d) for d in days if str(d) != "2016-01-18"]
    with pytest.raises(InputError, match=r"expected 2016-01-18, got 2016-01-19 \(1 row missing"):
        read_series(table(tmp_path, times), "time", ["load"])
    assert len(read_series(table(tmp_path, times), "time", ["load"], fill_gaps=True)) == len(days)


def test_an_hour_that_is_there_twice_is_not_to_be_thrown_away(tmp_path: Path) -> None:
    hours = ["00:00", "01:00", "02:00", "02:00", "03:00"]
    times = [f"2016-10-30 {hour}" for hour in hours]
    with pytest.raises(InputError, match="line 5.*did clocks go back.*in UTC") as caught:
        read_series(table(tmp_path, times), "time", ["load"])
    assert "keep one" not in str(caught.value)


@pytest.mark.parametrize("stacked", [True, False])
def test_a_table_of_several_series_names_the_column_that_tells_them_apart(
    tmp_path: Path, stacked: bool
) -> None:
    rows = [(f"2016-01-{d:02}", shop, d) for shop in ("north", "south") for d in range(1, 20)]
    rows = rows if stacked else sorted(rows)
    path = tmp_path / "shops.csv"
    lines = [",".join(map(str, row)) for row in rows]
    path.write_text("\n".join(["date,shop,sales", *lines]) + "\n")
    with pytest.raises(InputError, match="got 2, told apart by the column 'shop'.*'north'") as e:
        read_series(path, "date", ["sales"])
    assert "sort" not in str(e.value)
    kept = [line for line in lines if "north" in line]
    path.write_text("\n".join(["date,shop,sales", *kept]) + "\n")
    assert len(read_series(path, "date", ["sales"])) == 19


def test_parquet_times_keep_their_zone_and_kind(tmp_path: Path) -> None:
    path = tmp_path / "load.parquet"
    days = [datetime(2016, 3, 25) + timedelta(days=i) for i in range(4)]
    for column, following in (
        (polars.Series("time", days).dt.date(), "2016-03-29"),
        (polars.Series("time", days), "2016-03-29 00:00:00"),
        (
            polars.Series("time", days).dt.replace_time_zone("Europe/Berlin"),
            "2016-03-29 00:00:00+02:00",
        ),
    ):
        polars.DataFrame([column, polars.Series("load", [1.0, 2, 3, 4])]).write_parquet(path)
        series = read_series(path, "time", ["load"])
        assert series.style.write(series.future_times(1)) == [following]
    hours = polars.Series("time", [datetime(2016, 10, 29, 22) + i * SUMMER for i in range(5)])
    hours = hours.dt.replace_time_zone("UTC").dt.convert_time_zone("Europe/Berlin")
    polars.DataFrame([hours, polars.Series("load", range(5))]).write_parquet(path)
    series = read_series(path, "time", ["load"])
    assert series.step == np.timedelta64(1, "h")
    assert series.style.write(series.future_times(1)) == ["2016-10-30 04:00:00+01:00"]


def test_a_moment_may_be_said_as_the_column_says_it(tmp_path: Path) -> None:
    days = read_series(
        table(tmp_path, ["29/06/2016", "30/06/2016", "01/07/2016"]), "time", ["load"]
    )
    assert days.row_of("01/07/2016") == 2
    assert days.row_of("2016-07-01") == 2
    times = [f"2016-07-01T{h:02}:00+02:00" for h in range(5)]
    zoned = read_series(table(tmp_path, times), "time", ["load"])
    assert zoned.row_of("2016-07-01T03:00+02:00") == 3
    assert zoned.row_of("2016-07-01T01:00Z") == 3
    assert zoned.row_of("2016-07-01 03:00") == 3  # on the column's own clock
    with pytest.raises(InputError, match=r"from 2016-07-01T00:00\+02:00 to 2016-07-01T05:00\+02"):
        zoned.row_of("2017-01-01")


moments = st.datetimes(datetime(1900, 1, 1), datetime(2100, 1, 1)).map(
    lambda t: t.replace(microsecond=0)
)
FORMS = ("%Y-%m-%d %H:%M:%S", "%d.%m.%Y %H:%M:%S", "%Y%m%d%H%M%S", "%d-%b-%Y %I:%M:%S %p")


@given(st.lists(moments, min_size=1, max_size=5, unique=True), st.sampled_from(FORMS))
def test_times_are_written_as_they_were_read(times: list[datetime], form: str) -> None:
    cells = [time.strftime(form) for time in times]
    read, style = read_times(cells)
    assert read.tolist() == times
    assert style.write(read) == cells


def test_fractions_of_days_stay_on_their_grid_for_years(tmp_path: Path) -> None:
    days = [f"{42000 + i / 24:.10f}" for i in range(20_000)]  # as spreadsheets count
    series = read_series(table(tmp_path, days), "time", ["load"])
    (following,) = series.style.write(series.future_times(1))
    assert following == f"{42000 + 20_000 / 24:.9f}"


def test_a_row_is_said_to_be_a_second_header_only_where_the_others_are_times(
    tmp_path: Path,
) -> None:
    for times, told in ((["h", *DAYS], True), (["0 h", "1 h", "2 h"], False), (["h"], False)):
        with pytest.raises(InputError) as caught:
            read_series(table(tmp_path, times), "time", ["load"])
        assert ("second header" in str(caught.value)) == told
