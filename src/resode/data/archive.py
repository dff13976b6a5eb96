"""Bringing the CIFAR-10 archive by hand instead of downloading it."""

import gzip
import io
import shutil
import tarfile
from collections.abc import Mapping
from pathlib import Path
from typing import BinaryIO

from resode.base import files, paths
from resode.base.errors import InputError
from resode.data import cifar10


def provide(source: Path, root: Path = paths.ROOT) -> Path:
    """Put `source` where data.dvc has the archive and record it there, so that `dvc repro` needs no network.

    data.dvc gets the checksum that a download would have put there. Whether the content is the published one
    is for the stage `cifar10` to decide; an archive that no setting could use is refused here.

    Args:
        source: an archive like cifar-10-binary.tar.gz, or the unpacked folder, which is packed.
        root: the repository.

    Returns:
        The archive's path.

    Raises:
        InputError: `source` cannot be used or the archive cannot be written; what was there before is still
            there.
    """
    source = Path(source)
    target = Path(root) / paths.ARCHIVE.relative_to(paths.ROOT)
    if not source.exists():
        raise InputError(f"no archive or folder at {source}; give the path of cifar-10-binary.tar.gz")
    members = cifar10.read_members(source, require_published=False)
    if source.is_dir():
        with files.written(target) as file:
            pack(members, file)
    elif not (target.exists() and target.samefile(source)):
        with files.written(target) as file, source.open("rb") as original:
            shutil.copyfileobj(original, file, 1 << 20)
    _record(Path(root))
    return target


def pack(members: Mapping[str, bytes], file: BinaryIO) -> None:
    """Write `members` to `file` as a gzipped tar archive whose bytes depend on nothing else."""
    # Photographs hardly compress: the fastest level is as good as any.
    with (
        gzip.GzipFile(filename="", mode="wb", compresslevel=1, fileobj=file, mtime=0) as stream,
        tarfile.open(fileobj=stream, mode="w", format=tarfile.USTAR_FORMAT) as tar,
    ):
        for name in sorted(members):
            info = tarfile.TarInfo(f"cifar-10-batches-bin/{name}")
            info.size = len(members[name])
            tar.addfile(info, io.BytesIO(members[name]))


def _record(root: Path) -> None:
    """Write the archive's checksum to data.dvc and the archive to DVC's cache.

    `dvc commit data.dvc` would do the same, but asks the server for its ETag first, so it fails offline.
    """
    from dvc.exceptions import DvcException
    from dvc.repo import Repo

    try:
        with Repo(str(root)) as repo, repo.lock:
            stage = repo.stage.load_one(str(root / "data.dvc"))
            stage.save_outs()
            stage.md5 = stage.compute_md5()
            stage.commit()
            stage.dump()
    except (DvcException, OSError) as error:
        reason = " ".join(str(error).split())
        raise InputError(f"DVC cannot record the archive in {root / 'data.dvc'}: {reason}") from error
