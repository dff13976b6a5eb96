"""Data sets in the CIFAR binary record format, whatever their origin.

A record is 3,073 bytes: one label, then 1,024 red, 1,024 green and 1,024 blue values of a 32×32 image, each
plane row by row (https://www.cs.toronto.edu/~kriz/cifar.html, "Binary version"). A data set is a folder of
``data_batch_1.bin``, ``data_batch_2.bin``, … (training), ``test_batch.bin`` (test) and ``dataset.json``.
"""

import hashlib
import json
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from resode.base.errors import InputError
from resode.base.files import parse_json, read_bytes, replaced
from resode.base.text import quoted, refused_names, refused_title

SIDE = 32
CHANNELS = 3
RECORD_BYTES = 1 + CHANNELS * SIDE * SIDE
DESCRIPTION = "dataset.json"
# Of a description, and of a file of records: five times that of CIFAR-10.
_MOST_BYTES = 1_000_000
_MOST_RECORDS = 50_000
# Of all files together.
_MOST_BYTES_IN_ALL = 300_000 * RECORD_BYTES
TEST_FILE = "test_batch.bin"
TRAIN_FILE = re.compile(r"data_batch_([1-9][0-9]{0,5})\.bin")


@dataclass(frozen=True)
class Dataset:
    """Images and labels of a data set.

    Attributes:
        name: folder name, as in `data.name` of params.yaml.
        train_images, test_images: uint8, (N, 32, 32, 3), rows × columns × RGB.
        train_labels, test_labels: int32, (N,), an index into `class_names`.
        class_names: one name a class.
        provenance: ``name``, ``title``, ``published``, ``source`` and ``sha256`` of each file.
    """

    name: str
    train_images: np.ndarray
    train_labels: np.ndarray
    test_images: np.ndarray
    test_labels: np.ndarray
    class_names: list[str]
    provenance: dict


def encode(images: np.ndarray, labels: np.ndarray) -> bytes:
    """Records of uint8 images (N, 32, 32, 3) and their labels (N,).

    Raises:
        ValueError: `images` or `labels` has another type or shape, or a label does not fit into a byte.
    """
    images, labels = np.asarray(images), np.asarray(labels)
    if images.dtype != np.uint8 or images.ndim != 4 or images.shape[1:] != (SIDE, SIDE, CHANNELS):
        raise ValueError(f"images must be uint8 of shape (N, 32, 32, 3), not {images.dtype} {images.shape}")
    if labels.shape != images.shape[:1]:
        raise ValueError(f"labels must have shape {images.shape[:1]}, not {labels.shape}")
    if len(labels) and (labels.min() < 0 or labels.max() > 255):
        raise ValueError("labels must lie in 0..255")
    planes = images.transpose(0, 3, 1, 2).reshape(len(images), -1)
    return np.concatenate([labels.astype(np.uint8)[:, None], planes], axis=1).tobytes()


def decode(content: bytes) -> tuple[np.ndarray, np.ndarray]:
    """Images, uint8 (N, 32, 32, 3), and labels, int32 (N,), of records.

    Raises:
        ValueError: `content` is not a whole number of records.
    """
    if len(content) % RECORD_BYTES:
        raise ValueError(f"{len(content):,} bytes are not a whole number of records of {RECORD_BYTES:,} bytes")
    table = np.frombuffer(content, np.uint8).reshape(-1, RECORD_BYTES)
    images = table[:, 1:].reshape(-1, CHANNELS, SIDE, SIDE).transpose(0, 2, 3, 1)
    return np.ascontiguousarray(images), table[:, 0].astype(np.int32)


def check_labels(content: bytes, classes: int, where: object, advice: str) -> None:
    """Check that every label of the records in `content` is below `classes`.

    Raises:
        InputError: one is not; the message names `where` and the record.
    """
    labels = np.frombuffer(content, np.uint8)[::RECORD_BYTES]
    wrong = np.flatnonzero(labels >= classes)
    if len(wrong):
        record = int(wrong[0])
        raise InputError(
            f"{where}: record {record} has label {labels[record]}, labels are 0 to {classes - 1}; {advice}"
        )


def load(folder: Path) -> Dataset:
    """Read the data set in `folder`.

    Raises:
        InputError: a file is missing, is not a whole number of records or too large, has a label that is not a class or is
            not the file that `dataset.json` describes, or that describes no data set, or another; the message names it.
    """
    folder = Path(folder)
    description = _read_description(folder / DESCRIPTION)
    _check_size([folder / name for name in description["sha256"]])
    contents = {name: _read_file(folder / name, description) for name in description["sha256"]}
    # Checked before decoding, which takes as much memory again.
    classes = 1 + max(int(np.frombuffer(content, np.uint8)[::RECORD_BYTES].max()) for content in contents.values())
    if classes < len(description["class_names"]):
        raise InputError(
            f"{folder / DESCRIPTION} names {len(description['class_names'])} classes, the labels are of {classes};"
            f" {_again(folder / DESCRIPTION)}"
        )
    train = [decode(contents[name]) for name in sorted(set(contents) - {TEST_FILE}, key=_batch_number)]
    test_images, test_labels = decode(contents[TEST_FILE])
    return Dataset(
        name=description["name"],
        train_images=np.concatenate([images for images, _ in train]),
        train_labels=np.concatenate([labels for _, labels in train]),
        test_images=test_images,
        test_labels=test_labels,
        class_names=description["class_names"],
        provenance={key: description[key] for key in ("name", "title", "published", "source", "sha256")},
    )


def write(
    folder: Path,
    files: Mapping[str, bytes],
    *,
    name: str,
    title: str,
    class_names: Sequence[str],
    source: str,
    published: bool,
) -> None:
    """Write a data set: `files` (name to records) and `dataset.json`, all of it or nothing; see `files.replaced`.

    What is written depends on the arguments only.

    Raises:
        InputError: the folder cannot be written; what was there before is still there.
    """
    description = {
        "name": name,
        "title": title,
        "class_names": list(class_names),
        "published": published,
        "source": source,
        "sha256": {file: hashlib.sha256(files[file]).hexdigest() for file in sorted(files)},
    }
    text = json.dumps(description, indent=2, ensure_ascii=False) + "\n"
    with replaced(folder) as partial:
        for file, content in {**files, DESCRIPTION: text.encode()}.items():
            _write_through(partial / file, content)


def _write_through(path: Path, content: bytes) -> None:
    with path.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def _again(path: Path) -> str:
    # The stage that makes a data set has its name.
    return f"make it again with `dvc repro {path.parent.name}`"


def _read_description(path: Path) -> dict:
    content = _read(path, _MOST_BYTES)
    try:
        description = parse_json(content)
    except ValueError as error:
        raise InputError(f"cannot read {path}: {quoted(str(error))}; {_again(path)}") from error
    if not _is_description(description):
        raise InputError(f"{path} does not describe a data set; {_again(path)}")
    refused = refused_names(description["class_names"]) or refused_title(description["title"])
    if description["name"] != path.parent.name:
        refused = f"it is of the data set {quoted(description['name'])}"
    if refused:
        raise InputError(f"{path} does not describe this data set: {refused}; {_again(path)}")
    return description


def _read(path: Path, most: int) -> bytes:
    try:
        if not os.path.lexists(path):
            raise InputError(f"{path} is missing")
        return read_bytes(path, most)
    except InputError as error:
        raise InputError(f"{error}; {_again(path)}") from error


def _is_description(description: object) -> bool:
    types = {"name": str, "title": str, "class_names": list, "published": bool, "source": str, "sha256": dict}
    if not isinstance(description, dict):
        return False
    if not all(isinstance(description.get(key), kind) for key, kind in types.items()):
        return False
    if not description["source"].isprintable():
        return False
    files = set(description["sha256"])
    train = files - {TEST_FILE}
    return TEST_FILE in files and bool(train) and all(TRAIN_FILE.fullmatch(file) for file in train)


def _check_size(found: Sequence[Path]) -> None:
    """Check the size of all files together, before any is read."""
    most = _MOST_RECORDS * RECORD_BYTES
    size = sum(min(path.stat().st_size, most) for path in found if path.is_file())
    if size > _MOST_BYTES_IN_ALL:
        raise InputError(
            f"the files that {found[0].parent / DESCRIPTION} names have {size:,} bytes; at most {_MOST_BYTES_IN_ALL:,} are read"
        )


def _batch_number(file: str) -> int:
    return int(TRAIN_FILE.fullmatch(file)[1])


def _read_file(path: Path, description: dict) -> bytes:
    content = _read(path, _MOST_RECORDS * RECORD_BYTES)
    if not content or len(content) % RECORD_BYTES:
        raise InputError(
            f"{path} has {len(content):,} bytes, not a whole number of {RECORD_BYTES:,}-byte records; {_again(path)}"
        )
    check_labels(content, len(description["class_names"]), path, _again(path))
    if hashlib.sha256(content).hexdigest() != description["sha256"][path.name]:
        raise InputError(f"{path} is not the file that {DESCRIPTION} beside it describes; {_again(path)}")
    return content
