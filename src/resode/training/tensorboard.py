"""The curves of a training for TensorBoard, while it runs: one scalar a column of the history and epoch."""

import os
import shutil
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from resode.base.errors import InputError


class Curves:
    """A file of events in `folder`, which begins with the rows of `history`; without the package `tensorboard` there is none.

    Events of an earlier process are deleted, so that no epoch is drawn twice.

    Raises:
        InputError: the disk is full or the folder not writable.
    """

    def __init__(self, folder: Path, history: Sequence[Mapping[str, float]]):
        self._path = folder / f"events.out.tfevents.{time.time():.0f}.{os.getpid()}"
        try:
            from tensorboard.compat.proto import event_pb2
        except ModuleNotFoundError:
            self._path = None
            return
        shutil.rmtree(folder, ignore_errors=True)
        start = event_pb2.SessionLog(status=event_pb2.SessionLog.START)
        self._append(
            [
                event_pb2.Event(wall_time=time.time(), file_version="brain.Event:2"),
                # A TensorBoard that has read the earlier files forgets what they said.
                event_pb2.Event(wall_time=time.time(), session_log=start),
            ]
        )
        self.add(*history)

    def add(self, *rows: Mapping[str, float]) -> None:
        """Append one event for each of `rows` of the history."""
        if self._path is None:
            return
        from tensorboard.compat.proto import event_pb2, summary_pb2

        events = []
        for row in rows:
            values = [
                summary_pb2.Summary.Value(tag=name, simple_value=value)
                for name, value in row.items()
                if name != "epoch"
            ]
            summary = summary_pb2.Summary(value=values)
            events.append(event_pb2.Event(wall_time=time.time(), step=row["epoch"], summary=summary))
        self._append(events)

    def _append(self, events: Sequence) -> None:
        from tensorboard.summary.writer.record_writer import RecordWriter

        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            with self._path.open("ab") as file:
                for event in events:
                    RecordWriter(file).write(event.SerializeToString())
        except OSError as error:
            raise InputError(
                f"cannot write {self._path}: {error.strerror}; free space or make the folder writable"
            ) from error
