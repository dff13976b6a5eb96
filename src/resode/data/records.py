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
from typing import Annotated

import numpy as np
from pydantic import BaseModel, ConfigDict, StringConstraints, ValidationError

from resode.base.errors import InputError
from resode.base.files import read_bytes, replaced

SIDE = 32
CHANNELS = 3
RECORD_BYTES = 1 + CHANNELS * SIDE * SIDE
DESCRIPTION = "dataset.json"
TEST_FILE = "test_batch.bin"
TRAIN_FILE = re.compile(r"data_batch_([1-9][0-9]{0,5})\.bin")
# Five times a file of CIFAR-10.
_MOST_BYTES = 50_000 * RECORD_BYTES


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


def check_labels(content: bytes, classes: int, where: object) -> None:
    """Check that every label of the records in `content` is below `classes`.

    Raises:
        InputError: one is not; the message names `where` and the record.
    """
    labels = np.frombuffer(content, np.uint8)[::RECORD_BYTES]
    wrong = np.flatnonzero(labels >= classes)
    if len(wrong):
        record = int(wrong[0])
        raise InputError(f"{where}: record {record} has label {labels[record]}, labels are 0 to {classes - 1}")


class _Description(BaseModel):
    """The content of `dataset.json`; `sha256` has the records' files by name."""

    model_config = ConfigDict(strict=True)
    name: str
    title: str
    class_names: list[str]
    published: bool
    source: str
    sha256: dict[Annotated[str, StringConstraints(pattern=rf"^({TRAIN_FILE.pattern}|{re.escape(TEST_FILE)})$")], str]


def load(folder: Path) -> Dataset:
    """Read the data set in `folder`.

    Raises:
        InputError: a file is missing, is not a whole number of records or too large, has a label that is not a class or is
            not the file that `dataset.json` describes, or that describes no data set, or another; the message names it.
    """
    folder = Path(folder)
    try:
        description = _read_description(folder / DESCRIPTION)
        tables = {name: decode(_read_file(folder / name, description)) for name in description.sha256}
    except InputError as error:
        # The stage that makes a data set has its name.
        raise InputError(f"{error}; make it again with `dvc repro {folder.name}`") from error
    test_images, test_labels = tables.pop(TEST_FILE)
    train = [tables[name] for name in sorted(tables, key=lambda name: int(TRAIN_FILE.fullmatch(name)[1]))]
    return Dataset(
        name=description.name,
        train_images=np.concatenate([images for images, _ in train]),
        train_labels=np.concatenate([labels for _, labels in train]),
        test_images=test_images,
        test_labels=test_labels,
        class_names=description.class_names,
        provenance=description.model_dump(exclude={"class_names"}),
    )


def _read_description(path: Path) -> _Description:
    try:
        description = _Description.model_validate_json(read_bytes(path, _MOST_BYTES))
    except ValidationError as error:
        wrong = error.errors()[0]
        raise InputError(f"{path} describes no data set: {'.'.join(map(str, wrong['loc']))} {wrong['msg']}") from error
    if TEST_FILE not in description.sha256 or len(description.sha256) == 1:
        raise InputError(f"{path} describes no data set: it must name {TEST_FILE} and a file of training images")
    if description.name != path.parent.name:
        raise InputError(f"{path} describes the data set {description.name}")
    return description


def _read_file(path: Path, description: _Description) -> bytes:
    content = read_bytes(path, _MOST_BYTES)
    if not content or len(content) % RECORD_BYTES:
        raise InputError(f"{path} has {len(content):,} bytes, not a whole number of {RECORD_BYTES:,}-byte records")
    check_labels(content, len(description.class_names), path)
    if hashlib.sha256(content).hexdigest() != description.sha256[path.name]:
        raise InputError(f"{path} is not the file that {DESCRIPTION} beside it describes")
    return content


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
