"""Records, the CIFAR-10 archive and the digits: what is written, and what wrong input is told."""

import gzip
import hashlib
import io
import json
import os
import subprocess
import sys
import tarfile
import time
import tracemalloc
from pathlib import Path

import numpy as np
import pytest

from resode.base.errors import InputError
from resode.data import archive, cifar10, digits, records

RECORDS = 20


@pytest.fixture
def members(monkeypatch):
    """Six small stand-ins for the CIFAR-10 files, and tables that say they are the published ones."""
    random = np.random.default_rng(0)
    contents = {}
    for name in cifar10.PUBLISHED:
        images = random.integers(0, 256, (RECORDS, 32, 32, 3), dtype=np.uint8)
        contents[name] = records.encode(images, random.integers(0, 10, RECORDS))
    table = {name: hashlib.sha256(content).hexdigest() for name, content in contents.items()}
    monkeypatch.setattr(cifar10, "PUBLISHED", table)
    monkeypatch.setattr(cifar10, "RECORDS_A_FILE", RECORDS)
    return contents


def tar_gz(path: Path, contents: dict, folder="cifar-10-batches-bin/", extra=(), level=9) -> Path:
    """An archive of `contents`, then of `extra` (TarInfo, bytes) pairs."""
    entries = [(tarfile.TarInfo(folder + name), content) for name, content in contents.items()]
    with gzip.open(path, "wb", compresslevel=level) as stream, tarfile.open(fileobj=stream, mode="w") as tar:
        for info, content in [*entries, *extra]:
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return path


def with_label(content: bytes, record: int, label: int) -> bytes:
    changed = bytearray(content)
    changed[record * records.RECORD_BYTES] = label
    return bytes(changed)


def refused(action, *fragments: str) -> str:
    """The message of the InputError that `action` raises: one line that holds every fragment."""
    with pytest.raises(InputError) as raised:
        action()
    message = str(raised.value)
    assert "\n" not in message
    for fragment in fragments:
        assert fragment in message
    return message


def contents_of(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def write_small(folder: Path, **changes) -> dict:
    random = np.random.default_rng(1)
    images = random.integers(0, 256, (5, 32, 32, 3), dtype=np.uint8)
    labels = np.array([0, 1, 2, 1, 0])
    files = {
        "data_batch_10.bin": records.encode(images[3:4], labels[3:4]),
        "data_batch_2.bin": records.encode(images[:3], labels[:3]),
        "test_batch.bin": records.encode(images[4:], labels[4:]),
    }
    described = {"name": folder.name, "title": "Small", "class_names": ["a", "b", "c"], "source": "here"}
    records.write(folder, files, **{**described, "published": False, **changes})
    return {"images": images, "labels": labels}


# Records


def test_a_record_is_the_label_then_the_red_green_and_blue_plane():
    image = np.arange(32 * 32 * 3, dtype=np.uint32).reshape(1, 32, 32, 3).astype(np.uint8)
    content = records.encode(image, np.array([7]))
    assert len(content) == 3073
    assert content[0] == 7
    assert content[1 : 1 + 1024] == image[0, :, :, 0].tobytes()
    assert content[1 + 2048 :] == image[0, :, :, 2].tobytes()


def test_records_round_trip():
    random = np.random.default_rng(2)
    images = random.integers(0, 256, (4, 32, 32, 3), dtype=np.uint8)
    decoded, labels = records.decode(records.encode(images, np.array([0, 255, 3, 4])))
    np.testing.assert_array_equal(decoded, images)
    np.testing.assert_array_equal(labels, [0, 255, 3, 4])
    assert decoded.dtype == np.uint8
    assert labels.dtype == np.int32
    assert decoded.flags.c_contiguous


@pytest.mark.parametrize(
    ("images", "labels", "named"),
    [
        (np.zeros((1, 32, 32, 3)), [0], "images"),
        (np.zeros((1, 3, 32, 32), np.uint8), [0], "images"),
        (np.zeros((1, 32, 32, 3), np.uint8), [0, 1], "labels"),
        (np.zeros((1, 32, 32, 3), np.uint8), [256], "labels"),
        (np.zeros((1, 32, 32, 3), np.uint8), [-1], "labels"),
    ],
)
def test_encode_refuses_what_is_no_record(images, labels, named):
    with pytest.raises(ValueError, match=named):
        records.encode(images, labels)


def test_decode_refuses_half_a_record():
    with pytest.raises(ValueError, match="whole number of records"):
        records.decode(bytes(3074))


def test_a_data_set_is_read_as_it_was_written(tmp_path):
    written = write_small(tmp_path / "small")
    dataset = records.load(tmp_path / "small")
    np.testing.assert_array_equal(dataset.train_images, written["images"][:4])
    np.testing.assert_array_equal(dataset.train_labels, written["labels"][:4])
    np.testing.assert_array_equal(dataset.test_images, written["images"][4:])
    np.testing.assert_array_equal(dataset.test_labels, written["labels"][4:])
    assert (dataset.name, dataset.class_names) == ("small", ["a", "b", "c"])
    assert set(dataset.provenance) == {"name", "title", "published", "source", "sha256"}
    assert dataset.provenance["published"] is False


def test_writing_again_replaces_everything_and_leaves_nothing_beside_it(tmp_path):
    folder = tmp_path / "small"
    write_small(folder)
    (folder / "stray").write_text("old", encoding="utf-8")
    for leftover in (".small.partial", ".small.replaced"):
        (tmp_path / leftover).mkdir()
        (tmp_path / leftover / "of a killed run").touch()
    write_small(folder, title="New")
    assert json.loads((folder / "dataset.json").read_text(encoding="utf-8"))["title"] == "New"
    assert not (folder / "stray").exists()
    assert [path.name for path in tmp_path.iterdir()] == ["small"]


def test_a_failed_write_leaves_what_was_there(tmp_path, monkeypatch):
    folder = tmp_path / "small"
    write_small(folder)
    before = contents_of(folder)

    def full(path, content):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(records, "_write_through", full)
    refused(lambda: write_small(folder, title="New"), str(folder), "No space left on device")
    assert contents_of(folder) == before
    assert [path.name for path in tmp_path.iterdir()] == ["small"]


def test_a_failed_rename_puts_the_old_data_set_back(tmp_path, monkeypatch):
    folder = tmp_path / "small"
    write_small(folder)
    before = contents_of(folder)
    rename = os.rename

    def fail_for_the_new_one(source, target):
        if str(source).endswith(".partial"):
            raise OSError(13, "Permission denied")
        rename(source, target)

    monkeypatch.setattr(os, "rename", fail_for_the_new_one)
    refused(lambda: write_small(folder, title="New"), str(folder), "Permission denied")
    assert contents_of(folder) == before
    assert [path.name for path in tmp_path.iterdir()] == ["small"]


def test_a_killed_write_leaves_no_data_set(tmp_path):
    script = (
        "import os, sys; from resode.base import files as written; from resode.data import records\n"
        "written._exchange = lambda *_: os._exit(9)\n"
        "image = records.np.zeros((1, 32, 32, 3), 'uint8')\n"
        "files = dict.fromkeys(['data_batch_1.bin', 'test_batch.bin'], records.encode(image, [0]))\n"
        "text = dict(name='n', title='t', source='s')\n"
        "records.write(sys.argv[1], files, class_names=['a'], published=False, **text)\n"
    )
    folder = tmp_path / "small"
    killed = subprocess.run([sys.executable, "-c", script, str(folder)], env=_environment(), check=False)
    assert killed.returncode == 9
    assert not folder.exists()
    write_small(folder)
    assert [path.name for path in tmp_path.iterdir()] == ["small"]


def _environment() -> dict:
    return {**os.environ, "PYTHONPATH": str(Path(records.__file__).parents[2])}


def test_a_folder_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").write_text("not a folder", encoding="utf-8")
    folder = tmp_path / "file" / "small"
    refused(lambda: write_small(folder), str(folder), "cannot write")


def _delete(path: Path) -> None:
    path.unlink()


def _cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


def _drop_a_record(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: -records.RECORD_BYTES])


def _empty(path: Path) -> None:
    path.write_bytes(b"")


def _label_200(path: Path) -> None:
    path.write_bytes(with_label(path.read_bytes(), 1, 200))


def _flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[100] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize(
    ("damage", "told"),
    [
        (_delete, "missing"),
        (_cut, "whole number"),
        (_drop_a_record, "dataset.json"),
        (_empty, "whole number"),
        (_label_200, "record 1 has label 200"),
        (_flip, "dataset.json"),
    ],
)
def test_load_names_the_damaged_file(tmp_path, damage, told):
    write_small(tmp_path)
    damage(tmp_path / "data_batch_2.bin")
    refused(lambda: records.load(tmp_path), "data_batch_2.bin", told, "dvc repro")


@pytest.mark.parametrize(
    "text",
    ["", "[]", "{}", '{"name": 1}', "[" * 200_000, '{"name": ' + "1" * 5_000 + "}", " " * 2_000_000],
    ids=["empty", "a list", "no name", "a number as name", "too deep", "a number of 5,000 digits", "too long"],
)
def test_load_refuses_a_description_that_is_none(tmp_path, text):
    write_small(tmp_path)
    (tmp_path / "dataset.json").write_text(text, encoding="utf-8")
    refused(lambda: records.load(tmp_path), "dataset.json", "dvc repro")


@pytest.mark.parametrize("name", ["../data_batch_1.bin", "data_batch_x.bin", "/data_batch_1.bin"])
def test_load_reads_no_other_files_than_batches(tmp_path, name):
    write_small(tmp_path)
    path = tmp_path / "dataset.json"
    description = json.loads(path.read_text(encoding="utf-8"))
    description["sha256"][name] = "0" * 64
    path.write_text(json.dumps(description), encoding="utf-8")
    refused(lambda: records.load(tmp_path), "does not describe a data set")


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"class_names": [1, None, {}]}, "names of its classes"),
        ({"class_names": ["a", "b", "c\x1b[31m"]}, "names of its classes"),
        ({"class_names": ["a", "b", "c\n"]}, "names of its classes"),
        ({"class_names": ["a", "b", "b"]}, "two of its classes"),
        ({"class_names": ["a", "b", "c", "d"]}, "names 4 classes, the labels are of 3"),
        ({"title": "a\x1b[31m"}, "title of its data set"),
        ({"source": "a\nb"}, "does not describe a data set"),
        ({"name": "another"}, "it is of the data set another"),
    ],
)
def test_load_refuses_a_description_of_what_cannot_be(tmp_path, changes, told):
    write_small(tmp_path / "small", **changes)
    refused(lambda: records.load(tmp_path / "small"), "dataset.json", told, "dvc repro small")


def test_load_neither_waits_nor_reads_without_end(tmp_path):
    write_small(tmp_path)
    path = tmp_path / records.TEST_FILE
    os.truncate(path, 1_000_000 * records.RECORD_BYTES)
    refused(lambda: records.load(tmp_path), records.TEST_FILE, "3,073,000,000 bytes", "dvc repro")
    path.unlink()
    os.mkfifo(path)
    refused(lambda: records.load(tmp_path), records.TEST_FILE, "not an ordinary file", "dvc repro")


def test_load_does_not_read_too_many_files(tmp_path):
    write_small(tmp_path)
    described = json.loads((tmp_path / "dataset.json").read_text(encoding="utf-8"))
    for number in range(1, 8):
        name = f"data_batch_{number}.bin"
        (tmp_path / name).touch()
        # Without taking space on the disk.
        os.truncate(tmp_path / name, 50_000 * records.RECORD_BYTES)
        described["sha256"][name] = ""
    (tmp_path / "dataset.json").write_text(json.dumps(described), encoding="utf-8")
    refused(lambda: records.load(tmp_path), "dataset.json", "at most 921,900,000 are read")


def test_load_without_a_data_set_says_how_to_get_one(tmp_path):
    refused(lambda: records.load(tmp_path / "none"), "dataset.json", "missing", "dvc repro")


# CIFAR-10


def test_the_published_table_and_format_are_those_of_the_binary_version():
    assert list(cifar10.PUBLISHED) == [*(f"data_batch_{i}.bin" for i in range(1, 6)), "test_batch.bin"]
    assert all(len(digest) == 64 for digest in cifar10.PUBLISHED.values())
    assert cifar10.RECORDS_A_FILE * records.RECORD_BYTES == 30_730_000
    assert cifar10.CLASS_NAMES[0] == "airplane"
    assert cifar10.CLASS_NAMES[-1] == "truck"


def test_unpack_writes_the_members_and_says_they_are_the_published_ones(tmp_path, members):
    source = tar_gz(tmp_path / "a.tar.gz", members)
    assert cifar10.unpack(source, tmp_path / "cifar10", True) is True
    written = contents_of(tmp_path / "cifar10")
    description = json.loads(written.pop("dataset.json"))
    assert written == members
    assert description["published"] is True
    assert description["sha256"] == cifar10.PUBLISHED
    dataset = records.load(tmp_path / "cifar10")
    assert dataset.train_images.shape == (5 * RECORDS, 32, 32, 3)
    assert dataset.test_images.shape == (RECORDS, 32, 32, 3)
    assert len(dataset.class_names) == 10


def test_the_members_decide_and_not_the_archive(tmp_path, members):
    readme = (tarfile.TarInfo("elsewhere/readme.html"), b"hello")
    readme[0].mtime = 1_234_567_890
    backwards = dict(reversed(members.items()))
    first = tar_gz(tmp_path / "a.tar.gz", members)
    second = tar_gz(tmp_path / "b.tar.gz", backwards, folder="elsewhere/", extra=[readme], level=1)
    unpacked = tmp_path / "cifar-10-batches-bin"
    unpacked.mkdir()
    for name, content in members.items():
        (unpacked / name).write_bytes(content)
    (unpacked / "batches.meta.txt").write_text("not needed", encoding="utf-8")
    assert first.read_bytes() != second.read_bytes()
    for source, folder in ((first, "1"), (second, "2"), (unpacked, "3")):
        cifar10.unpack(source, tmp_path / folder, True)
    assert contents_of(tmp_path / "1") == contents_of(tmp_path / "2") == contents_of(tmp_path / "3")


def test_a_missing_archive_says_how_to_get_it(tmp_path, members):
    unpack = lambda: cifar10.unpack(tmp_path / "a.tar.gz", tmp_path / "cifar10", True)
    refused(unpack, "a.tar.gz", "dvc repro", "make data ARCHIVE=")


def _nothing_left(tmp_path: Path, *kept: str) -> None:
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(kept)


@pytest.mark.parametrize("require_published", [True, False])
@pytest.mark.parametrize("part", [0.0, 0.001, 0.3, 0.9999])
def test_a_truncated_archive_is_named(tmp_path, members, part, require_published):
    source = tar_gz(tmp_path / "a.tar.gz", members)
    content = source.read_bytes()
    source.write_bytes(content[: int(len(content) * part)])
    refused(lambda: cifar10.unpack(source, tmp_path / "cifar10", require_published), "a.tar.gz", "make data")
    _nothing_left(tmp_path, "a.tar.gz")


@pytest.mark.parametrize("require_published", [True, False])
@pytest.mark.parametrize("position", [0, 40, 0.1, 0.37, 0.5, 0.8, -6, -2])
def test_one_flipped_byte_in_the_archive_is_told(tmp_path, members, position, require_published):
    source = tar_gz(tmp_path / "a.tar.gz", members)
    content = bytearray(source.read_bytes())
    where = int(position * len(content)) if isinstance(position, float) else position
    content[where] ^= 0x40
    source.write_bytes(content)
    refused(lambda: cifar10.unpack(source, tmp_path / "cifar10", require_published), "a.tar.gz")
    _nothing_left(tmp_path, "a.tar.gz")


def test_a_flipped_byte_in_a_member_names_the_member(tmp_path, members):
    changed = bytearray(members["data_batch_3.bin"])
    changed[5] ^= 1
    source = tar_gz(tmp_path / "a.tar.gz", {**members, "data_batch_3.bin": bytes(changed)})
    unpack = lambda required: cifar10.unpack(source, tmp_path / "cifar10", required)
    refused(lambda: unpack(True), "data_batch_3.bin", "differs from the published", "require_published")
    _nothing_left(tmp_path, "a.tar.gz")
    assert unpack(False) is False
    assert records.load(tmp_path / "cifar10").provenance["published"] is False
    assert "differs" in records.load(tmp_path / "cifar10").provenance["source"]


def test_published_members_are_published_whether_or_not_that_is_required(tmp_path, members):
    source = tar_gz(tmp_path / "a.tar.gz", members)
    assert cifar10.unpack(source, tmp_path / "1", False) is True
    cifar10.unpack(source, tmp_path / "2", True)
    assert contents_of(tmp_path / "1") == contents_of(tmp_path / "2")


@pytest.mark.parametrize("require_published", [True, False])
def test_a_missing_member_is_named(tmp_path, members, require_published):
    del members["data_batch_4.bin"]
    source = tar_gz(tmp_path / "a.tar.gz", members)
    refused(lambda: cifar10.unpack(source, tmp_path / "cifar10", require_published), "data_batch_4.bin")
    _nothing_left(tmp_path, "a.tar.gz")


@pytest.mark.parametrize("require_published", [True, False])
def test_a_label_of_200_is_named(tmp_path, members, require_published):
    members["test_batch.bin"] = with_label(members["test_batch.bin"], 11, 200)
    source = tar_gz(tmp_path / "a.tar.gz", members)
    unpack = lambda: cifar10.unpack(source, tmp_path / "cifar10", require_published)
    refused(unpack, "test_batch.bin", "record 11 has label 200")
    _nothing_left(tmp_path, "a.tar.gz")


@pytest.mark.parametrize("require_published", [True, False])
def test_a_member_of_the_wrong_size_is_named(tmp_path, members, require_published):
    members["data_batch_1.bin"] = members["data_batch_1.bin"][: -records.RECORD_BYTES]
    source = tar_gz(tmp_path / "a.tar.gz", members)
    unpack = lambda: cifar10.unpack(source, tmp_path / "cifar10", require_published)
    refused(unpack, "data_batch_1.bin", "bytes")


@pytest.mark.parametrize(
    "name",
    [
        "../data_batch_1.bin",
        "cifar-10-batches-bin/../../evil",
        "/tmp/evil",
        "..",
        "..\\evil",
        "\\evil",
        "C:\\evil",
        "../two\nlines",
    ],
)
@pytest.mark.parametrize("require_published", [True, False])
def test_an_unsafe_member_name_is_refused_and_named(tmp_path, members, name, require_published):
    evil = (tarfile.TarInfo(name), b"evil")
    source = tar_gz(tmp_path / "a.tar.gz", members, extra=[evil])
    refused(lambda: cifar10.unpack(source, tmp_path / "in" / "cifar10", require_published), repr(name))
    _nothing_left(tmp_path, "a.tar.gz")


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE, tarfile.CHRTYPE])
def test_links_and_devices_are_refused(tmp_path, members, kind):
    entry = tarfile.TarInfo("cifar-10-batches-bin/data_batch_1.bin")
    entry.type, entry.linkname = kind, "/etc/passwd"
    del members["data_batch_1.bin"]
    source = tar_gz(tmp_path / "a.tar.gz", members, extra=[(entry, b"")])
    refused(lambda: cifar10.unpack(source, tmp_path / "cifar10", False), "data_batch_1.bin", "neither a file")


def test_a_second_copy_of_a_member_is_refused(tmp_path, members):
    again = (tarfile.TarInfo("other/test_batch.bin"), members["test_batch.bin"])
    source = tar_gz(tmp_path / "a.tar.gz", members, extra=[again])
    refused(lambda: cifar10.unpack(source, tmp_path / "cifar10", True), "test_batch.bin", "more than once")


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"<html>log in</html>", "is not a gzip file"),
        (b"\x80\x04pickle", "is not a gzip file"),
        (gzip.compress(b"no tar"), "a.tar.gz"),
    ],
    # gzip writes the time; the processes must collect the same tests.
    ids=["page of a login", "pickle", "gzip, no tar"],
)
def test_what_is_no_archive_is_told(tmp_path, members, content, told):
    source = tmp_path / "a.tar.gz"
    source.write_bytes(content)
    refused(lambda: cifar10.unpack(source, tmp_path / "cifar10", False), "a.tar.gz", told, "make data")


def test_an_output_folder_that_cannot_be_written_is_named(tmp_path, members):
    source = tar_gz(tmp_path / "a.tar.gz", members)
    (tmp_path / "data").write_text("not a folder", encoding="utf-8")
    folder = tmp_path / "data" / "cifar10"
    refused(lambda: cifar10.unpack(source, folder, True), str(folder), "cannot write")


def test_an_unpacked_folder_is_checked_like_an_archive(tmp_path, members):
    for name, content in members.items():
        (tmp_path / name).write_bytes(content)
    (tmp_path / "data_batch_2.bin").write_bytes(with_label(members["data_batch_2.bin"], 0, 200))
    refused(lambda: cifar10.read_members(tmp_path, False), "data_batch_2.bin", "label 200")
    (tmp_path / "data_batch_2.bin").write_bytes(b"short")
    refused(lambda: cifar10.read_members(tmp_path, False), "data_batch_2.bin", "bytes")
    (tmp_path / "data_batch_2.bin").unlink()
    refused(lambda: cifar10.read_members(tmp_path, False), "data_batch_2.bin", "does not hold")


def test_a_packed_folder_is_the_same_archive_every_time(tmp_path, members):
    packed = []
    for contents in (members, dict(reversed(members.items()))):
        file = io.BytesIO()
        archive.pack(contents, file)
        packed.append(file.getvalue())
    assert packed[0] == packed[1]
    (tmp_path / "a.tar.gz").write_bytes(packed[0])
    assert cifar10.read_members(tmp_path / "a.tar.gz", True) == members


# Digits


def test_the_digits_are_split_the_same_way_every_time(tmp_path):
    digits.write(tmp_path / "1" / "digits")
    digits.write(tmp_path / "2" / "digits")
    assert contents_of(tmp_path / "1" / "digits") == contents_of(tmp_path / "2" / "digits")


def test_the_digits_are_complete_stratified_and_apart(tmp_path):
    digits.write(tmp_path / "digits")
    dataset = records.load(tmp_path / "digits")
    assert len(dataset.train_labels) == 1437
    assert len(dataset.test_labels) == 360
    train, test = np.bincount(dataset.train_labels), np.bincount(dataset.test_labels)
    assert len(train) == len(test) == 10
    assert np.all(np.abs(test - 0.2 * (train + test)) <= 1)
    assert dataset.class_names == [str(digit) for digit in range(10)]
    assert "scikit-learn" in dataset.provenance["source"]
    seen = {image.tobytes() for image in dataset.train_images}
    assert not any(image.tobytes() in seen for image in dataset.test_images)


def test_digits_are_enlarged_faithfully():
    from sklearn.datasets import load_digits

    small = load_digits().images[:50]
    large = digits.enlarge(small)
    assert large.shape == (50, 32, 32, 3)
    assert large.dtype == np.uint8
    assert np.all(large[..., :1] == large)
    blocks = large[..., 0].reshape(50, 8, 4, 8, 4).mean((2, 4))
    assert np.corrcoef(blocks.ravel(), small.ravel())[0, 1] > 0.95
    np.testing.assert_array_equal(digits.enlarge(np.full((1, 8, 8), 16.0)), 255)
    np.testing.assert_array_equal(digits.enlarge(np.zeros((1, 8, 8))), 0)


def test_digits_into_a_folder_that_cannot_be_written(tmp_path):
    (tmp_path / "data").write_text("not a folder", encoding="utf-8")
    refused(lambda: digits.write(tmp_path / "data" / "digits"), "cannot write")


def test_altered_content_says_so_in_its_title(tmp_path, members):
    changed = bytearray(members["data_batch_3.bin"])
    changed[5] ^= 1
    source = tar_gz(tmp_path / "a.tar.gz", {**members, "data_batch_3.bin": bytes(changed)})
    assert not cifar10.unpack(source, tmp_path / "cifar10", require_published=False)
    provenance = records.load(tmp_path / "cifar10").provenance
    assert provenance["title"] == cifar10.ALTERED_TITLE and provenance["published"] is False


def test_folder_that_is_a_link_to_another_disk_stays_one(tmp_path):
    (tmp_path / "disk").mkdir()
    link = tmp_path / "data" / "small"
    link.parent.mkdir()
    link.symlink_to(tmp_path / "disk" / "small")
    # What a version that could not do it left.
    (tmp_path / "disk" / ".small.replaced").symlink_to(tmp_path)
    for _ in range(2):
        write_small(link)
        assert link.is_symlink() and records.load(link).name == "small"
    assert (
        [path.name for path in link.parent.iterdir()]
        == [path.name for path in (tmp_path / "disk").iterdir()]
        == ["small"]
    )


def test_folder_that_is_a_link_to_itself_is_one_line(tmp_path):
    (tmp_path / "small").symlink_to("small")
    refused(lambda: write_small(tmp_path / "small"), f"cannot write {tmp_path / 'small'}")
    assert [path.name for path in tmp_path.iterdir()] == ["small"]


# Archives that eat the machine


def header(name: str, size: int, kind: bytes = b"0") -> bytes:
    """A tar header with any size, larger than what follows, too."""
    info = tarfile.TarInfo(name)
    info.size, info.type = size, kind
    return info.tobuf(tarfile.GNU_FORMAT)


def pax(*lines: str) -> bytes:
    # A record begins with its own length, digits included.
    lengths = [next(n for n in range(len(line) + 3, len(line) + 12) if len(f"{n} {line}\n") == n) for line in lines]
    records_ = b"".join(f"{length} {line}\n".encode() for length, line in zip(lengths, lines, strict=True))
    return header("pax", len(records_), b"x") + records_ + bytes(-len(records_) % 512)


# Five times what is allowed besides the members; gigabytes would be the same, and slow to make.
ZEROS = bytes(20_000_000)
EVIL = {
    "a GNU name of gigabytes": lambda good: header("././@LongLink", 3 << 30, b"L") + ZEROS,
    "a GNU link name of gigabytes": lambda good: header("././@LongLink", 3 << 30, b"K") + ZEROS,
    "a pax header of gigabytes": lambda good: header("pax", 3 << 30, b"x") + ZEROS,
    "a global pax header of gigabytes": lambda good: header("pax", 3 << 30, b"g") + ZEROS,
    "a member of 2^62 bytes": lambda good: header("cifar-10-batches-bin/data_batch_1.bin", 1 << 62),
    "another file of 2^62 bytes": lambda good: header("cifar-10-batches-bin/notes.txt", 1 << 62) + ZEROS,
    "another file of 2^62 bytes that ends": lambda good: header("notes.txt", 1 << 62) + bytes(10_000),
    "another file of 10^11 bytes that ends": lambda good: header("notes.txt", 10**11) + bytes(10_000),
    "a sparse file of 2^62 bytes": lambda good: pax("GNU.sparse.major=0", f"size={1 << 62}") + header("a", 9),
    "zeros between the members": lambda good: header("notes.txt", len(ZEROS)) + ZEROS + good,
    "zeros behind the members": lambda good: good + ZEROS,
    "a pax record of many digits": lambda good: pax("comment=" + "1" * 3_000_000) + good,
    "pax records of many digits": lambda good: pax("comment=" + "1" * 1_900) * 1_500 + good,
    "5,000 pax headers": lambda good: pax("comment=x") * 5000 + good,
    "a malformed sparse map": lambda good: pax("GNU.sparse.map=1,2,x", "GNU.sparse.size=a") + header("a", 0),
    "a sparse map of version 1.0": lambda good: pax("GNU.sparse.major=1", "GNU.sparse.minor=0") + header("a", 512) + b"\xff" * 512,
    "a name with escape sequences": lambda good: header("../\x1b[31m" + "x" * 80, 0) + good,
}  # fmt: skip


@pytest.mark.parametrize("evil", EVIL)
def test_archive_that_holds_more_than_it_can_need_is_refused_at_once(evil, members, tmp_path):
    good = gzip.decompress(tar_gz(tmp_path / "good", members).read_bytes())
    path = tmp_path / "evil.tar.gz"
    path.write_bytes(gzip.compress(EVIL[evil](good), 1))
    tracemalloc.start()
    message = refused(lambda: cifar10.read_members(path, True), str(path), "bring another copy")
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 60_000_000 and message.isprintable() and len(message) < 800


@pytest.mark.parametrize(
    ("content", "size", "words"),
    [
        (gzip.compress(b"") * 20_000, None, "more than 10,000 parts"),
        (b"\x1f\x8b\x08\x08\0\0\0\0\0\xff" + b"a" * 30_000_000, None, "the file is cut short"),
        (gzip.compress(b""), 180_000_000, "at its first bytes"),
        (gzip.compress(b""), 10_000_000_000, "10,000,000,000 bytes, more than the published one has"),
    ],
    ids=["empty parts", "a header of megabytes", "zeros behind", "a large file"],
)
def test_gzip_file_that_holds_nothing_is_refused_at_once(content, size, words, tmp_path):
    path = tmp_path / "archive.tar.gz"
    path.write_bytes(content)
    if size:
        # Without taking space on the disk.
        os.truncate(path, size)
    began = time.process_time()
    refused(lambda: cifar10.read_members(path, True), words)
    assert time.process_time() - began < 5


def test_archives_in_many_parts_are_read(members, tmp_path):
    whole = gzip.decompress(tar_gz(tmp_path / "good", members).read_bytes())
    part = len(whole) // 500
    packed = b"".join(gzip.compress(whole[i : i + part], 1) + bytes(i % 3) for i in range(0, len(whole), part))
    (tmp_path / "parts").write_bytes(packed)
    assert cifar10.read_members(tmp_path / "parts", False) == members


@pytest.mark.parametrize(
    ("folder", "words"),
    [
        ("cifar-100-binary", "is CIFAR-100"),
        ("CIFAR-100-binary", "is CIFAR-100"),
        ("cifar-10-batches-py", "is the Python version of CIFAR-10"),
    ],
)
def test_other_versions_of_the_data_are_named(folder, words, tmp_path):
    (tmp_path / "archive").write_bytes(gzip.compress(header(f"{folder}/train.bin", 0) + ZEROS))
    (tmp_path / folder).mkdir()
    (tmp_path / "dotted").write_bytes(gzip.compress(header(f"./{folder}/train.bin", 0) + ZEROS))
    for source in (tmp_path / "archive", tmp_path / "dotted", tmp_path / folder, tmp_path):
        refused(lambda source=source: cifar10.read_members(source, True), str(source), words, "make data ARCHIVE=path")


def test_folder_above_the_right_one_is_told(tmp_path):
    (tmp_path / "cifar-10-batches-bin").mkdir()
    refused(lambda: cifar10.read_members(tmp_path, True), "holds a folder cifar-10-batches-bin; give that one")


def test_what_is_no_file_is_no_archive(tmp_path):
    os.mkfifo(tmp_path / "fifo")
    refused(lambda: cifar10.read_members(tmp_path / "fifo", True), "not an ordinary file")
