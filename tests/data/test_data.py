"""Records, CIFAR-10 and the digits: what is written, and what wrong input is told."""

import gzip
import hashlib
import io
import json
import os
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


def flipped(content: bytes) -> bytes:
    """`content` with one bit of the first image changed."""
    return content[:100] + bytes([content[100] ^ 1]) + content[101:]


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
    assert len(content) == 3073 and content[0] == 7
    assert content[1 : 1 + 1024] == image[0, :, :, 0].tobytes()
    assert content[1 + 2048 :] == image[0, :, :, 2].tobytes()
    decoded, labels = records.decode(content)
    np.testing.assert_array_equal(decoded, image)
    assert (decoded.dtype, labels.dtype, labels, decoded.flags.c_contiguous) == (np.uint8, np.int32, [7], True)


@pytest.mark.parametrize(
    ("images", "labels", "named"),
    [
        (np.zeros((1, 3, 32, 32), np.uint8), [0], "images"),
        (np.zeros((1, 32, 32, 3), np.uint8), [0, 1], "labels"),
        (np.zeros((1, 32, 32, 3), np.uint8), [256], "labels"),
    ],
)
def test_encode_refuses_what_is_no_record(images, labels, named):
    with pytest.raises(ValueError, match=named):
        records.encode(images, labels)


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


@pytest.mark.parametrize("where", ["the disk is full", "the folder cannot be renamed"])
def test_a_failed_write_leaves_what_was_there(where, tmp_path, monkeypatch):
    folder = tmp_path / "small"
    write_small(folder)
    before, rename = contents_of(folder), os.rename

    def full(path, content):
        raise OSError(28, where)

    def fail_for_the_new_one(source, target):
        if str(source).endswith(".partial"):
            raise OSError(13, where)
        rename(source, target)

    if "full" in where:
        monkeypatch.setattr(records, "_write_through", full)
    monkeypatch.setattr(os, "rename", fail_for_the_new_one)
    refused(lambda: write_small(folder, title="New"), str(folder), where)
    assert contents_of(folder) == before
    assert [path.name for path in tmp_path.iterdir()] == ["small"]


@pytest.mark.parametrize(
    ("damage", "told"),
    [
        (None, "No such file"),
        (lambda content: content[:-1], "whole number"),
        (lambda content: with_label(content, 1, 200), "record 1 has label 200"),
        (flipped, "dataset.json"),
    ],
)
def test_load_names_the_damaged_file(tmp_path, damage, told):
    write_small(tmp_path)
    path = tmp_path / "data_batch_2.bin"
    path.write_bytes(damage(path.read_bytes())) if damage else path.unlink()
    refused(lambda: records.load(tmp_path), "data_batch_2.bin", told, "dvc repro")


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (None, "No such file"),
        ({"class_names": [1, 2]}, "describes no data set: class_names.0"),
        ({"sha256": {"../data_batch_1.bin": ""}}, "describes no data set: sha256.../data_batch_1.bin"),
        ({"sha256": {"test_batch.bin": ""}}, "must name test_batch.bin and a file of training images"),
        ({"name": "another"}, "describes the data set another"),
    ],
)
def test_load_refuses_a_description_that_is_missing_or_none_or_of_another_data_set(tmp_path, change, told):
    write_small(tmp_path / "small")
    path = tmp_path / "small" / "dataset.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | change)) if change else path.unlink()
    refused(lambda: records.load(tmp_path / "small"), "dataset.json", told, "dvc repro small")


# CIFAR-10


def test_the_published_table_and_format_are_those_of_the_binary_version():
    assert list(cifar10.PUBLISHED) == [*(f"data_batch_{i}.bin" for i in range(1, 6)), "test_batch.bin"]
    assert all(len(digest) == 64 for digest in cifar10.PUBLISHED.values())
    assert cifar10.RECORDS_A_FILE * records.RECORD_BYTES == 30_730_000
    assert (cifar10.CLASS_NAMES[0], cifar10.CLASS_NAMES[-1]) == ("airplane", "truck")


def write_cifar10(tmp_path: Path, source: Path | None, require_published=True) -> bool:
    return cifar10.write(tmp_path / "data" / "cifar10", require_published, source)


def test_the_six_files_are_written_and_are_the_published_ones(tmp_path, members):
    assert write_cifar10(tmp_path, tar_gz(tmp_path / "a.tar.gz", members)) is True
    written = contents_of(tmp_path / "data" / "cifar10")
    assert {name: written[name] for name in written if name != "dataset.json"} == members
    dataset = records.load(tmp_path / "data" / "cifar10")
    assert dataset.provenance["published"] is True and dataset.provenance["sha256"] == cifar10.PUBLISHED
    assert (len(dataset.train_images), len(dataset.test_images), len(dataset.class_names)) == (100, RECORDS, 10)


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


@pytest.mark.parametrize(
    ("damage", "told"),
    [
        (None, ["No such file", "dvc repro cifar10"]),
        (lambda content: b"", []),
        (lambda content: content[:-1000], []),
        # In the checksum that stands behind the end of the members.
        (lambda content: content[:-6] + bytes([content[-6] ^ 1]) + content[-5:], []),
        (lambda content: b"<html>log in</html>", ["cannot read"]),
    ],
    ids=["missing", "empty", "cut short", "damaged", "page"],
)
def test_an_archive_that_is_missing_damaged_or_none_is_told(damage, told, tmp_path, members):
    source = tar_gz(tmp_path / "a.tar.gz", members)
    source.write_bytes(damage(source.read_bytes())) if damage else source.unlink()
    wrong(tmp_path, source, False, *told)


@pytest.mark.parametrize("packed", [True, False])
def test_a_wrong_member_is_named(tmp_path, members, packed):
    def refuses(name: str, content: bytes | None, required: bool, told: str) -> None:
        changed = {key: value for key, value in {**members, name: content}.items() if value is not None}
        folder = tmp_path / told
        source = tar_gz(tmp_path / "a.tar.gz", changed) if packed else unpacked(folder, changed)
        wrong(tmp_path, source, required, name, told)

    refuses("data_batch_3.bin", flipped(members["data_batch_3.bin"]), True, "differs from the published")
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


def test_without_an_archive_the_data_set_that_is_there_is_taken_or_the_network(tmp_path, members, monkeypatch):
    source = tar_gz(tmp_path / "a.tar.gz", members)
    monkeypatch.setattr(cifar10, "_downloaded", lambda folder: source)
    folder = tmp_path / "data" / "cifar10"
    assert write_cifar10(tmp_path, None)
    good = contents_of(folder)
    (folder / "data_batch_2.bin").write_bytes(flipped(good["data_batch_2.bin"]))
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


def test_the_digits_are_complete_stratified_apart_and_split_the_same_way_every_time(tmp_path):
    for folder in (tmp_path / "digits", tmp_path / "again" / "digits"):
        digits.write(folder)
    assert contents_of(folder) == contents_of(tmp_path / "digits")
    dataset = records.load(folder)
    assert (len(dataset.train_labels), len(dataset.test_labels)) == (1437, 360)
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
    assert large.shape == (50, 32, 32, 3) and large.dtype == np.uint8
    assert np.all(large[..., :1] == large)
    blocks = large[..., 0].reshape(50, 8, 4, 8, 4).mean((2, 4))
    assert np.corrcoef(blocks.ravel(), small.ravel())[0, 1] > 0.95
    np.testing.assert_array_equal(digits.enlarge(np.full((1, 8, 8), 16.0)), 255)
    np.testing.assert_array_equal(digits.enlarge(np.zeros((1, 8, 8))), 0)
