"""Stopping on SIGTERM, or on SIGUSR1, which schedulers send some time before it: a training saves what it has done, a process that
waits for one passes the signal on, and both end as unfinished.
"""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import psutil

from resode.base.errors import TimeOver

_SIGNALS = (signal.SIGTERM, signal.SIGUSR1)
SAID = "stopped; run the same command to continue"


@contextmanager
def noticed() -> Iterator[threading.Event]:
    """An event that one of `_SIGNALS` sets, instead of ending this process.

    A signal that somebody else handles (Ray in its workers) is left alone. Outside the main thread this does nothing.
    """
    stop = threading.Event()
    free = threading.current_thread() is threading.main_thread()
    mine = [one for one in _SIGNALS if free and signal.getsignal(one) is signal.SIG_DFL]
    for one in mine:
        signal.signal(one, lambda *_: stop.set())
    try:
        yield stop
    finally:
        for one in mine:
            signal.signal(one, signal.SIG_DFL)


@contextmanager
def passed_on() -> Iterator[None]:
    """Pass `_SIGNALS` on to the children of this process, which end in their own way; without children it ends the block.

    Raises:
        TimeOver: there was such a signal, and the block has ended.
    """
    signalled = False

    def tell(number: int, _) -> None:
        nonlocal signalled
        signalled = True
        children = psutil.Process().children()
        if not children:
            raise TimeOver(SAID)
        for child in children:
            child.send_signal(number)

    for one in _SIGNALS:
        signal.signal(one, tell)
    try:
        yield
    except TimeOver:
        raise
    except Exception:
        # A child that was not yet, or no longer, prepared for the signal fails; that is no error of its own.
        if not signalled:
            raise
    finally:
        for one in _SIGNALS:
            signal.signal(one, signal.SIG_DFL)
    if signalled:
        raise TimeOver(SAID)
