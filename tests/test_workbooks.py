"""A sheet of an Excel workbook is a table like any other."""

from __future__ import annotations

import sys
import zipfile
from datetime import datetime, timedelta
from pathlib import Path
from xml.sax.saxutils import escape

import pytest
from labelled_texts import read_labelled_texts

from tidegate.cli import main
from tidegate.data.files.formats import Layout
from tidegate.data.files.tables import read_table
from tidegate.data.series.tables import read_series
from tidegate.errors import InputError

pytest.importorskip("fastexcel")
MAIN = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"
OFFICE = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
PACKAGE = "http://schemas.openxmlformats.org/package/2006"
TYPE = "application/vnd.openxmlformats-officedocument.spreadsheetml"


def workbook(path: Path, sheets: dict[str, list[list[object]]]) -> Path:
    """The smallest file of Office Open XML that has these sheets, dates in the second style."""
    names = [f'<sheet name="{n}" sheetId="{i}" r:id="r{i}"/>' for i, n in enumerate(sheets, 1)]
    links = [
        f'<Relationship Id="r{i}" Type="{OFFICE}/worksheet" Target="worksheets/sheet{i}.xml"/>'
        for i in range(1, len(sheets) + 1)
    ]
    links.append(f'<Relationship Id="s" Type="{OFFICE}/styles" Target="styles.xml"/>')
    parts = {
        "[Content_Types].xml": f'<Types xmlns="{PACKAGE}/content-types">'
        '<Default Extension="xml" ContentType="application/xml"/><Default Extension="rels" '
        'ContentType="application/vnd.openxmlformats-package.relationships+xml"/>'
        f'<Override PartName="/xl/workbook.xml" ContentType="{TYPE}.sheet.main+xml"/></Types>',
        "_rels/.rels": f'<Relationships xmlns="{PACKAGE}/relationships"><Relationship Id="w" '
        f'Type="{OFFICE}/officeDocument" Target="xl/workbook.xml"/></Relationships>',
        "xl/workbook.xml": f'<workbook xmlns="{MAIN}" xmlns:r="{OFFICE}"><sheets>'
        f"{''.join(names)}</sheets></workbook>",
        "xl/_rels/workbook.xml.rels": f'<Relationships xmlns="{PACKAGE}/relationships">'
        f"{''.join(links)}</Relationships>",
        "xl/styles.xml": f'<styleSheet xmlns="{MAIN}"><cellXfs><xf numFmtId="0"/>'
        '<xf numFmtId="22"/></cellXfs></styleSheet>',
    }
    for i, rows in enumerate(sheets.values(), 1):
        body = "".join(f"<row>{''.join(map(cell, row))}</row>" for row in rows)
        sheet = f'<worksheet xmlns="{MAIN}"><sheetData>{body}</sheetData></worksheet>'
        parts[f"xl/worksheets/sheet{i}.xml"] = sheet
    with zipfile.ZipFile(path, "w") as archive:
        for name, text in parts.items():
            archive.writestr(name, text)
    return path


def cell(value: object) -> str:
    if isinstance(value, datetime):
        days = (value - datetime(1899, 12, 30)) / timedelta(days=1)
        return f'<c s="1"><v>{days!r}</v></c>'
    if isinstance(value, str):
        return f'<c t="inlineStr"><is><t>{escape(value)}</t></is></c>'
    return f"<c><v>{value}</v></c>"


HOURS = [datetime(2016, 7, 1) + timedelta(hours=i) for i in range(6)]


def test_the_first_sheet_is_read_and_another_by_its_name(tmp_path: Path) -> None:
    path = workbook(
        tmp_path / "book.xlsx",
        {
            "loads": [["when", "load"], *([hour, i + 0.5] for i, hour in enumerate(HOURS))],
            "texts": [["text", "label"], ["fine & good", 1], ["awful", 0]],
        },
    )
    series = read_series(path, "when", ["load"])
    assert series.values[:, 0].tolist() == [0.5, 1.5, 2.5, 3.5, 4.5, 5.5]
    assert series.style.write(series.future_times(1)) == ["2016-07-01 06:00:00"]
    texts = read_labelled_texts(path, "text", "label", Layout(sheet="texts"))
    assert texts == (["fine & good", "awful"], ["1", "0"])
    with pytest.raises(InputError, match="expected a sheet 'other', got 'loads', 'texts'"):
        read_table(path, layout=Layout(sheet="other"))


@pytest.mark.parametrize("content", [b"PK\x03\x04no", b"a,b\n1,2\n", b"\xd0\xcf\x11\xe0no"])
def test_what_is_no_workbook_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "book.xlsx").write_bytes(content)
    with pytest.raises(InputError, match=r"expected an Excel workbook, got one .* or as \.csv"):
        read_table(tmp_path / "book.xlsx")


def test_without_its_library_the_command_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    workbook(tmp_path / "book.xlsx", {"one": [["t", "v"], [1, 2], [2, 3]]})
    monkeypatch.setitem(sys.modules, "fastexcel", None)
    assert main(["train", "forecaster", "book.xlsx", "--time", "t", "--target", "v"]) == 2
    assert "pip install 'tidegate[excel]'" in capsys.readouterr().err
