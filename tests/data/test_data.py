"""Records, CIFAR-10 and the digits: what is written, and what wrong input is told."""

import gzip
import hashlib
import io
import json
import os
import subprocess
import sys
import tarfile
from pathlib import Path

import numpy as np
import pytest

from resode.base.errors import InputError
from resode.data import cifar10, digits, records

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


def tar_gz(path: Path, contents: dict, folder="cifar-10-batches-bin/", extra=()) -> Path:
    """An archive of `contents`, then of `extra` (TarInfo, bytes) pairs."""
    entries = [(tarfile.TarInfo(folder + name), content) for name, content in contents.items()]
    with gzip.open(path, "wb") as stream, tarfile.open(fileobj=stream, mode="w") as tar:
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
        (_delete, "No such file"),
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


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"name": 1}'])
def test_load_refuses_a_description_that_is_none(tmp_path, text):
    write_small(tmp_path)
    (tmp_path / "dataset.json").write_text(text, encoding="utf-8")
    refused(lambda: records.load(tmp_path), "dataset.json describes no data set", "dvc repro")


@pytest.mark.parametrize(
    ("key", "value", "told"),
    [
        ("sha256", {"../data_batch_1.bin": "", "test_batch.bin": ""}, "sha256.../data_batch_1.bin"),
        ("sha256", {"test_batch.bin": ""}, "must name test_batch.bin and a file of training images"),
        ("class_names", [1, 2], "class_names.0"),
        ("name", "another", "describes the data set another"),
    ],
)
def test_load_refuses_a_description_of_another_data_set(tmp_path, key, value, told):
    write_small(tmp_path / "small")
    path = tmp_path / "small" / "dataset.json"
    path.write_text(json.dumps(json.loads(path.read_text(encoding="utf-8")) | {key: value}), encoding="utf-8")
    refused(lambda: records.load(tmp_path / "small"), "dataset.json", told, "dvc repro small")


def test_load_without_a_data_set_says_how_to_get_one(tmp_path):
    refused(lambda: records.load(tmp_path / "none"), "dataset.json", "No such file", "dvc repro none")


# CIFAR-10


def test_the_published_table_and_format_are_those_of_the_binary_version():
    assert list(cifar10.PUBLISHED) == [*(f"data_batch_{i}.bin" for i in range(1, 6)), "test_batch.bin"]
    assert all(len(digest) == 64 for digest in cifar10.PUBLISHED.values())
    assert cifar10.RECORDS_A_FILE * records.RECORD_BYTES == 30_730_000
    assert cifar10.CLASS_NAMES[0] == "airplane"
    assert cifar10.CLASS_NAMES[-1] == "truck"


def write_cifar10(tmp_path: Path, source: Path | None, require_published=True) -> bool:
    return cifar10.write(tmp_path / "data" / "cifar10", require_published, source)


def test_the_six_files_are_written_and_are_the_published_ones(tmp_path, members):
    assert write_cifar10(tmp_path, tar_gz(tmp_path / "a.tar.gz", members)) is True
    written = contents_of(tmp_path / "data" / "cifar10")
    description = json.loads(written.pop("dataset.json"))
    assert written == members
    assert description["published"] is True
    assert description["sha256"] == cifar10.PUBLISHED
    dataset = records.load(tmp_path / "data" / "cifar10")
    assert dataset.train_images.shape == (5 * RECORDS, 32, 32, 3)
    assert dataset.test_images.shape == (RECORDS, 32, 32, 3)
    assert len(dataset.class_names) == 10


def unpacked(folder: Path, members: dict) -> Path:
    folder.mkdir()
    for name, content in members.items():
        (folder / name).write_bytes(content)
    return folder


def test_the_members_decide_and_not_the_archive(tmp_path, members):
    readme = (tarfile.TarInfo("elsewhere/readme.html"), b"hello")
    first = tar_gz(tmp_path / "a.tar.gz", members)
    second = tar_gz(tmp_path / "b.tar.gz", dict(reversed(members.items())), folder="elsewhere/", extra=[readme])
    third = unpacked(tmp_path / "cifar-10-batches-bin", members)
    (third / "batches.meta.txt").write_text("not needed", encoding="utf-8")
    written = []
    for source in (first, second, third):
        for required in (True, False):
            assert write_cifar10(tmp_path, source, required) is True
            written.append(contents_of(tmp_path / "data" / "cifar10"))
    assert all(one == written[0] for one in written)


def wrong(tmp_path: Path, source: Path, required: bool, *told: str) -> None:
    """`source` is refused in one line that names it and the remedy, and nothing is written."""
    refused(lambda: write_cifar10(tmp_path, source, required), source.name, "make data ARCHIVE=path", *told)
    assert not (tmp_path / "data").exists()


def test_a_missing_archive_says_how_to_get_it(tmp_path):
    wrong(tmp_path, tmp_path / "a.tar.gz", True, "No such file", "dvc repro cifar10")


@pytest.mark.parametrize("required", [True, False])
def test_an_archive_that_is_cut_short_or_damaged_is_told(tmp_path, members, required):
    source = tar_gz(tmp_path / "a.tar.gz", members)
    content = source.read_bytes()
    for part in (0.0, 0.001, 0.3, 0.9999):
        source.write_bytes(content[: int(len(content) * part)])
        wrong(tmp_path, source, required)
    for place in (0, 40, len(content) // 3, len(content) // 2, -6, -2):
        changed = bytearray(content)
        changed[place] ^= 0x40
        source.write_bytes(changed)
        wrong(tmp_path, source, required)


@pytest.mark.parametrize("content", [b"<html>log in</html>", gzip.compress(b"no tar", mtime=0)], ids=["page", "no tar"])
def test_what_is_no_archive_is_told(tmp_path, content):
    (tmp_path / "a.tar.gz").write_bytes(content)
    wrong(tmp_path, tmp_path / "a.tar.gz", False, "cannot read")


@pytest.mark.parametrize("packed", [True, False])
def test_a_wrong_member_is_named(tmp_path, members, packed):
    def refuses(name: str, content: bytes | None, required: bool, told: str) -> None:
        changed = {key: value for key, value in {**members, name: content}.items() if value is not None}
        folder = tmp_path / told
        source = tar_gz(tmp_path / "a.tar.gz", changed) if packed else unpacked(folder, changed)
        wrong(tmp_path, source, required, name, told)

    flipped = bytearray(members["data_batch_3.bin"])
    flipped[5] ^= 1
    refuses("data_batch_3.bin", bytes(flipped), True, "differs from the published")
    refuses("data_batch_4.bin", None, False, "does not hold")
    refuses("data_batch_1.bin", members["data_batch_1.bin"][: -records.RECORD_BYTES], False, "bytes")
    refuses("test_batch.bin", with_label(members["test_batch.bin"], 11, 200), False, "record 11 has label 200")


@pytest.mark.parametrize(
    ("folder", "told"),
    [("cifar-100-binary", "is CIFAR-100"), ("cifar-10-batches-py", "is the Python version of CIFAR-10")],
)
def test_other_versions_of_the_data_are_named(folder, told, tmp_path):
    wrong(tmp_path, tar_gz(tmp_path / "a.tar.gz", {"train.bin": b"0"}, folder=f"./{folder}/"), True, told)
    wrong(tmp_path, unpacked(tmp_path / folder, {"train.bin": b"0"}), True, told)


def test_altered_content_says_so_in_its_title(tmp_path, members):
    changed = with_label(members["data_batch_3.bin"], 0, 9 - members["data_batch_3.bin"][0])
    source = tar_gz(tmp_path / "a.tar.gz", {**members, "data_batch_3.bin": changed})
    assert write_cifar10(tmp_path, source, False) is False
    provenance = records.load(tmp_path / "data" / "cifar10").provenance
    assert provenance["title"] == cifar10.ALTERED_TITLE and provenance["published"] is False
    assert "differs" in provenance["source"]


def test_without_an_archive_the_data_set_that_is_there_is_taken_and_otherwise_the_network(
    tmp_path, members, monkeypatch
):
    source = tar_gz(tmp_path / "a.tar.gz", members)
    monkeypatch.setattr(cifar10, "_downloaded", lambda folder: source)
    folder = tmp_path / "data" / "cifar10"
    assert write_cifar10(tmp_path, None)
    good = contents_of(folder)
    _flip(folder / "data_batch_2.bin")
    assert write_cifar10(tmp_path, None) and contents_of(folder) == good
    altered = with_label(members["test_batch.bin"], 0, 9 - members["test_batch.bin"][0])
    write_cifar10(tmp_path, unpacked(tmp_path / "altered", {**members, "test_batch.bin": altered}), False)
    source.unlink()
    # Nothing is brought: what is there is good enough, or not.
    assert write_cifar10(tmp_path, None, False) is False
    refused(lambda: write_cifar10(tmp_path, None, True), "a.tar.gz", "No such file")
    # An experiment of DVC finds the project's.
    assert cifar10.write(tmp_path / ".dvc" / "tmp" / "exps" / "tmpabc" / "data" / "cifar10", False) is False


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
