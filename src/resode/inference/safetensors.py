"""Files of the safetensors format: tensors with names, which are read one by one without reading the rest.

    8 bytes     the length of the header, little-endian
    header      JSON: {"__metadata__": {key: text}, name: {"dtype": "F32", "shape": [...], "data_offsets": [begin, end]}, ...}
    the rest    the tensors, row by row and little-endian; offsets count from here

All tensors are float32 here. Source: https://github.com/huggingface/safetensors, section "Format".
"""

import json
import math
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from resode.base.errors import InputError


def encode(tensors: Mapping[str, np.ndarray], metadata: Mapping[str, str]) -> bytes:
    """The bytes of a file with these tensors, in their order, as float32."""
    header: dict = {"__metadata__": dict(metadata)}
    parts, end = [], 0
    for name, tensor in tensors.items():
        parts.append(np.asarray(tensor).astype("<f4").tobytes())
        begin, end = end, end + len(parts[-1])
        header[name] = {"dtype": "F32", "shape": list(np.shape(tensor)), "data_offsets": [begin, end]}
    text = json.dumps(header, ensure_ascii=False).encode()
    # Spaces after the header keep the tensors aligned.
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text + b"".join(parts)


class File:
    """A file of the format, of which the header alone is read at once.

    Attributes:
        metadata: the texts of `__metadata__`.

    Raises:
        InputError: the file cannot be read, is not of the format, is cut short or has tensors of another type.
    """

    def __init__(self, path: Path):
        self._path = Path(path)
        try:
            size = self._path.stat().st_size
            with self._path.open("rb") as file:
                length = int.from_bytes(file.read(8), "little")
                # Any other file's first eight bytes are a huge number.
                header = json.loads(file.read(length)) if length <= size - 8 else None
        except OSError as error:
            raise InputError(f"cannot read {path}: {error.strerror}; make it with: resode export {path}") from error
        except ValueError:
            header = None
        if not isinstance(header, dict):
            raise InputError(
                f"{path} is not a safetensors file, or cut short; make one with: resode export NAME.safetensors"
            )
        self.metadata = header.pop("__metadata__", {})
        self._tensors, self._start = header, 8 + length
        for name, tensor in header.items():
            self._check(name, tensor, size)

    def _check(self, name: str, tensor: object, size: int) -> None:
        try:
            begin, end = tensor["data_offsets"]
            whole = end - begin == 4 * math.prod(tensor["shape"]) and begin >= 0 and self._start + end <= size
            good = tensor["dtype"] == "F32" and whole
        except (KeyError, TypeError, ValueError):
            good = False
        if not good:
            raise InputError(
                f"{self._path}: {name} is cut short or not float32; make one with: resode export NAME.safetensors"
            )

    def tensors(self, layer: str) -> dict[str, np.ndarray]:
        """The tensors whose names begin with `layer` and a dot, by the rest of their names.

        They are mapped into memory: what is used of them is read then, and leaves memory with the last array.

        Raises:
            InputError: there are none.
        """
        prefix = f"{layer}."
        found = {name.removeprefix(prefix): self._map(name) for name in self._tensors if name.startswith(prefix)}
        if not found:
            raise InputError(f"{self._path} has no weights of {layer}; make one with: resode export NAME.safetensors")
        return found

    def _map(self, name: str) -> np.ndarray:
        tensor = self._tensors[name]
        begin, _ = tensor["data_offsets"]
        return np.asarray(np.memmap(self._path, "<f4", "r", self._start + begin, tuple(tensor["shape"])))
