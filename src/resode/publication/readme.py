"""The tables of the README, each between its two marker lines and made from results/."""

from pathlib import Path

from resode.analysis import sweeps
from resode.base import files, paths
from resode.base.errors import InputError
from resode.publication import claim, publish, report
from resode.studies import bench, comparison, memory

TABLES = {
    "claim": claim.head,
    "result": report.readme_table,
    "runs": report.runs_table,
    "share": claim.section,
    "network": publish.text,
    "comparison": comparison.table,
    "sweep": sweeps.tables,
    "speed": bench.table,
    "memory": memory.table,
}


def markers(name: str) -> tuple[str, str]:
    """The lines before and after the table `name`."""
    return f"<!-- {name} table: begin -->", f"<!-- {name} table: end -->"


def filled(text: str, tables: dict[str, str]) -> str:
    """`text` with each table between its markers.

    Raises:
        InputError: a marker is missing, or two are the wrong way round.
    """
    for name, table in tables.items():
        begin, end = markers(name)
        before, found_begin, rest = text.partition(begin)
        _, found_end, after = rest.partition(end)
        if not (found_begin and found_end):
            raise InputError(f"README.md needs the lines {begin} and {end}, in this order; restore them")
        text = f"{before}{begin}\n{table}\n{end}{after}"
    return text


def update(readme: Path = paths.ROOT / "README.md") -> None:
    """Rewrite the tables of `readme`, and the figures and numbers of results/readme."""
    claim.draw()
    files.write_json(paths.RESULTS / "readme" / "runs.json", runs_metrics())
    files.write_text(
        readme, filled(readme.read_text(encoding="utf-8"), {name: make() for name, make in TABLES.items()})
    )


def runs_metrics() -> dict[str, dict[str, float]]:
    """The main numbers of each finished run of runs.yaml by its name, for `dvc metrics`."""
    chosen = ("test_accuracy", "validation_accuracy", "train_accuracy", "epochs")
    return {
        name: {key: run["metrics"][key] for key in chosen if key in run["metrics"]}
        | {"hours": round(run["provenance"]["wall_seconds"] / 3600, 2)}
        for name, run in report.read_runs().items()
    }


def is_current(readme: Path = paths.ROOT / "README.md") -> bool:
    """Return whether the tables of `readme` are those that results/ give."""
    text = readme.read_text(encoding="utf-8")
    return filled(text, {name: make() for name, make in TABLES.items()}) == text
