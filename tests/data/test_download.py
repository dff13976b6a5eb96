"""data.dvc against a local HTTP server that sends ETags, and `archive.provide` without one."""

import hashlib
import io
import os
import shutil
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest

from resode.base import paths
from resode.base.errors import InputError
from resode.data import archive, cifar10, records

ROOT = paths.ROOT
URL = "https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz"
ARCHIVE = "data/cifar-10-binary.tar.gz"
PIPELINE = """\
stages:
  cifar10:
    cmd: python digest.py
    deps: [data/cifar-10-binary.tar.gz, digest.py]
    outs: [data/cifar10]
  training:
    cmd: python -c "import shutil; shutil.copytree('data/cifar10', 'results')"
    deps: [data/cifar10]
    outs: [results]
  digits:
    cmd: python -c "open('digits', 'w').write('1797')"
    outs: [digits]
"""
# Stands for the stage's own command: like it, the result depends on the members only.
DIGEST = """\
import hashlib, os, tarfile
os.makedirs("data/cifar10", exist_ok=True)
with tarfile.open("data/cifar-10-binary.tar.gz") as tar:
    for member in tar:
        with open("data/cifar10/" + os.path.basename(member.name), "w") as file:
            file.write(hashlib.sha256(tar.extractfile(member).read()).hexdigest())
"""


class Server:
    """Serves `content` at any path, and can be stopped and started again at the same address."""

    def __init__(self):
        self.content, self.missing_bytes, self.requests, self.port = b"", 0, [], 0
        self.start()

    def start(self):
        owner = self

        class Handler(BaseHTTPRequestHandler):
            def do_HEAD(self):
                owner.requests.append(self.command)
                self.send_response(200)
                self.send_header("Content-Length", str(len(owner.content) + owner.missing_bytes))
                self.send_header("ETag", f'"{hashlib.sha256(owner.content).hexdigest()[:16]}"')
                self.end_headers()

            def do_GET(self):
                self.do_HEAD()
                self.wfile.write(owner.content)

            def log_message(self, *_):
                pass

        self.http = ThreadingHTTPServer(("127.0.0.1", self.port), Handler)
        self.port = self.http.server_address[1]
        threading.Thread(target=self.http.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()

    def stop(self):
        self.http.shutdown()
        self.http.server_close()


@pytest.fixture
def server():
    server = Server()
    yield server
    server.stop()


@pytest.fixture
def members(monkeypatch):
    """Six files of one record each, taken for complete ones."""
    monkeypatch.setattr(cifar10, "RECORDS_A_FILE", 1)
    images = np.random.default_rng(0).integers(0, 256, (6, 1, 32, 32, 3), dtype=np.uint8)
    return {name: records.encode(image, [3]) for name, image in zip(cifar10.PUBLISHED, images, strict=True)}


def packed(members: dict) -> bytes:
    file = io.BytesIO()
    archive.pack(members, file)
    return file.getvalue()


def run(folder: Path, *command: str) -> subprocess.CompletedProcess:
    """Run git or dvc in `folder`, apart from the user's settings and from any proxy."""
    settings = {
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "DVC_NO_ANALYTICS": "1",
        "NO_PROXY": "127.0.0.1",
        "no_proxy": "127.0.0.1",
        "GIT_CONFIG_GLOBAL": os.devnull,
        **{f"GIT_{who}_{what}": "a@b" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")},
    }
    if command[0] == "dvc":
        command = (sys.executable, "-m", *command)
    environment = {**os.environ, **settings}
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)


def ran(folder: Path, *command: str) -> str:
    done = run(folder, *command)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture
def repository(tmp_path, server):
    """A repository with our data.dvc, pointed at the local server, and a small pipeline below it."""
    folder = tmp_path / "repository"
    (folder / "data").mkdir(parents=True)
    ours = (ROOT / "data.dvc").read_text(encoding="utf-8")
    assert f"- path: {URL}\n" in ours
    head = ours[: ours.index("outs:")].replace(URL, f"http://127.0.0.1:{server.port}/cifar-10-binary.tar.gz")
    # As committed: without the checksum that DVC adds to a working copy.
    (folder / "data.dvc").write_text(
        _without_checksums(head) + f"outs:\n- path: {ARCHIVE}\n  hash: md5\n", encoding="utf-8"
    )
    (folder / "dvc.yaml").write_text(PIPELINE, encoding="utf-8")
    (folder / "digest.py").write_text(DIGEST, encoding="utf-8")
    (folder / ".gitignore").write_text("/results\n/digits\n", encoding="utf-8")
    shutil.copy(ROOT / "data" / ".gitignore", folder / "data" / ".gitignore")
    ran(folder, "git", "init", "-q")
    ran(folder, "dvc", "init", "-q")
    shutil.copy(ROOT / ".dvc" / "config", folder / ".dvc" / "config")
    _commit(folder)
    return folder


def _without_checksums(text: str) -> str:
    added = ("  checksum:", "  size:", "  hash:")
    return "".join(line for line in text.splitlines(keepends=True) if not line.startswith(added))


def _commit(folder: Path) -> None:
    ran(folder, "git", "add", "-A")
    ran(folder, "git", "commit", "-q", "-m", "as published")


def _clone(repository: Path, name: str) -> Path:
    clone = repository.with_name(name)
    ran(repository.parent, "git", "clone", "-q", str(repository), str(clone))
    return clone


def _changed(folder: Path) -> set[str]:
    return {line[3:] for line in ran(folder, "git", "status", "--porcelain").splitlines()}


def _up_to_date(folder: Path) -> bool:
    return "up to date" in ran(folder, "dvc", "status") and "Running" not in ran(folder, "dvc", "repro")


@pytest.mark.slow
def test_repro_downloads_once_and_then_needs_no_network(repository, server, members):
    server.content = packed(members)
    ran(repository, "dvc", "repro")
    assert (repository / ARCHIVE).read_bytes() == server.content
    assert len(list((repository / "results").iterdir())) == 6
    assert _changed(repository) == {"data.dvc", "dvc.lock"}
    server.requests.clear()
    assert _up_to_date(repository)
    assert server.requests == []
    server.stop()
    assert _up_to_date(repository)
    server.start()


@pytest.mark.slow
def test_without_network_repro_fails_clearly_and_other_stages_run(repository, server):
    server.stop()
    failed = run(repository, "dvc", "repro")
    assert failed.returncode != 0
    told = failed.stderr.strip().splitlines()[-1]
    assert "data.dvc" in told
    assert f"127.0.0.1:{server.port}" in told
    assert not (repository / ARCHIVE).exists()
    assert _changed(repository) == set()
    ran(repository, "dvc", "exp", "run", "--temp", "--name", "demo", "digits")
    assert _changed(repository) == set()
    ran(repository, "dvc", "repro", "digits")
    server.start()


@pytest.mark.slow
def test_a_download_that_breaks_off_leaves_nothing(repository, server, members):
    server.content, server.missing_bytes = packed(members), 1000
    failed = run(repository, "dvc", "repro")
    assert failed.returncode != 0
    assert [path.name for path in (repository / "data").iterdir()] == [".gitignore"]
    assert _changed(repository) == set()
    server.missing_bytes = 0
    ran(repository, "dvc", "repro")


@pytest.mark.slow
def test_a_wrong_download_is_replaced_as_the_message_says(repository, server, members):
    server.content = b"<html>Please log in</html>"
    assert run(repository, "dvc", "repro").returncode != 0
    with pytest.raises(InputError, match="git checkout data.dvc"):
        cifar10.read_members(repository / ARCHIVE, True)
    server.content = packed(members)
    ran(repository, "git", "checkout", "data.dvc")
    ran(repository, "dvc", "repro")
    assert (repository / ARCHIVE).read_bytes() == server.content


@pytest.mark.slow
def test_provide_takes_the_place_of_the_network(repository, server, members, tmp_path):
    server.stop()
    brought = tmp_path / "brought.tar.gz"
    brought.write_bytes(packed(members))
    assert archive.provide(brought, repository) == repository / ARCHIVE
    assert (repository / ARCHIVE).read_bytes() == brought.read_bytes()
    assert _changed(repository) == {"data.dvc"}
    assert "# The CIFAR-10 archive" in (repository / "data.dvc").read_text(encoding="utf-8")
    ran(repository, "dvc", "repro")
    assert _up_to_date(repository)
    archive.provide(repository / ARCHIVE, repository)
    assert _up_to_date(repository)
    # The archive is in DVC's cache, so an experiment in a scratch copy finds it.
    (repository / "digest.py").write_text(DIGEST + "print('in a scratch copy')\n", encoding="utf-8")
    assert "in a scratch copy" in ran(repository, "dvc", "exp", "run", "--temp", "cifar10")
    server.start()


@pytest.mark.slow
def test_provide_packs_an_unpacked_folder(repository, members, tmp_path):
    unpacked = tmp_path / "cifar-10-batches-bin"
    unpacked.mkdir()
    for name, content in members.items():
        (unpacked / name).write_bytes(content)
    archive.provide(unpacked, repository)
    assert cifar10.read_members(repository / ARCHIVE, False) == members
    ran(repository, "dvc", "repro", "cifar10")


@pytest.mark.slow
def test_the_archive_of_a_recorded_run_changes_nothing_in_a_clone(repository, server, members, tmp_path):
    server.content = packed(members)
    ran(repository, "dvc", "repro")
    lock = (repository / "dvc.lock").read_bytes()
    ran(repository, "git", "checkout", "data.dvc")
    _commit(repository)
    server.stop()
    clone = _clone(repository, "clone")
    (tmp_path / "brought.tar.gz").write_bytes(server.content)
    archive.provide(tmp_path / "brought.tar.gz", clone)
    assert ARCHIVE not in ran(clone, "dvc", "status")
    ran(clone, "dvc", "repro")
    assert (clone / "dvc.lock").read_bytes() == lock
    assert _up_to_date(clone)
    server.start()


@pytest.mark.slow
def test_another_archive_of_the_same_members_reruns_only_the_unpacking(repository, members, tmp_path):
    (tmp_path / "a.tar.gz").write_bytes(packed(members))
    archive.provide(tmp_path / "a.tar.gz", repository)
    ran(repository, "dvc", "repro")
    # A byte of the gzip header (the operating system): the same tar archive in another file.
    other = bytearray(packed(members))
    other[9] ^= 1
    (tmp_path / "b.tar.gz").write_bytes(other)
    archive.provide(tmp_path / "b.tar.gz", repository)
    told = ran(repository, "dvc", "repro")
    assert "Running stage 'cifar10'" in told
    assert "Stage 'training' didn't change" in told
    assert _up_to_date(repository)


def test_provide_refuses_a_broken_archive_and_keeps_the_good_one(repository, members, tmp_path):
    good = packed(members)
    (tmp_path / "good.tar.gz").write_bytes(good)
    archive.provide(tmp_path / "good.tar.gz", repository)
    recorded = (repository / "data.dvc").read_bytes()
    (tmp_path / "cut.tar.gz").write_bytes(good[:-100])
    for source in ("cut.tar.gz", "none.tar.gz"):
        with pytest.raises(InputError, match=source):
            archive.provide(tmp_path / source, repository)
    assert (repository / ARCHIVE).read_bytes() == good
    assert (repository / "data.dvc").read_bytes() == recorded


def test_provide_into_a_folder_that_cannot_be_written(members, tmp_path):
    (tmp_path / "good.tar.gz").write_bytes(packed(members))
    (tmp_path / "data").write_text("not a folder", encoding="utf-8")
    with pytest.raises(InputError, match="cannot write"):
        archive.provide(tmp_path / "good.tar.gz", tmp_path)


def test_provide_outside_a_repository_is_one_line(members, tmp_path):
    (tmp_path / "good.tar.gz").write_bytes(packed(members))
    with pytest.raises(InputError, match="DVC cannot record") as raised:
        archive.provide(tmp_path / "good.tar.gz", tmp_path)
    assert "\n" not in str(raised.value)


def test_the_committed_import_still_downloads():
    committed = run(ROOT, "git", "show", "HEAD:data.dvc")
    if committed.returncode != 0:
        pytest.skip("data.dvc is not in git here")
    assert URL in committed.stdout
    assert "md5: " not in committed.stdout.replace("hash: md5", ""), "see the comment in data.dvc"
