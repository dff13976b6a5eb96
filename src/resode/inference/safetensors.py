"""Files of the safetensors format: tensors with names, which are read one by one without reading the rest.

    8 bytes     the length of the header, little-endian
    header      JSON: {"__metadata__": {key: text}, name: {"dtype": "F32", "shape": [...], "data_offsets": [begin, end]}, ...}
    the rest    the tensors, row by row and little-endian; offsets count from here

All tensors are float32 here. Source: https://github.com/huggingface/safetensors, section "Format". The format has no checksum; files
written here have one in the metadata, `crc32`: of the rest of the header and of the tensors.
"""

import json
import math
import os
import stat
import zlib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

import numpy as np

from resode.base import paths
from resode.base.errors import InputError
from resode.base.files import parse_json
from resode.base.text import quoted


def encode(tensors: Mapping[str, np.ndarray], metadata: Mapping[str, str]) -> bytes:
    """The bytes of a file with these tensors, in their order, as float32."""
    header: dict = {"__metadata__": dict(metadata)}
    parts, end = [], 0
    for name, tensor in tensors.items():
        parts.append(np.asarray(tensor).astype("<f4").tobytes())
        begin, end = end, end + len(parts[-1])
        header[name] = {"dtype": "F32", "shape": list(np.shape(tensor)), "data_offsets": [begin, end]}
    header["__metadata__"]["crc32"] = _checksum(header, parts)
    text = json.dumps(header, ensure_ascii=False).encode()
    # Spaces after the header keep the tensors aligned.
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text + b"".join(parts)


def _checksum(header: Mapping, content: Iterable[bytes]) -> str:
    """CRC-32, in hexadecimal, of `header` without the checksum itself, and of the tensors."""
    # Not SHA-256: hashlib loads OpenSSL, some megabytes of the memory that `low_memory` saves.
    metadata = {key: value for key, value in header.get("__metadata__", {}).items() if key != "crc32"}
    found = zlib.crc32(json.dumps({**header, "__metadata__": metadata}, sort_keys=True).encode())
    for part in content:
        found = zlib.crc32(part, found)
    return f"{found:08x}"


def advice(path: Path) -> str:
    """Advice on an unusable file: git has the one that it carries, any other is exported again."""
    if path.absolute() == paths.NETWORK:
        return f"restore it with: git checkout {paths.NETWORK.relative_to(paths.ROOT)}"
    return "make one with: resode export NAME.safetensors"


# The official reader takes 100 MB, which is gigabytes when read; that of a network here has a few thousand bytes.
_LONGEST_HEADER = 1_000_000


class File:
    """A file of the format, whose tensors are read one by one when they are asked for.

    Attributes:
        path: of the file.
        metadata: the texts of `__metadata__`.
        shapes: the shape of each tensor, by name.

    Raises:
        InputError: the file cannot be read, is not of the format, is cut short, has tensors of another type, or its checksum is
            another.
    """

    def __init__(self, path: Path):
        self.path = Path(path)
        try:
            if not stat.S_ISREG(self.path.stat().st_mode):
                raise InputError(f"cannot read {path}: it is not an ordinary file")
            with self.path.open("rb") as file:
                size = os.fstat(file.fileno()).st_size
                length = int.from_bytes(file.read(8), "little")
                # Any other file's first eight bytes are a huge number.
                header = _header(file.read(length)) if length <= min(size - 8, _LONGEST_HEADER) else None
        except OSError as error:
            raise InputError(f"cannot read {path}: {error.strerror}; {advice(self.path)}") from error
        if header is None:
            raise InputError(f"{path} is not a safetensors file, or cut short; {advice(self.path)}")
        self.metadata: dict[str, str] = header.get("__metadata__", {})
        tensors = {name: tensor for name, tensor in header.items() if name != "__metadata__"}
        self._start = 8 + length
        self._begins: dict[str, int] = {}
        self.shapes: dict[str, tuple[int, ...]] = {}
        end = 0
        for name, tensor in sorted(tensors.items(), key=_begin):
            end = self._add(name, tensor, end)
        if self._start + end != size:
            raise self._refused(f"its tensors end at byte {self._start + end:,} of {size:,}")
        # Files that others wrote have none.
        if "crc32" in self.metadata and self.metadata["crc32"] != _checksum(header, self._content()):
            raise self._refused("its checksum is another")

    def _content(self) -> Iterator[bytes]:
        """All tensors, 64 KiB at a time: the file may be larger than memory."""
        try:
            with self.path.open("rb") as file:
                file.seek(self._start)
                while part := file.read(1 << 16):
                    yield part
        except OSError as error:
            raise InputError(f"cannot read {self.path}: {error.strerror}; {advice(self.path)}") from error

    def _add(self, name: str, tensor: dict, after: int) -> int:
        """Note a tensor that begins where the last one ended, at `after`; return its end."""
        try:
            begin, end = tensor["data_offsets"]
            shape = tensor["shape"]
            whole = all(type(number) is int and 0 <= number < 2**63 for number in (begin, end, *shape))
            good = set(tensor) == {"dtype", "shape", "data_offsets"} and tensor["dtype"] == "F32" and whole
            good = good and len(shape) <= 8 and begin == after and end - begin == 4 * math.prod(shape)
        except (KeyError, TypeError, ValueError):
            good = False
        if not good:
            raise self._refused(f"{quoted(name)} is not float32, or not where and as long as its shape says")
        self.shapes[name], self._begins[name] = tuple(shape), begin
        return end

    def _refused(self, why: str) -> InputError:
        return InputError(f"{self.path} is damaged: {why}; {advice(self.path)}")

    def tensors(self, layer: str) -> dict[str, np.ndarray]:
        """The tensors whose names begin with `layer` and a dot, by the rest of their names.

        They are mapped into memory: what is used of them is read then, and leaves memory with the last array.

        Raises:
            InputError: there are none, or one holds a number that is not finite.
        """
        prefix = f"{layer}."
        found = {name.removeprefix(prefix): self._map(name) for name in self.shapes if name.startswith(prefix)}
        if not found:
            raise InputError(f"{self.path} has no weights of {layer}; {advice(self.path)}")
        return found

    def _map(self, name: str) -> np.ndarray:
        tensor = np.asarray(np.memmap(self.path, "<f4", "r", self._start + self._begins[name], self.shapes[name]))
        # The sum of what is finite is finite in double precision, and takes no memory.
        with np.errstate(invalid="ignore"):
            if not np.isfinite(tensor.sum(dtype=np.float64)):
                raise self._refused(f"{quoted(name)} holds a number that is not finite")
        return tensor


def _header(text: bytes) -> dict | None:
    """The header in JSON; None if it is none, or names anything twice."""
    try:
        found = parse_json(text)
    except ValueError:
        return None
    metadata = found.get("__metadata__", {}) if isinstance(found, dict) else None
    good = (
        text.startswith(b"{")
        and isinstance(metadata, dict)
        and all(isinstance(value, str) for value in metadata.values())
    )
    return found if good else None


def _begin(item: tuple[str, object]) -> tuple[int, int]:
    """Return the stated begin and end of a tensor; `_add` refuses one without."""
    try:
        begin, end = item[1]["data_offsets"]
        return (int(begin), int(end))
    except (KeyError, TypeError, ValueError, OverflowError):
        return (-1, -1)
