"""The progress line of a training: rewritten in place on a terminal, elsewhere a new line from time to time."""

import os
import shutil
import sys
import threading
import time
from collections.abc import Callable, Mapping

from resode.base.text import duration

# Environment variable: the width of the terminal that shows what a notebook's kernel prints, or 0.
COLUMNS = "RESODE_COLUMNS"
# Seconds between two looks at a moving line; between two new lines in the first minute, and later.
_MOVING, _FIRST, _LATER = 1, 10, 60


def columns() -> int:
    """Return the width of the terminal on which a line can move; 0 in a pipe, and under DVC and make, whose output is kept."""
    if COLUMNS in os.environ:
        return int(os.environ[COLUMNS])
    if not sys.stdout.isatty() or {"DVC_STAGE", "MAKELEVEL"} & os.environ.keys():
        return 0
    return shutil.get_terminal_size().columns


class Clock:
    """Seconds in which this process was not suspended by anyone, while the block of this context runs: a thread looks every second, and
    what it slept much longer is left out.
    """

    _EACH, _SUSPENDED = 1.0, 10.0

    def __init__(self) -> None:
        self._left_out, self._looked = 0.0, time.monotonic()
        self._lock, self._end = threading.Lock(), threading.Event()

    def __enter__(self) -> None:
        self._looked = time.monotonic()
        threading.Thread(target=self._look, daemon=True).start()

    def __exit__(self, *_) -> None:
        self._end.set()

    def _look(self) -> None:
        while not self._end.wait(self._EACH):
            self.seconds()

    def seconds(self) -> float:
        """Seconds since some moment."""
        with self._lock:
            now = time.monotonic()
            if (slept := now - self._looked) > self._SUSPENDED:
                self._left_out += slept - self._EACH
            self._looked = now
            return now - self._left_out


class Progress:
    """Epoch, share of it done, loss, accuracy, time left, speed and the last test of a training.

    Args:
        epochs: of the whole training.
        per_epoch: updates an epoch.
        seconds: the clock, such as `Clock.seconds`: a suspended computer trains no slower.
    """

    def __init__(self, epochs: int, per_epoch: int, seconds: Callable[[], float]):
        self._epochs, self._per_epoch, self._seconds = epochs, per_epoch, seconds
        self._columns = columns()
        # Whether a line that moves waits for its end.
        self._open = False
        self._started = self._shown = self._seconds()
        # The update after the first compiled call, and when that was; seconds of the tests since, and of the last one.
        self._first: tuple[int, float] | None = None
        self._tests = self._test = 0.0
        self._tested = ""
        # Seconds an update, as far as they are known.
        self._each: float | None = None

    def begin(self, update: int) -> None:
        """Measure the speed from here on: the call up to `update` has compiled."""
        if not self._first:
            self._first, self._tests = (update, self._seconds()), 0.0

    def measure_anew(self) -> None:
        """Forget when the measurement began: updates cost something else from here on, and the next call compiles."""
        self._first = None

    def add_test(self, row: Mapping[str, float], split: str, seconds: float) -> None:
        """Take the test accuracy of an epoch from its `row` of the history; its test took so many `seconds`."""
        self._tested = f", {split} accuracy {row[f'{split}_accuracy']:.4f} after epoch {row['epoch']}"
        self._tests, self._test = self._tests + seconds, seconds

    def due(self) -> bool:
        """Return whether it is time to show something, so that nothing is fetched from the device before."""
        now = self._seconds()
        later = _FIRST if now - self._started <= 60 else _LATER
        return now - self._shown >= (_MOVING if self._columns else later)

    def show_updates(self, update: int, metrics: Mapping[str, float]) -> None:
        """Show that `update` updates are done.

        Args:
            metrics: loss and accuracy of the epoch so far.
        """
        if self._first and update > self._first[0]:
            self._each = (self._seconds() - self._first[1] - self._tests) / (update - self._first[0])
        epoch = (update - 1) // self._per_epoch
        share = (update - epoch * self._per_epoch) / self._per_epoch
        self._show(
            f"epoch {epoch + 1}/{self._epochs} {share:.0%}, loss {metrics['loss']:.4f}, accuracy"
            f" {metrics['accuracy']:.4f}{self._left(update)}{self._tested}"
        )

    def show_test(self, update: int, share: float) -> None:
        """Show that `share` of the test after `update` updates is done."""
        self._show(
            f"epoch {update // self._per_epoch}/{self._epochs} tested to {share:.0%}{self._left(update)}{self._tested}"
        )

    def end(self) -> None:
        """End a line that moves."""
        if self._open:
            print(flush=True)
        self._open = False

    def _left(self, update: int) -> str:
        if self._each is None:
            return ""
        left = self._each * (self._epochs * self._per_epoch - update)
        left += self._test * (self._epochs - update // self._per_epoch)
        then = time.localtime(time.time() + left)
        ends = time.strftime("%H:%M" if left < 12 * 3600 else "%d %b %H:%M", then)
        return f", {duration(left)} left, ends {ends}, {1000 * self._each:.1f} ms an update"

    def _show(self, text: str) -> None:
        self._shown = self._seconds()
        if self._columns:
            width = self._columns - 1
            print("\r" + text[:width].ljust(width), end="", flush=True)
            self._open = True
        else:
            print(text, flush=True)
