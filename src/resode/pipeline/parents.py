"""Ends a stage whose parent processes are gone: it must not go on unseen when the command that started it has ended."""

import os
import signal
import sys
import threading
import time

import psutil

# More than a block of updates takes, or a batch of the test, on a slow machine.
GRACE_SECONDS = 120


def stop_when_gone(seconds: float = 1.0) -> None:
    """End this process when make, DVC or a shell that started it is gone; looked at every `seconds`.

    Only ancestors in this process group count: they are the command that a user gave. The terminal's shell is in another
    one, so `nohup make repro &` lives on after logging out; a script that ends before the stage has to start it with `setsid`.
    Processes that the stage started get its signal, see `stopping`; Jupyter's kernel ends when
    its parent is gone.
    """
    group = os.getpgrp()
    watched = [parent for parent in psutil.Process().parents() if _group(parent.pid) == group]

    def watch() -> None:
        while all(_alive(parent) for parent in watched):
            time.sleep(seconds)
        print("error: the command that started this stage is gone; stopped, run it again", file=sys.stderr, flush=True)
        # As if told to: a training saves what it has done.
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(GRACE_SECONDS)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def _group(pid: int) -> int | None:
    try:
        return os.getpgid(pid)
    except OSError:
        return None


def _alive(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
