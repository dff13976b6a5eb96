"""CIFAR-10: from the published archive to verified records.

A. Krizhevsky, "Learning Multiple Layers of Features from Tiny Images", 2009;
https://www.cs.toronto.edu/~kriz/cifar.html, binary version. Members are read into memory and checked; nothing
is extracted to a path that a member names, and nothing is unpickled.
"""

import hashlib
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path, PurePosixPath

from resode.base import paths
from resode.base.errors import InputError
from resode.data import records

NAME = "cifar10"
TITLE = "CIFAR-10"
# Every result names its data by title; this is how it says that they are not the published ones.
ALTERED_TITLE = "CIFAR-10, altered (its files are not the published ones)"
HOME = "https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz"
CLASS_NAMES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
RECORDS_A_FILE = 10_000
# By the folder in their archives.
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


def write(folder: Path, require_published: bool, archive: Path | None = None) -> bool:
    """Write the six files of CIFAR-10 to `folder` in the record format; see `records.write`.

    Args:
        folder: the data set's folder; what is written there depends on the content of the six files only.
        require_published: whether files that are not the published ones are an error.
        archive: cifar-10-binary.tar.gz, or a folder that holds its six ``.bin`` files. By default the data set that is there
            already, if it is whole and as required; else the archive is downloaded.

    Returns:
        Whether all six are the published ones, by SHA-256.

    Raises:
        InputError: the archive was not downloaded or is damaged, or a file of it is missing, has a label above 9 or, with
            `require_published`, is not the published one; nothing is written.
    """
    with tempfile.TemporaryDirectory() as temporary:
        archive = archive or _there(folder, require_published) or _downloaded(Path(temporary))
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


def _there(folder: Path, require_published: bool) -> Path | None:
    """The data set that is in `folder`, in an experiment of DVC in the project's; None if it is not, damaged, or not as required."""
    folder = paths.project(folder.parents[1]) / "data" / folder.name
    try:
        as_required = records.load(folder).provenance["published"] or not require_published
    except InputError:
        return None
    return folder if as_required else None


def _downloaded(folder: Path) -> Path:
    path = folder / HOME.rpartition("/")[2]
    # With its progress, and with further tries.
    if subprocess.run([sys.executable, "-m", "dvc", "get-url", HOME, str(path)]).returncode:
        raise InputError(f"CIFAR-10 was not downloaded; without a network, bring {path.name}: make data ARCHIVE=path")
    return path


def read_members(archive: Path, require_published: bool) -> dict[str, bytes]:
    """The six checked files of `archive`, by name; see `write` for arguments and errors."""
    try:
        members = _members(archive)
        for name, content in members.items():
            records.check_labels(content, len(CLASS_NAMES), f"{name} in {archive}")
            if require_published and _digest(content) != PUBLISHED[name]:
                raise InputError(
                    f"{name} in {archive} differs from the published file: SHA-256 {_digest(content)}, published {PUBLISHED[name]}"
                    " (data.require_published: false takes it as it is)"
                )
    except InputError as error:
        raise InputError(
            f"{error}; bring another copy with `make data ARCHIVE=path`, or download it with `dvc repro {NAME}`"
        ) from error
    return members


def _members(archive: Path) -> dict[str, bytes]:
    size = RECORDS_A_FILE * records.RECORD_BYTES
    members, seen = {}, {archive.resolve().name}
    try:
        if archive.is_dir():
            seen |= {path.name for path in archive.iterdir()}
            members = {name: (archive / name).read_bytes() for name in PUBLISHED.keys() & seen}
        else:
            with tarfile.open(archive, "r:gz") as tar:
                for member in tar:
                    path = PurePosixPath(member.name)
                    seen |= set(path.parts)
                    if path.name in PUBLISHED and member.isfile() and member.size == size:
                        members[path.name] = tar.extractfile(member).read()
                # The checksum of the whole stands behind the end of the members.
                tar.fileobj.read()
    except Exception as error:
        # tarfile lets malformed headers end in whatever they cause.
        raise InputError(f"cannot read {archive}: {getattr(error, 'strerror', None) or error}") from error
    for folder, version in _OTHER_VERSIONS.items():
        if folder in seen:
            raise InputError(f"{archive} is {version}")
    if missing := [name for name in PUBLISHED if len(members.get(name, b"")) != size]:
        raise InputError(f"{archive} does not hold {', '.join(missing)} of {size:,} bytes")
    return {name: members[name] for name in PUBLISHED}


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
