"""CIFAR-10: from the published archive to verified records.

A. Krizhevsky, "Learning Multiple Layers of Features from Tiny Images", 2009;
https://www.cs.toronto.edu/~kriz/cifar.html, binary version. Members are read into memory and checked; nothing
is extracted to a path that a member names, and nothing is unpickled.
"""

import hashlib
import os
import re
import tarfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from resode.base.errors import InputError
from resode.base.text import quoted
from resode.data import records

NAME = "cifar10"
TITLE = "CIFAR-10"
# Every result names its data by title; this is how it says that they are not the published ones.
ALTERED_TITLE = "CIFAR-10, altered (its files are not the published ones)"
HOME = "https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz"
CLASS_NAMES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
RECORDS_A_FILE = 10_000
# Of an archive, in bytes, all but the six members: the published one has 2 small files and folders.
_SMALL = 4_000_000
# Of a gzip file, which may be several behind one another. The published one is a single one; tools that pack in parallel make thousands.
_MOST_PARTS = 10_000
# Of a header that stands before a member's own, with a long name or pax records. tarfile's time for one grows with its square.
_LONGEST_HEADER = 2_048
_HEADERS = (
    tarfile.XHDTYPE,
    tarfile.XGLTYPE,
    tarfile.SOLARIS_XHDTYPE,
    tarfile.GNUTYPE_LONGNAME,
    tarfile.GNUTYPE_LONGLINK,
)
_CHUNK = 1 << 14
# So many reads at its end an archive may need.
_MOST_ENDS = 100
_FOLDER = "cifar-10-batches-bin"
_OTHER_VERSIONS = {
    "cifar-10-batches-py": "the Python version of CIFAR-10, not the binary one",
    "cifar-10-batches-mat": "the Matlab version of CIFAR-10, not the binary one",
    "cifar-100-binary": "CIFAR-100, not CIFAR-10",
    "cifar-100-python": "CIFAR-100, not CIFAR-10",
    "cifar-100-matlab": "CIFAR-100, not CIFAR-10",
}
PUBLISHED = {
    "data_batch_1.bin": "cee916563c9f80d84e3cc88e17fdc0941787f1244f00a67874d45b261883ada5",
    "data_batch_2.bin": "a591ca11fa1708a91ee40f54b3da4784ccd871ecf2137de63f51ada8b3fa57ed",
    "data_batch_3.bin": "bbe8596564c0f86427f876058170b84dac6670ddf06d79402899d93ceea26f67",
    "data_batch_4.bin": "014e562d6e23c72197cc727519169a60359f5eccd8945ad5a09d710285ff4e48",
    "data_batch_5.bin": "755304fc0b379caeae8c14f0dac912fbc7d6cd469eb67a1029a08a39453a9add",
    "test_batch.bin": "8e2eb146ae340b09e24670f29cabc6326dba54da8789dab6768acf480273f65b",
}
ANOTHER_COPY = (
    "bring another copy with `make data ARCHIVE=path`, "
    "or download it again with `git checkout data.dvc` and `dvc repro`"
)


def unpack(archive: Path, folder: Path, require_published: bool) -> bool:
    """Write the six members of `archive` to `folder` in the record format; see `records.write`.

    Args:
        archive: cifar-10-binary.tar.gz, or a folder that holds its six ``.bin`` files.
        folder: the data set's folder; what is written there depends on the members only.
        require_published: whether members that are not the published ones are an error.

    Returns:
        Whether all six members are the published ones, by SHA-256.

    Raises:
        InputError: the archive is missing or damaged, a member is missing, unsafe, of the wrong size, has a
            label above 9 or, with `require_published`, is not the published one; nothing is written.
    """
    members = read_members(archive, require_published)
    published = all(_digest(content) == PUBLISHED[name] for name, content in members.items())
    note = "" if published else "; its content differs from the published files"
    records.write(
        folder,
        members,
        name=NAME,
        title=TITLE if published else ALTERED_TITLE,
        class_names=CLASS_NAMES,
        source=f"A. Krizhevsky, CIFAR-10, binary version, {HOME}{note}",
        published=published,
    )
    return published


def read_members(archive: Path, require_published: bool) -> dict[str, bytes]:
    """The six checked members of `archive`, by name; see `unpack` for arguments and errors."""
    archive = Path(archive)
    if not archive.exists():
        raise InputError(
            f"no CIFAR-10 archive at {archive}: with a network, `dvc repro` (or `make repro`) downloads it; "
            "without one, bring it with `make data ARCHIVE=path`"
        )
    source = _members_of_folder(archive) if archive.is_dir() else _members_of_archive(archive)
    members = {}
    for name, content in source:
        if name in members:
            raise InputError(f"{archive} holds {name} more than once; {ANOTHER_COPY}")
        _check_member(name, content, archive, require_published)
        members[name] = content
    missing = [name for name in PUBLISHED if name not in members]
    if missing:
        raise InputError(f"{archive} does not hold {', '.join(missing)}; {ANOTHER_COPY}")
    return {name: members[name] for name in PUBLISHED}


def _check_version(folder: str, source: Path) -> None:
    if other := _OTHER_VERSIONS.get(folder.lower()):
        raise InputError(f"{source} is {other}; {ANOTHER_COPY}")


def _members_of_folder(folder: Path) -> Iterator[tuple[str, bytes]]:
    try:
        inside = sorted(os.listdir(folder))
    except OSError as error:
        raise InputError(f"cannot read {folder}: {error.strerror}; {ANOTHER_COPY}") from error
    for name in (folder.resolve().name, *inside):
        _check_version(name, folder)
    if _FOLDER in inside:
        raise InputError(f"{folder} holds a folder {_FOLDER}; give that one")
    for name in PUBLISHED:
        path = folder / name
        if path.is_file():
            _check_size(name, path.stat().st_size, folder)
            try:
                content = path.read_bytes()
            except OSError as error:
                raise InputError(f"cannot read {path}: {error.strerror}; {ANOTHER_COPY}") from error
            yield name, content


def _members_of_archive(archive: Path) -> Iterator[tuple[str, bytes]]:
    if not archive.is_file():
        raise InputError(f"cannot read {archive}: it is not an ordinary file; {ANOTHER_COPY}")
    most = len(PUBLISHED) * RECORDS_A_FILE * records.RECORD_BYTES + _SMALL
    if archive.stat().st_size > most:
        raise InputError(
            f"{archive} has {archive.stat().st_size:,} bytes, more than the published one has when it is unpacked; {ANOTHER_COPY}"
        )
    reading = "its first bytes"
    try:
        with archive.open("rb") as packed:
            stream = _Unpacked(packed, archive)
            with tarfile.open(fileobj=stream, mode="r|", tarinfo=_Member) as tar:
                for member in tar:
                    reading = quoted(repr(member.name))
                    name = _safe_name(member, archive)
                    if name in PUBLISHED and not member.isdir():
                        _check_size(name, member.size, archive)
                        stream.allowed += member.size
                        yield name, tar.extractfile(member).read()
            # tarfile stops at the end mark; the checksum of the whole comes after it.
            reading = "its end"
            while stream.read(1 << 20):
                pass
    except InputError:
        raise
    except Exception as error:
        # tarfile lets malformed headers end in whatever they cause: ValueError, KeyError, RecursionError.
        raise InputError(
            f"cannot read {archive} at {reading}: {quoted(str(error) or type(error).__name__)}; {ANOTHER_COPY}"
        ) from error


class _Member(tarfile.TarInfo):
    """A member whose headers are short."""

    @classmethod
    def frombuf(cls, buf: bytes, encoding: str, errors: str) -> "_Member":
        member = super().frombuf(buf, encoding, errors)
        if member.type in _HEADERS and member.size > _LONGEST_HEADER:
            raise ValueError(f"a header of more than {_LONGEST_HEADER:,} bytes")
        return member


class _Unpacked:
    """The content of a gzip file, as much as the members accepted so far hold, and a little more for names and small files.

    A few compressed megabytes can declare a name, or zeros between members, of gigabytes. Python's gzip would also read a header
    of megabytes byte by byte, and any number of empty parts.
    """

    def __init__(self, packed: BinaryIO, archive: Path):
        self.allowed = _SMALL
        self._packed, self._archive, self._done = packed, archive, 0
        self._parts, self._part, self._rest, self._ends = 0, None, b"", 0

    def read(self, size: int) -> bytes:
        """At least one byte and at most `size`, or at the end none; asked for more again and again there, an EOFError."""
        while True:
            packed = self._rest or self._packed.read(_CHUNK)
            if self._part is None:
                if not packed:
                    self._ends += 1
                    # tarfile would look for the end of a member of 2^62 bytes, a few thousand bytes at a time.
                    if self._ends > _MOST_ENDS:
                        raise EOFError("the file is cut short")
                    return b""
                # Zeros may fill up a part.
                self._rest = packed.lstrip(b"\0")
                if self._rest and not self._parts and not packed.startswith(b"\x1f\x8b"):
                    raise InputError(f"{self._archive} is not a gzip file, so no .tar.gz; {ANOTHER_COPY}")
                if self._rest:
                    self._begin_part()
                continue
            content = self._part.decompress(packed, size)
            if not (content or packed or self._part.eof):
                raise EOFError("the file is cut short")
            self._rest = self._part.unconsumed_tail
            if self._part.eof:
                self._rest, self._part = self._part.unused_data, None
            if content:
                return self._counted(content)

    def _begin_part(self) -> None:
        self._parts += 1
        if self._parts > _MOST_PARTS:
            raise InputError(f"{self._archive} has more than {_MOST_PARTS:,} parts; {ANOTHER_COPY}")
        self._part = zlib.decompressobj(wbits=16 + zlib.MAX_WBITS)

    def _counted(self, content: bytes) -> bytes:
        self._done += len(content)
        if self._done > self.allowed:
            raise InputError(
                f"{self._archive} holds more than {_SMALL:,} bytes besides the six data files of CIFAR-10's binary version; {ANOTHER_COPY}"
            )
        return content


def _safe_name(member: tarfile.TarInfo, archive: Path) -> str:
    """The last part of the member's name, once the member is known to be harmless.

    Only names in `PUBLISHED` are ever read, and none is ever a path to write to; an archive with such members
    is refused all the same, because it is not what it claims to be.
    """
    parts = re.split(r"[/\\]", member.name)
    for part in parts:
        _check_version(part, archive)
    if ".." in parts or parts[0] == "" or re.match(r"[A-Za-z]:", member.name):
        raise InputError(f"{archive} holds a member with the unsafe name {quoted(repr(member.name))}; {ANOTHER_COPY}")
    if not (member.isreg() or member.isdir()):
        raise InputError(
            f"{archive} holds {quoted(repr(member.name))}, which is neither a file nor a folder; {ANOTHER_COPY}"
        )
    return parts[-1]


def _check_size(name: str, size: int, archive: Path) -> None:
    expected = RECORDS_A_FILE * records.RECORD_BYTES
    if size != expected:
        raise InputError(
            f"{name} in {archive} has {quoted(f'{size:,}', 40)} bytes, expected {RECORDS_A_FILE:,} records of "
            f"{records.RECORD_BYTES:,} bytes, {expected:,}; {ANOTHER_COPY}"
        )


def _check_member(name: str, content: bytes, archive: Path, require_published: bool) -> None:
    _check_size(name, len(content), archive)
    records.check_labels(content, len(CLASS_NAMES), f"{name} in {archive}", ANOTHER_COPY)
    digest = _digest(content)
    if require_published and digest != PUBLISHED[name]:
        raise InputError(
            f"{name} in {archive} differs from the published file: SHA-256 {digest}, "
            f"published {PUBLISHED[name]}; {ANOTHER_COPY}, "
            "or set data.require_published: false to work with it as it is"
        )


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
