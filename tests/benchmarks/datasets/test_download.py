"""Downloads from a real server on this machine that misbehaves in every way that a network does."""

from __future__ import annotations

import errno
import fcntl
import hashlib
import http.server
import os
import signal
import subprocess
import sys
import threading
import time

import numpy as np
import pytest

import benchmarks.datasets.download as module
from benchmarks.datasets.download import TRIES, download, stderr_progress
from benchmarks.errors import InputError

CONTENT = np.random.default_rng(0).bytes(3_000_000)
SUM = hashlib.sha256(CONTENT).hexdigest()


class Server(http.server.ThreadingHTTPServer):
    """Serves :data:`CONTENT`; each request takes the next fault of `faults`, then there are none."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.faults: list[str] = []
        self.ranges: list[str | None] = []
        self.takes_ranges = True
        self.says_length = True
        self.url = f"http://127.0.0.1:{self.server_address[1]}/data.bin"

    def handle_error(self, request, client_address) -> None:
        """A client that went away is part of the tests."""


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.0"

    def log_message(self, *arguments) -> None:
        pass

    def do_GET(self) -> None:
        server = self.server
        asked = self.headers.get("Range")
        server.ranges.append(asked)
        fault = server.faults.pop(0) if server.faults else ""
        if self.path.endswith("/redirect"):
            self.send_response(302)
            self.send_header("Location", server.redirect)
            self.end_headers()
            return
        if fault.isdigit():
            self.send_error(int(fault))
            return
        start = int(asked.removeprefix("bytes=").rstrip("-")) if asked and server.takes_ranges else 0
        if fault == "gone smaller" or start >= len(CONTENT):
            self.send_response(416)
            self.send_header("Content-Range", f"bytes */{10 if fault else len(CONTENT)}")
            self.end_headers()
            return
        if fault == "wrong range":
            start = max(0, start - 7)
        body = CONTENT[start:]
        if fault == "corrupt":
            body = body[:1000] + bytes([body[1000] ^ 1]) + body[1001:]
        self.send_response(206 if start or fault == "wrong range" else 200)
        if server.says_length:
            self.send_header("Content-Length", str(len(body)))
        if start or fault == "wrong range":
            self.send_header("Content-Range", f"bytes {start}-{len(CONTENT) - 1}/{len(CONTENT)}")
        self.end_headers()
        if fault.startswith("cut"):
            self.wfile.write(body[: int(fault.split()[1])])
            self.wfile.flush()
            self.connection.close()
            return
        if fault == "slow":
            for at in range(0, len(body), 100_000):
                self.wfile.write(body[at : at + 100_000])
                time.sleep(0.1)
            return
        self.wfile.write(body)


@pytest.fixture
def server():
    with Server() as running:
        thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        thread.start()
        yield running
        running.shutdown()
        thread.join()


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch):
    monkeypatch.setenv("no_proxy", "*")


def fetch(server, target, waits: list | None = None, sha256: str = SUM, progress=False):
    return download(server.url, sha256, target, progress, sleep=[].append if waits is None else waits.append)


def assert_done(target) -> None:
    assert target.read_bytes() == CONTENT
    assert [path.name for path in target.parent.iterdir()] == [target.name]


def test_a_plain_download_reports_its_progress(server, tmp_path):
    seen = []
    target = tmp_path / "folder with spaces" / "data.bin"
    assert fetch(server, target, progress=lambda received, total: seen.append((received, total))) == target
    assert_done(target)
    assert seen[-1] == (len(CONTENT), len(CONTENT))
    assert [received for received, _ in seen] == sorted(received for received, _ in seen)
    assert len(seen) > 3


def test_what_is_there_is_not_fetched_again(server, tmp_path):
    fetch(server, tmp_path / "a")
    fetch(server, tmp_path / "a")
    fetch(server, tmp_path / "a", sha256=SUM.upper())
    assert server.ranges == [None]


def test_a_file_that_is_there_with_another_content_is_left_alone(server, tmp_path):
    (tmp_path / "a").write_bytes(b"my own")
    with pytest.raises(InputError, match=r"a: SHA-256 is [0-9a-f]{64}, expected [0-9a-f]{64}; delete the file"):
        fetch(server, tmp_path / "a")
    assert (tmp_path / "a").read_bytes() == b"my own"
    assert server.ranges == []


def test_truncated_transfers_go_on_where_they_broke_off(server, tmp_path):
    server.faults = ["cut 1000000", "cut 500000", "cut 3"]
    waits = []
    fetch(server, tmp_path / "a", waits)
    assert_done(tmp_path / "a")
    assert server.ranges == [None, "bytes=1000000-", "bytes=1500000-", "bytes=1500003-"]
    assert waits == [1.0, 1.0, 1.0]


def test_a_connection_that_often_drops_gets_through_as_long_as_bytes_come(server, tmp_path):
    server.faults = ["cut 100000"] * (2 * TRIES)
    fetch(server, tmp_path / "a")
    assert_done(tmp_path / "a")


def test_a_server_that_ignores_the_range_starts_anew(server, tmp_path):
    server.takes_ranges = False
    server.faults = ["cut 1000000"]
    fetch(server, tmp_path / "a")
    assert_done(tmp_path / "a")
    assert server.ranges == [None, "bytes=1000000-"]


def test_a_server_that_sends_another_range_is_not_believed(server, tmp_path):
    server.faults = ["cut 1000000", "wrong range"]
    fetch(server, tmp_path / "a")
    assert_done(tmp_path / "a")
    assert server.ranges == [None, "bytes=1000000-", "bytes=1000000-"]


def test_an_interrupted_process_is_resumed_by_the_next(server, tmp_path, root):
    server.faults = ["slow"]
    code = (
        f"from benchmarks.datasets.download import download; download({server.url!r}, {SUM!r}, {str(tmp_path / 'a')!r})"
    )
    process = subprocess.Popen([sys.executable, "-c", code], cwd=root, stderr=subprocess.DEVNULL)
    part, deadline = tmp_path / "a.part", time.monotonic() + 30
    while (not part.exists() or part.stat().st_size < 500_000) and time.monotonic() < deadline:
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    arrived = part.stat().st_size
    assert 500_000 <= arrived < len(CONTENT)
    assert not (tmp_path / "a").exists()
    fetch(server, tmp_path / "a")
    assert_done(tmp_path / "a")
    assert server.ranges == [None, f"bytes={arrived}-"]


def test_a_partial_file_that_is_complete_already(server, tmp_path):
    (tmp_path / "a.part").write_bytes(CONTENT)
    fetch(server, tmp_path / "a")
    assert_done(tmp_path / "a")


def test_a_partial_file_of_something_else_is_fetched_from_its_beginning(server, tmp_path):
    (tmp_path / "a.part").write_bytes(b"\0" * 1_000_000)
    fetch(server, tmp_path / "a")
    assert_done(tmp_path / "a")
    assert server.ranges == ["bytes=1000000-", None]


def test_a_file_that_became_smaller_on_the_server(server, tmp_path):
    (tmp_path / "a.part").write_bytes(b"\0" * (len(CONTENT) + 5))
    server.faults = ["gone smaller"]
    fetch(server, tmp_path / "a")
    assert_done(tmp_path / "a")


def test_one_corrupted_transfer_is_repeated(server, tmp_path, capsys):
    server.faults = ["corrupt"]
    fetch(server, tmp_path / "a")
    assert_done(tmp_path / "a")
    assert server.ranges == [None, None]
    assert "wrong checksum" in capsys.readouterr().err


def test_a_wrong_checksum_is_an_error_and_nothing_is_kept(server, tmp_path):
    wrong = "0" * 64
    with pytest.raises(
        InputError,
        match=rf"data.bin: SHA-256 of what arrived is {SUM}, expected {wrong}; nothing was kept.*correct sha256",
    ):
        fetch(server, tmp_path / "a", sha256=wrong)
    assert list(tmp_path.iterdir()) == []
    assert len(server.ranges) == 2


def test_truncation_without_a_length_is_caught_by_the_checksum(server, tmp_path):
    server.says_length = False
    server.faults = ["cut 1000000"]
    fetch(server, tmp_path / "a")
    assert_done(tmp_path / "a")


@pytest.mark.parametrize("status", ["404", "403", "410"])
def test_a_refusal_is_not_tried_again(server, tmp_path, status):
    server.faults = [status] * 9
    waits = []
    with pytest.raises(InputError, match=rf"data.bin: the server answered {status} .*; correct url"):
        fetch(server, tmp_path / "a", waits)
    assert waits == []
    assert not (tmp_path / "a").exists()


@pytest.mark.parametrize("status", ["500", "503", "429"])
def test_a_passing_trouble_is_waited_for(server, tmp_path, status):
    server.faults = [status] * 3
    waits = []
    fetch(server, tmp_path / "a", waits)
    assert_done(tmp_path / "a")
    assert waits == [1.0, 2.0, 4.0]


def test_a_lasting_trouble_is_given_up_with_what_arrived_kept(server, tmp_path):
    server.faults = ["cut 1000"] + ["503"] * 9
    waits = []
    with pytest.raises(
        InputError, match=rf"the server answered 503 .* \({TRIES} tries\); check the network and run again to go on"
    ):
        fetch(server, tmp_path / "a", waits)
    assert len(waits) == TRIES - 1
    assert (tmp_path / "a.part").read_bytes() == CONTENT[:1000]
    server.faults = []
    fetch(server, tmp_path / "a")
    assert_done(tmp_path / "a")


def test_nobody_answers(tmp_path):
    with Server() as closed:
        url = closed.url
    with pytest.raises(InputError, match=r"broke off .*refused.* check the network"):
        download(url, SUM, tmp_path / "a", False, sleep=lambda seconds: None)


def test_redirections_stay_within_http(server, tmp_path):
    secret = tmp_path / "secret"
    secret.write_bytes(CONTENT)
    start = server.url.replace("data.bin", "redirect")
    server.redirect = server.url
    download(start, SUM, tmp_path / "a", False)
    assert (tmp_path / "a").read_bytes() == CONTENT
    for elsewhere in (secret.as_uri(), "ftp://127.0.0.1/x"):
        server.redirect = elsewhere
        with pytest.raises(InputError):
            download(start, SUM, tmp_path / "b", False, sleep=lambda seconds: None)
        assert not (tmp_path / "b").exists()


def test_file_urls(tmp_path):
    source = tmp_path / "with space.bin"
    source.write_bytes(CONTENT)
    target = tmp_path / "out" / "a"
    download(source.as_uri(), SUM, target, False)
    assert_done(target)
    with pytest.raises(InputError, match=r"no such file; correct url"):
        download((tmp_path / "gone").as_uri(), SUM, tmp_path / "out" / "b", False)
    with pytest.raises(InputError, match=r"SHA-256 of what arrived"):
        download(source.as_uri(), "0" * 64, tmp_path / "out" / "c", False)
    assert not (tmp_path / "out" / "c").exists()


def test_other_urls_are_refused(tmp_path):
    with pytest.raises(InputError, match=r"not an http, https or file URL"):
        download("ftp://e.org/a", SUM, tmp_path / "a")


def test_two_processes_do_not_write_one_file(server, tmp_path):
    with open(tmp_path / "a.part", "ab") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        with pytest.raises(InputError, match=r"a.part: another process is downloading this file"):
            fetch(server, tmp_path / "a")
    fetch(server, tmp_path / "a")
    assert_done(tmp_path / "a")


def test_a_full_disk(server, tmp_path, monkeypatch):
    written = []

    def full(stream, block):
        written.append(len(block))
        if len(written) > 2:
            raise module._DiskError(OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)))
        stream.write(block)

    with monkeypatch.context() as patched:
        patched.setattr(module, "_append", full)
        with pytest.raises(
            InputError, match=r"a: cannot be written \(No space left on device\); free space and run again"
        ):
            fetch(server, tmp_path / "a")
    assert not (tmp_path / "a").exists()
    fetch(server, tmp_path / "a")
    assert_done(tmp_path / "a")
    assert server.ranges[1].startswith("bytes=")


def test_a_folder_that_cannot_be_made(server, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match=r"cannot be written .*choose a folder"):
        fetch(server, tmp_path / "file" / "a")


def test_progress_in_a_log_is_a_line_every_tenth(capsys):
    report = stderr_progress("x.h5mu")
    for received in range(0, 1001):
        report(received * 10_000, 10_000_000)
    lines = capsys.readouterr().err.splitlines()
    assert 10 <= len(lines) <= 12
    assert lines[-1] == "x.h5mu: 9.5 MB of 9.5 MB (100 %)"
