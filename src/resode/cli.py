"""The command `resode` (or `python -m resode`): one subcommand a task, wrong input as one line and exit status 1."""

import argparse
import importlib
import importlib.util
import math
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

import resode
from resode.base import environment, paths
from resode.base.errors import InputError, TimeOver
from resode.base.text import quoted
from resode.pipeline.stages import STAGES, UNFINISHED

# An error's lines and the letters in each that are shown.
_LINES, _LETTERS = 40, 2000


def main(arguments: list[str] | None = None) -> int:
    """Run one subcommand and return the exit status.

    0; 1 after one line on stderr that says what is wrong; 75 if the time given was over before the training was, or SIGTERM
    came, and the same command continues.
    """
    if arguments is None and (other := paths.elsewhere()):
        _run_in(other)
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            # Closed by who started this, as by `>&-`.
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115
    # Written to a pipe (DVC, make), output is for people to watch as much as on a terminal, one that may not have every letter.
    sys.stdout.reconfigure(line_buffering=True, errors="replace")
    chosen = _parser().parse_args(arguments)
    if chosen.run is None:
        _parser().print_help()
        return 0
    environment.own()
    try:
        if not getattr(chosen, "low_memory", False):
            environment.check_backend()
        if "DVC_STAGE" in os.environ or chosen.dvc:
            paths.check_for_dvc()
        chosen.run(chosen)
    except KeyboardInterrupt:
        print("stopped; run the same command again", file=sys.stderr)
        return 130
    except InputError as error:
        # What it quotes may be of a file that anyone wrote.
        given = sys.argv[1:] if arguments is None else arguments
        # A newline within the name of a file does not end a line of the message.
        lines = [str(error)] if any("\n" in argument for argument in given) else str(error).split("\n")[:_LINES]
        print("error: " + "\n".join(quoted(line, _LETTERS) for line in lines), file=sys.stderr)
        return 1
    except OSError as error:
        # A name that is too long, for example, wherever it is used first.
        print(f"error: {quoted(error.filename or 'the system')}: {error.strerror or quoted(error)}", file=sys.stderr)
        return 1
    except ModuleNotFoundError as error:
        if error.name and error.name.startswith("resode"):
            raise
        print(f"error: this needs {error.name}, which is not installed; run: make setup", file=sys.stderr)
        return 1
    except TimeOver as pause:
        if pause.args:
            print(pause, file=sys.stderr)
        return UNFINISHED
    return 0


def _run_in(repository: Path) -> NoReturn:
    """Run the same command with the code of `repository`: the one a user stands in is meant, whichever is installed."""
    path = os.pathsep.join([str(repository / "src"), *filter(None, [os.environ.get("PYTHONPATH")])])
    os.execve(sys.executable, [sys.executable, "-m", "resode", *sys.argv[1:]], os.environ | {"PYTHONPATH": path})


def _minutes(text: str) -> float:
    try:
        minutes = float(text)
    except ValueError:
        minutes = math.nan
    if not minutes > 0:
        raise argparse.ArgumentTypeError(f"{quoted(repr(text))} is no positive number")
    return minutes


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="resode", description=__doc__)
    parser.add_argument("--version", action="version", version=f"%(prog)s {resode.__version__}")
    parser.set_defaults(run=None, dvc=False)
    commands = parser.add_subparsers(metavar="COMMAND")

    def add(
        name: str, run: Callable[[argparse.Namespace], None], text: str, **defaults: Any
    ) -> argparse.ArgumentParser:
        command = commands.add_parser(name, help=text)
        command.set_defaults(run=run, **defaults)
        return command

    cifar10 = add("cifar10", _cifar10, "write data/cifar10, verified, from the network or from a file", dvc=True)
    cifar10.add_argument("archive", nargs="?", help="cifar-10-binary.tar.gz or an unpacked cifar-10-batches-bin folder")
    add("digits", _digits, "write data/digits")
    for stage in STAGES:
        add(stage, _stage, f"execute and render notebooks/{stage}.ipynb", stage=stage)
    demo = add(
        "demo", _calling("report.demo.run", "set"), "run the pipeline on digits; results in build/demo", dvc=True
    )
    run = add(
        "run",
        _calling("experiments.runs.run", "name", "minutes"),
        "the stages of a run of runs.yaml, or without NAME the pipeline's, without DVC",
    )
    run.add_argument("name", nargs="?", metavar="NAME", help="a run of runs.yaml; its results are in results/runs/NAME")
    run.add_argument("--minutes", type=_minutes, default=float("inf"), help="stop training after so long; again: go on")
    hand_over = add(
        "hand-over",
        _hand_over,
        "write a run's furthest checkpoint beside its results, for git: `run` goes on from it in any clone",
    )
    predict = add("predict", _predict, "class probabilities of image files")
    predict.add_argument("images", type=Path, nargs="+", metavar="IMAGE", help="an image file of any size")
    predict.add_argument(
        "--weights",
        type=Path,
        help="folder that a training left, by default results/training, or file NAME.safetensors of export, by default the one in"
        " git",
    )
    predict.add_argument(
        "--low-memory",
        action="store_true",
        help="one unit's weights at a time, NumPy alone, as with any file of export",
    )
    predict.add_argument("--unroll-length", type=int, metavar="N", help="steps a unit, if other than trained with")
    export = add(
        "export", _export, "write a trained network to a file for predict --low-memory, or for ONNX Runtime or LiteRT"
    )
    export.add_argument("file", type=Path, metavar="FILE", help="NAME.safetensors, NAME.onnx or NAME.tflite")
    export.add_argument(
        "--weights",
        type=Path,
        help="folder that a training left, by default results/training; for .onnx and .tflite also a file of export,"
        " without a training by default the one in git",
    )
    export.add_argument("--int8", action="store_true", help="convolutions in 8 bits: NAME.onnx of a fourth of the size")
    publish = add("publish", _publish, "put a finished run's weights and a model card where git carries them")
    for command in (hand_over, publish):
        command.add_argument(
            "name", nargs="?", metavar="NAME", help="a run of runs.yaml, by default the pipeline's own"
        )
    verify = add("verify", _calling("report.release.verify", "weights"), "the test accuracy of the weights in git")
    verify.add_argument("--weights", type=Path, metavar="FILE", help="or of a file of export, in its own runtime")
    compare = add(
        "compare",
        _calling("experiments.comparison.run", "set"),
        "blocks and integrators of comparison.yaml, to results/comparison (an hour)",
    )
    memory = add(
        "memory",
        _calling("benchmarks.memory.run", "set"),
        "memory of training and of inference, to results/memory (20 minutes)",
    )
    bench = add(
        "bench",
        _calling("benchmarks.bench.run", "name", "set"),
        "milliseconds an update on this machine, to results/bench (10 minutes; of a run, 30)",
    )
    bench.add_argument(
        "name", nargs="?", metavar="NAME", help="a run of runs.yaml, measured beside params.yaml's setting"
    )
    for command in (demo, compare, memory, bench):
        command.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="change a parameter")
    add(
        "ablate",
        _calling("experiments.ablation.run"),
        "what each part of the fast training brings, to results/ablation (hours)",
    )
    runtimes = add(
        "runtimes",
        _calling("benchmarks.runtimes.run", "what"),
        "the weights in git in other runtimes, to results/runtimes (an hour)",
    )
    runtimes.add_argument("what", nargs="?", choices=("accuracy", "speed"), help="by default both; speed takes minutes")
    sweep = add("sweep", _sweep, "choose h and the unroll length on validation images, to results/sweep")
    sweep.add_argument("name", nargs="?", default="digits", metavar="NAME", help="a sweep of sweep.yaml")
    sweep.add_argument("--address", metavar="HOST:PORT", help="of a Ray cluster, or auto; by default Ray starts here")
    sweep.add_argument("--cpus", type=int, default=1, help="CPUs of a trial on Ray")
    sweep.add_argument("--gpus", type=float, default=0, help="GPUs of a trial on Ray")
    add("readme", _calling("report.readme.update"), "fill the tables of README.md and docs/ from results/")
    add("site", _site, "make build/site of docs/ and the pages in results/")
    commit = add(
        "commit",
        _commit,
        "tell DVC that the results here belong to the code here; they must have been made with params.yaml",
        dvc=True,
    )
    commit.add_argument("stages", nargs="*", metavar="STAGE", help="by default all that are notebooks")
    add("check", _check, "check params.yaml and the backend", dvc=True)
    completion = add("completion", _completion, "print a script that lets a shell complete `resode`")
    completion.add_argument("shell", choices=("bash", "zsh", "tcsh"))
    return parser


def _calling(target: str, *names: str) -> Callable[[argparse.Namespace], None]:
    """A command that calls the function `target` with the arguments of these `names`, and says which file it wrote, if it returns one."""

    def run(chosen: argparse.Namespace) -> None:
        module, _, function = target.rpartition(".")
        call = getattr(importlib.import_module(f"resode.{module}"), function)
        if written := call(*(getattr(chosen, name) for name in names)):
            print(f"Written: {written.relative_to(paths.ROOT)}; next: python -m resode readme")

    return run


def _cifar10(chosen: argparse.Namespace) -> None:
    from resode.config import parameters
    from resode.data import cifar10
    from resode.pipeline import inputs

    content = parameters.read()
    required = parameters.validate(content).data.require_published
    # Unlike Path.expanduser it leaves ~name as it is where there is no such user.
    archive = Path(os.path.expanduser(chosen.archive)) if chosen.archive else None
    with inputs.unchanged("cifar10", content):
        published = cifar10.write(paths.dataset("cifar10"), required, archive)
    print("CIFAR-10: " + ("every member is the published one." if published else "content DIFFERS from the published."))


def _digits(chosen: argparse.Namespace) -> None:
    from resode.config import parameters
    from resode.data import digits
    from resode.pipeline import inputs

    content = parameters.read()
    parameters.validate(content)
    with inputs.unchanged("digits", content):
        digits.write(paths.dataset("digits"))


def _stage(chosen: argparse.Namespace) -> None:
    from resode.base import stopping
    from resode.pipeline import notebook, parents

    parents.stop_when_gone()
    with stopping.passed_on():
        notebook.run(chosen.stage)


def _hand_over(chosen: argparse.Namespace) -> None:
    from resode.experiments import runs

    print(f"Written: {runs.hand_over(chosen.name).relative_to(paths.ROOT)}; commit it")


def _predict(chosen: argparse.Namespace) -> None:
    # NumPy's threads wait for one another: beside other work they take tens of times as long as one, which is as fast on images this small.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    from resode.inference import predict

    predict.run(chosen.images, chosen.weights, chosen.low_memory, chosen.unroll_length)


def _export(chosen: argparse.Namespace) -> None:
    from resode.inference import runtimes

    if chosen.file.suffix not in (".safetensors", *runtimes.SUFFIXES):
        raise InputError(f"a file is NAME.safetensors, NAME.onnx or NAME.tflite, not {quoted(chosen.file.name)}")
    if chosen.file.suffix in runtimes.SUFFIXES or chosen.int8:
        runtimes.export(chosen.weights, chosen.file, chosen.int8)
        return
    from resode.inference import trained

    trained.export(chosen.weights or paths.results("training"), chosen.file)


def _publish(chosen: argparse.Namespace) -> None:
    from resode.report import release

    release.write(chosen.name)
    print(f"Written: {paths.NETWORK.parent.relative_to(paths.ROOT)}; next: python -m resode readme")


def _sweep(chosen: argparse.Namespace) -> None:
    from resode.experiments import sweep, sweep_ray, trials

    ray = chosen.address or importlib.util.find_spec("ray")
    engine = sweep_ray.Cluster(chosen.address, chosen.cpus, chosen.gpus) if ray else trials.Here()
    print(f"Written: {sweep.run(chosen.name, engine).relative_to(paths.ROOT)}; next: python -m resode readme")


def _site(chosen: argparse.Namespace) -> None:
    from resode.report import site

    print(f"Site: {site.build().relative_to(paths.ROOT)}")


def _commit(chosen: argparse.Namespace) -> None:
    from resode.pipeline import commit

    commit.run(chosen.stages or STAGES)


def _check(chosen: argparse.Namespace) -> None:
    from resode.config import parameters

    content = parameters.read()
    parameters.validate(content)
    count = sum(len(section) if isinstance(section, dict) else 1 for section in content.values())
    print(f"{paths.PARAMS.name}: all {count} values valid")


def _completion(chosen: argparse.Namespace) -> None:
    import shtab

    print(shtab.complete(_parser(), chosen.shell))
