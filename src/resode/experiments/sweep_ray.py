"""Trials as Ray tasks: on the cores or GPUs of this machine, or of a cluster.

Every machine of a cluster sees this repository under the same path, on shared storage: the code, the data set and each trial's
folder .runs/sweep/TRIAL with its checkpoint, from which a trial goes on elsewhere when its machine is lost.

P. Moritz et al. (2018), "Ray: A Distributed Framework for Emerging AI Applications", OSDI.
"""

import contextlib
import os
import secrets
import signal
import socket
from collections.abc import Sequence
from pathlib import Path

from resode.analysis.sweeps import FAILED
from resode.base import environment, paths
from resode.base.errors import InputError
from resode.data import records
from resode.experiments.trials import Trial, Watch, train

_WATCH_SECONDS = 10
# After a failure of the trial or the loss of its machine.
_RETRIES = 3
# Environment variables that decide how a trial computes.
_HANDED_ON = ("KERAS_BACKEND", "KERAS_HOME", "TF_CPP_MIN_LOG_LEVEL", "XLA_FLAGS", environment.ONEDNN)


class Cluster:
    """`run` trials on Ray, as many at once as there are resources for.

    Args:
        address: of a running cluster, "HOST:PORT" or "auto"; None starts Ray on this machine, for this sweep.
        cpus, gpus: resources of one trial. With a fraction of a GPU several trials share one.
        runs: folder of the trials' folders.
    """

    name = "ray"

    def __init__(self, address: str | None = None, cpus: int = 1, gpus: float = 0, runs: Path = paths.RUNS / "sweep"):
        if cpus < 1 or gpus < 0:
            raise InputError(f"--cpus {cpus} --gpus {gpus:g}: a trial needs at least one CPU, and no fewer GPUs than 0")
        self.address, self.cpus, self.gpus, self.runs = address, cpus, gpus, runs

    def run(self, trials: Sequence[Trial], watch: Watch) -> None:
        """Run all trials and report them to `watch`; one whose training is complete only writes its results again.

        Raises:
            InputError: Ray is not installed or not there, a cluster's token is missing, it has no machine for a trial, or the data set is missing.
        """
        # Before anything starts, and once for all.
        data = paths.dataset(trials[0].params.data.name)
        records.load(data)
        self._lock()
        try:
            os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
            import ray
        except ImportError as error:
            raise InputError("Ray is not installed; run: pip install '.[cluster]'") from error
        self._connect(ray)
        try:
            self._run(ray, data, trials, watch)
        finally:
            ray.shutdown()

    def _lock(self) -> None:
        """Let nobody in without the token: whoever reaches an open port of Ray's could run any code."""
        os.environ["RAY_AUTH_MODE"] = "token"
        given = any(os.environ.get(name) for name in ("RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"))
        if given or (Path.home() / ".ray" / "auth_token").is_file():
            return
        if self.address:
            raise InputError(
                f"--address {self.address}: no token of this cluster here; make one on its first machine with"
                " `ray get-auth-token --generate` and copy ~/.ray/auth_token from there"
            )
        os.environ["RAY_AUTH_TOKEN"] = secrets.token_hex(32)

    def _connect(self, ray) -> None:
        handed_on = {name: os.environ[name] for name in _HANDED_ON if name in os.environ}
        environment = {"env_vars": {**handed_on, "PYTHONPATH": paths.python_path()}}
        try:
            host, colon, port = (self.address or "").rpartition(":")
            if colon:
                # Ray would try for minutes.
                socket.create_connection((host, int(port)), timeout=10).close()
            # Ray's sockets are there.
            short = None if self.address or "RAY_TMPDIR" in os.environ else f"{paths.short_temporary()}/ray"
            ray.init(
                self.address or "local",
                _temp_dir=short,
                log_to_driver=False,
                logging_level="error",
                configure_logging=False,
                runtime_env=environment,
            )
            # Ray's own handler prints a stack trace.
            signal.signal(signal.SIGTERM, signal.default_int_handler)
        except Exception as error:
            # Ray raises a bare one if it takes too long to start.
            said = " ".join(str(error).split())
            if self.address is None:
                raise InputError(f"Ray does not start: {said}") from error
            raise InputError(f"no Ray cluster at {self.address}: {said}; start one with: ray start --head") from error

    def _run(self, ray, data: Path, trials: Sequence[Trial], watch: Watch) -> None:
        machines = [node["Resources"] for node in ray.nodes() if node["Alive"]]
        if not any(has.get("CPU", 0) >= self.cpus and has.get("GPU", 0) >= self.gpus for has in machines):
            raise InputError(f"no machine of the cluster has {self.cpus} CPUs and {self.gpus:g} GPUs for a trial")
        # A process for each trial: a device's memory is free again, and nothing of one trial is left to the next.
        task = ray.remote(
            num_cpus=self.cpus, num_gpus=self.gpus, max_calls=1, max_retries=_RETRIES, retry_exceptions=True
        )(_train)
        pending = {task.remote(trial, data, self.runs / trial.name): trial for trial in trials}
        watch.tell(0)
        while pending:
            over, _ = ray.wait(list(pending), timeout=_WATCH_SECONDS)
            for one in over:
                trial = pending.pop(one)
                try:
                    status, reason = ray.get(one)
                    watch.over(trial, status, self.runs / trial.name / "results", reason)
                except ray.exceptions.RayError as error:
                    watch.over(trial, FAILED, reason=str(error).strip().splitlines()[-1])
            used = ray.cluster_resources().get("CPU", 0) - ray.available_resources().get("CPU", 0)
            watch.tell(min(len(pending), round(used / self.cpus)))


def _train(trial: Trial, data: Path, home: Path) -> tuple[str, str]:
    """Train one trial in `home`: its `results`, its checkpoints in `runs`, and what training prints in `log`.

    Returns:
        DONE, DIVERGED or FAILED, and why it failed. Wrong input is no exception, after which Ray would try again in vain.
    """
    home.mkdir(parents=True, exist_ok=True)
    with (home / "log").open("a", encoding="utf-8") as log, contextlib.redirect_stdout(log):
        try:
            return train(trial, records.load(data), home / "results", home / "runs"), ""
        except InputError as error:
            print(error, flush=True)
            return FAILED, str(error)
