"""Arrays with names and texts in one file, of the safetensors format: weights and checkpoints.

The library writes several texts in a different order each time, and the format has no checksum. So the metadata hold only one
text, `resode`, in JSON: the `texts`, and the `crc32` of them and of the arrays. It stays valid when the library reads a file and writes it again.
Source: https://github.com/huggingface/safetensors.
"""

import json
import stat
import zlib
from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

_KEY = "resode"


def encode(arrays: Mapping[str, np.ndarray], texts: Mapping[str, str]) -> bytes:
    """The bytes of a file with `arrays`, of any shape and number type, by name, and `texts`; equal input gives equal bytes."""
    arrays = {name: np.require(array, requirements="C") for name, array in arrays.items()}
    about = {"crc32": _checksum(texts, sorted(arrays.items())), "texts": dict(texts)}
    return save(arrays, {_KEY: json.dumps(about, ensure_ascii=False, sort_keys=True)})


def _checksum(texts: Mapping[str, str], arrays: Iterable[tuple[str, np.ndarray]]) -> int:
    # Not SHA-256: hashlib loads OpenSSL, some megabytes of the memory that `low_memory` saves.
    found = zlib.crc32(json.dumps(dict(texts), sort_keys=True).encode())
    for name, array in arrays:
        found = zlib.crc32(array, zlib.crc32(f"{name} {array.dtype} {array.shape}".encode(), found))
    return found


class File:
    """A file of `encode`, whose arrays are read one by one when they are asked for.

    Attributes:
        path: of the file.
        texts: by name.
        shapes: the shape of each array, by name.

    Raises:
        OSError: the file cannot be read.
        ValueError: it is no such file, or damaged; the message says in a few words which.
    """

    def __init__(self, path: Path):
        self.path = Path(path)
        if not stat.S_ISREG(self.path.stat().st_mode):
            raise ValueError("it is not an ordinary file")
        try:
            # It checks the header, which says where the arrays are, against the file.
            with safe_open(self.path, "numpy") as file:
                about = (file.metadata() or {}).get(_KEY)
        except SafetensorError as error:
            raise ValueError("cut short, or no file of the safetensors format") from error
        if about is None:
            raise ValueError("resode did not write it")
        about = json.loads(about)
        with self.path.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
            header = json.loads(file.read(length))
        self._start = 8 + length
        self._arrays = {name: header[name] for name in sorted(header) if name != "__metadata__"}
        self.shapes = {name: tuple(array["shape"]) for name, array in self._arrays.items()}
        self.texts: dict[str, str] = about["texts"]
        if _checksum(self.texts, ((name, self[name]) for name in self.shapes)) != about["crc32"]:
            raise ValueError("its checksum is another")

    def __getitem__(self, name: str) -> np.ndarray:
        """The array `name`, mapped into memory: what is used of it is read then. The library would copy it twice."""
        array = self._arrays[name]
        kind, bits = array["dtype"][0].lower(), int(array["dtype"][1:])
        begin = self._start + array["data_offsets"][0]
        return np.asarray(np.memmap(self.path, f"<{kind}{bits // 8}", "r", begin, tuple(array["shape"])))
