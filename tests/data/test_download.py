"""The stage cifar10 under DVC: from a local HTTP server, from a file, and without either."""

import io
import os
import shutil
import subprocess
import sys
import tarfile
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest

from resode.base import paths
from resode.data import cifar10, records

pytestmark = pytest.mark.slow
# The stage, `cifar10`, as in dvc.yaml.
PIPELINE = """\
stages:
  cifar10:
    cmd: python bring.py
    deps: [bring.py]
    outs:
      - data/cifar10: {persist: true}
  training:
    cmd: cat data/cifar10/* > results
    deps: [data/cifar10]
    outs: [results]
"""
# Stands for `resode cifar10`, with files of one record.
BRING = """\
import sys
from pathlib import Path
from resode.base.errors import InputError
from resode.data import cifar10
cifar10.RECORDS_A_FILE, cifar10.HOME = 1, "http://127.0.0.1:PORT/cifar-10-binary.tar.gz"
try:
    cifar10.write(Path("data/cifar10").resolve(), False, *map(Path, sys.argv[1:]))
except InputError as error:
    sys.exit(f"error: {error}")
"""


class Server(ThreadingHTTPServer):
    """Serves `content` at any path, without its last bytes if some are missing; nothing if there is none."""

    content, missing_bytes, downloads = b"", 0, 0

    class RequestHandlerClass(BaseHTTPRequestHandler):
        def do_HEAD(self):
            self.send_response(200 if self.server.content else 503)
            self.send_header("Content-Length", str(len(self.server.content) + self.server.missing_bytes))
            self.end_headers()

        def do_GET(self):
            self.server.downloads += 1
            self.do_HEAD()
            self.wfile.write(self.server.content)

        def log_message(self, *_):
            pass


@pytest.fixture
def server():
    with Server(("127.0.0.1", 0), Server.RequestHandlerClass) as server:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        yield server
        server.shutdown()


def archive(seed: int = 0) -> bytes:
    """Six files of one record each."""
    images = np.random.default_rng(seed).integers(0, 256, (6, 1, 32, 32, 3), dtype=np.uint8)
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w:gz") as tar:
        for name, image in zip(cifar10.PUBLISHED, images, strict=True):
            info = tarfile.TarInfo(f"cifar-10-batches-bin/{name}")
            info.size = records.RECORD_BYTES
            tar.addfile(info, io.BytesIO(records.encode(image, [3])))
    return file.getvalue()


def run(folder: Path, *command: str) -> subprocess.CompletedProcess:
    """Run a command in `folder`, apart from the user's settings and from any proxy."""
    settings = {
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": paths.python_path(),
        "DVC_NO_ANALYTICS": "1",
        "NO_PROXY": "127.0.0.1",
        "no_proxy": "127.0.0.1",
        "GIT_CONFIG_GLOBAL": os.devnull,
        **{f"GIT_{who}_{what}": "a@b" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")},
    }
    return subprocess.run(command, cwd=folder, env={**os.environ, **settings}, capture_output=True, text=True)


def ran(folder: Path, *command: str) -> str:
    done = run(folder, *command)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture
def repository(tmp_path, server):
    folder = tmp_path / "repository"
    (folder / "data").mkdir(parents=True)
    (folder / "dvc.yaml").write_text(PIPELINE, encoding="utf-8")
    (folder / "bring.py").write_text(BRING.replace("PORT", str(server.server_port)), encoding="utf-8")
    (folder / ".gitignore").write_text("/results\n", encoding="utf-8")
    shutil.copy(paths.ROOT / "data" / ".gitignore", folder / "data" / ".gitignore")
    ran(folder, "git", "init", "-q")
    ran(folder, "dvc", "init", "-q")
    shutil.copy(paths.ROOT / ".dvc" / "config", folder / ".dvc" / "config")
    ran(folder, "git", "add", "-A")
    ran(folder, "git", "commit", "-q", "-m", "as published")
    return folder


def _changed(folder: Path) -> set[str]:
    return {line[3:] for line in ran(folder, "git", "status", "--porcelain").splitlines()}


def _up_to_date(folder: Path) -> bool:
    return "up to date" in ran(folder, "dvc", "status") and "Running" not in ran(folder, "dvc", "repro")


def test_repro_downloads_once_and_a_stage_that_runs_again_needs_no_network(repository, server):
    server.content = archive()
    ran(repository, "dvc", "repro")
    assert len(list((repository / "data" / "cifar10").iterdir())) == 7
    assert _changed(repository) == {"dvc.lock"}
    server.content, server.downloads = b"", 0
    assert _up_to_date(repository)
    with (repository / "bring.py").open("a") as file:
        file.write("print('again')\n")
    assert "again" in ran(repository, "dvc", "repro")
    assert server.downloads == 0


def test_a_download_that_fails_is_told_and_leaves_nothing(repository, server):
    for content, missing, told in (
        (b"", 0, "make data ARCHIVE=path"),
        (archive(), 1000, ""),
        (b"<html>", 0, "dvc repro cifar10"),
    ):
        server.content, server.missing_bytes = content, missing
        failed = run(repository, "dvc", "repro")
        assert failed.returncode != 0 and "error: " in failed.stderr and told in failed.stderr
        assert [path.name for path in (repository / "data").iterdir()] == [".gitignore"]
        assert _changed(repository) == set()
    server.content = archive()
    ran(repository, "dvc", "repro")


def _bring(repository: Path, content: bytes) -> None:
    """As `make data ARCHIVE=path`."""
    (repository.parent / "brought.tar.gz").write_bytes(content)
    ran(repository, "python", "bring.py", "../brought.tar.gz")
    ran(repository, "dvc", "commit", "--force", "--quiet", "cifar10")


def test_a_file_takes_the_place_of_the_network(repository, server):
    _bring(repository, archive())
    told = ran(repository, "dvc", "repro")
    assert "Running stage 'training'" in told and "Running stage 'cifar10'" not in told
    assert _up_to_date(repository)
    # An experiment in another folder finds the data.
    (repository / "bring.py").write_text((repository / "bring.py").read_text() + "print('in a clone')\n")
    assert "in a clone" in ran(repository, "dvc", "exp", "run", "--temp", "cifar10")
    ran(repository, "git", "checkout", "bring.py")
    # Another one takes its place; what is brought to a clone of a recorded run changes nothing there.
    _bring(repository, archive(seed=1))
    assert "Running stage 'training'" in ran(repository, "dvc", "repro")
    ran(repository, "git", "add", "-A")
    ran(repository, "git", "commit", "-q", "-m", "a run")
    ran(repository.parent, "git", "clone", "-q", "repository", "clone")
    _bring(repository.with_name("clone"), archive(seed=1))
    assert _changed(repository.with_name("clone")) == set()
    assert server.downloads == 0
