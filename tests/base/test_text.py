"""Numbers and tables as text."""

from resode.base.text import quoted, rows_table


def test_a_table_of_rows_rounds_numbers_and_keeps_bars_within_cells():
    rows = [
        {"unit": 1, "name": "a_b", "|λ|": 2.0 / 3, "match": True, "error": "−2.6e-03", "shape": [1, 2]},
        {"unit": 1000, "name": None, "|λ|": 151.0, "match": False, "error": "0", "shape": []},
        {"unit": 1e6, "name": None, "|λ|": float("inf"), "match": None, "error": "", "shape": ()},
    ]
    assert rows_table(rows).split("\n") == [
        r"| unit | name | \|λ\| | match | error | shape |",
        "| --: | :-- | --: | :-- | --: | :-- |",
        "| 1 | a_b | 0.6667 | True | −2.6e-03 | [1, 2] |",
        "| 1,000 |  | 151 | False | 0 | [] |",
        "| 1,000,000 |  | inf |  |  | () |",
    ]


def test_quoted_text_is_short_and_on_one_line():
    assert quoted("a\n\x1b[31mb") == "a\\n\\x1b[31mb"
    assert len(quoted("x" * 10**7)) == 121
