"""The tables of README.md and of docs/, each between its two marker lines and made from results/."""

import re
from pathlib import Path

from resode.analysis import sweeps
from resode.base import files, paths
from resode.base.errors import InputError
from resode.benchmarks import bench, memory, runtimes
from resode.experiments import ablation, comparison
from resode.report import fast, readme_head, release, runs_table

# The tables of each page.
TABLES = {
    "README.md": {"result": readme_head.result_table, "claim": readme_head.head},
    "docs/runs.md": {"runs": runs_table.runs_table, "pairs": runs_table.paired_table, "share": readme_head.section},
    "docs/fast.md": {"fast": fast.results_table, "fast steps": fast.steps_table, "ablation": ablation.text},
    "docs/differences.md": {"resampling": readme_head.resampling},
    "docs/predict.md": {"network": release.text, "steps": release.unroll_lengths, "runtimes": runtimes.text},
    "docs/systems.md": {"comparison": comparison.table},
    "docs/choosing.md": {"sweep": sweeps.tables},
    "docs/speed.md": {"speed": bench.table},
    "docs/memory.md": {"memory": memory.table},
}


def markers(name: str) -> tuple[str, str]:
    """The lines before and after the table `name`."""
    return f"<!-- {name} table: begin -->", f"<!-- {name} table: end -->"


def filled(page: str, text: str, tables: dict[str, str]) -> str:
    """Return `text`, the content of `page`, with each table between its markers.

    Raises:
        InputError: a marker is missing, or two are the wrong way round.
    """
    for name, table in tables.items():
        begin, end = markers(name)
        before, found_begin, rest = text.partition(begin)
        _, found_end, after = rest.partition(end)
        if not (found_begin and found_end):
            raise InputError(f"{page} needs the lines {begin} and {end}, in this order; restore them")
        # Tables link from the root of the repository.
        content = re.sub(r"\]\((?=results/|docs/)", f"]({'../' * page.count('/')}", table)
        text = f"{before}{begin}\n{content}\n{end}{after}"
    return text


def pages() -> dict[Path, str]:
    """The pages with their tables as the results have them now."""
    made = {}
    for page, tables in TABLES.items():
        path = paths.ROOT / page
        made[path] = filled(page, path.read_text(encoding="utf-8"), {name: make() for name, make in tables.items()})
    return made


def update() -> None:
    """Rewrite the tables of README.md and docs/, and the figures and numbers of results/readme."""
    readme_head.draw()
    files.write_json(paths.RESULTS / "readme" / "runs.json", runs_metrics())
    for path, text in pages().items():
        files.write_text(path, text)


def runs_metrics() -> dict[str, dict[str, float]]:
    """The main numbers of each finished run of runs.yaml by its name, for `dvc metrics`."""
    chosen = ("test_accuracy", "validation_accuracy", "train_accuracy", "epochs")
    return {
        name: {key: run["metrics"][key] for key in chosen if key in run["metrics"]}
        | {"hours": round(run["provenance"]["wall_seconds"] / 3600, 2)}
        for name, run in runs_table.read_runs().items()
    }
