"""Numbers and tables as text, and text that is safe to show in pages and messages."""

import csv
import io
from collections.abc import Mapping, Sequence
from numbers import Number


def percent(fraction: float) -> str:
    """0.9037 as "90.37 %"."""
    return f"{100 * fraction:.2f} %"


def duration(seconds: float) -> str:
    """`seconds` as "80 s", "25 min", "3.5 h" or "2.1 days"."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    if seconds < 5400:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h" if seconds < 48 * 3600 else f"{seconds / 86400:.1f} days"


def table(header: Sequence[str], rows: Sequence[Sequence[str]], alignment: str) -> str:
    """A Markdown table; `alignment` has one letter a column, l or r."""
    rule = [":--" if letter == "l" else "--:" for letter in alignment]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in (header, rule, *rows))


def rows_table(rows: Sequence[Mapping[str, object]]) -> str:
    """A Markdown table of `rows` with equal keys, which are its header: numbers to four digits; columns whose first value begins with a
    digit are aligned to the right.
    """
    body = [tuple(_cell(value) for value in row.values()) for row in rows]
    alignment = "".join("r" if cell.lstrip("-−")[:1].isdigit() else "l" for cell in body[0])
    return table([_cell(key) for key in rows[0]], body, alignment)


def csv_table(rows: Sequence[Mapping[str, object]]) -> str:
    """`rows` with equal keys as a table in CSV, the keys above."""
    content = io.StringIO(newline="")
    writer = csv.DictWriter(content, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return content.getvalue()


def _cell(value: object) -> str:
    if isinstance(value, bool) or not isinstance(value, Number):
        # A bar would end the cell, a star begin what is slanted.
        return ("" if value is None else str(value)).replace("|", "\\|").replace("*", "\\*")
    return f"{value:,.0f}" if float(value).is_integer() else f"{value:.4g}"


def quoted(value: object, length: int = 120) -> str:
    """`value` as it may stand in a message: on one line, without control characters, and no longer than `length`."""
    # Not more of a text than is shown: escaping megabytes would take its time.
    shown = (value if isinstance(value, str) else repr(value))[: length + 1]
    shown = "".join(letter if letter.isprintable() else repr(letter)[1:-1] for letter in shown)
    return shown if len(shown) <= length else f"{shown[:length]}…"
