"""SIGTERM: a training saves what it has done, and a process that waits for one passes the signal on; both end as unfinished."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import psutil

from resode.base.errors import TimeOver

SAID = "stopped; run the same command to continue"


@contextmanager
def noticed() -> Iterator[threading.Event]:
    """An event that SIGTERM sets, instead of ending this process.

    Where somebody else handles the signal (Ray in its workers), and in other threads than the main one, all stays as it is.
    """
    told = threading.Event()
    if (
        threading.current_thread() is not threading.main_thread()
        or signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL
    ):
        yield told
        return
    signal.signal(signal.SIGTERM, lambda *_: told.set())
    try:
        yield told
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)


@contextmanager
def passed_on() -> Iterator[None]:
    """Pass SIGTERM on to the children of this process, which end in their own way; without children it ends the block.

    Raises:
        TimeOver: there was a SIGTERM, and the block has ended.
    """
    told = False

    def tell(*_) -> None:
        nonlocal told
        told = True
        children = psutil.Process().children()
        if not children:
            raise TimeOver(SAID)
        for child in children:
            child.terminate()

    signal.signal(signal.SIGTERM, tell)
    try:
        yield
    except TimeOver:
        raise
    except Exception:
        # A child that was not yet, or no longer, prepared for the signal fails; that is no error of its own.
        if not told:
            raise
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
    if told:
        raise TimeOver(SAID)
