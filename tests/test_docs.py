"""The pages: every link leads somewhere, every generated table is current, lengths are kept."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[1]
PAGES = sorted([*REPOSITORY.glob("*.md"), *(REPOSITORY / "docs").rglob("*.md")])
LONGEST = {"README.md": 120, "docs/results.md": 250}  # lines that a stranger reads


def _anchors(page: Path) -> set[str]:
    """The names under which headings of a page can be linked to, as GitHub makes them."""
    found = set()
    for heading in re.findall(r"^#+ (.*)$", page.read_text(encoding="utf-8"), re.MULTILINE):
        kept = re.sub(r"[^\w\- ]", "", heading.lower())
        found.add(kept.replace(" ", "-"))
    return found


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.relative_to(REPOSITORY).as_posix())
def test_every_link_leads_somewhere(page: Path) -> None:
    text = re.sub(r"```.*?```|`[^`\n]*`", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if target.startswith(("http://", "https://")):
            continue
        path, _, anchor = target.partition("#")
        there = page.parent / path if path else page
        assert there.exists(), f"{target}: no such file"
        assert not anchor or anchor in _anchors(there), f"{target}: no such heading"


@pytest.mark.parametrize(("name", "lines"), LONGEST.items())
def test_a_page_stays_short_enough_to_be_read(name: str, lines: int) -> None:
    assert len((REPOSITORY / name).read_text(encoding="utf-8").splitlines()) <= lines


def test_generated_tables_are_those_of_the_result_files(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(REPOSITORY / "benchmarks"))
    monkeypatch.syspath_prepend(str(REPOSITORY / "benchmarks" / "reproduce"))
    import results_page

    for page in results_page.PAGES:
        text = page.read_text(encoding="utf-8")
        assert results_page.current(text) == text, f"{page}: python benchmarks/results_page.py"


def test_a_changed_figure_makes_a_page_stale(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(REPOSITORY / "benchmarks"))
    monkeypatch.syspath_prepend(str(REPOSITORY / "benchmarks" / "reproduce"))
    import results_page

    rows = results_page.rows_of("ett")
    rows[0]["mean_test_mse"] = 9.999
    monkeypatch.setattr(results_page, "rows_of", lambda name: rows)  # noqa: ARG005
    page = "<!-- table: ett -->\nold <!-- /table -->\nwords"
    assert "**9.999**" in results_page.current(page)
    assert results_page.current(page).endswith("<!-- /table -->\nwords")


def test_a_changed_figure_changes_the_sentence_about_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(REPOSITORY / "benchmarks"))
    import results_words

    rows = [
        {"name": "gru-9", "test_cross_entropy": 1.5, "published": 1.25},
        {"name": "gru-8", "test_cross_entropy": 1.0, "published": 1.25},
    ]
    assert results_words.missed_characters(lambda _: rows).endswith("figure: gru-9 by 0.250.")
    rows = [{"data": "a", "mean_accuracy": 0.5, "dtw_accuracy": 0.75}]
    assert "a (0.500, the neighbour 0.750)" in results_words.missed_sequences(lambda _: rows)
    assert results_words.missed_sequences(lambda _: []).endswith(": none.")
    row = {"task": "copying", "cell": "lstm", "test": 1.0, "baseline": 4.0, "solved": False}
    assert "LSTM, copying: 25.0 % of" in results_words.missed_memory(lambda _: [row])
    tests = [{"data": d, "test": {"accuracy": 0.5, "n": 100}} for d in ("sst2", "imdb")]
    assert "100 sentences of SST-2 has a standard error of 0.050" in results_words.standard_errors(
        lambda _: tests
    )
