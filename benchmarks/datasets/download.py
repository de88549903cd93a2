"""Download of one file: resumed where it was cut off, tried again, checked, and only then under its name."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import http.client
import os
import re
import shutil
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import BinaryIO, Callable, Iterator
from urllib.parse import unquote, urlsplit

from benchmarks.errors import InputError
from benchmarks.formats import file_sha256

TRIES = 5
"""Transfers that may fail in a row before the download is given up; one that brought bytes does not count."""

TIMEOUT_SECONDS = 60
"""Longest silence of a server."""

_BLOCK = 1 << 18
_TEMPORARY = (408, 425, 429, 500, 502, 503, 504)

Progress = Callable[[int, "int | None"], None]


class _Interrupted(Exception):
    """A transfer that ended early and may be tried again."""


def stderr_progress(name: str) -> Progress:
    """A reporter that rewrites one line on a terminal, and writes a line every tenth otherwise (logs)."""
    last = [-1.0, 0.0]

    def report(received: int, total: int | None) -> None:
        terminal, now = sys.stderr.isatty(), time.monotonic()
        share = received / total if total else None
        done = total is not None and received >= total
        if terminal:
            if not done and now - last[1] < 0.2:
                return
        elif share is not None:
            if not done and share - last[0] < 0.1:
                return
        elif now - last[1] < 10:
            return
        last[:] = [share or 0.0, now]
        text = f"{name}: {received / 2**20:.1f} MB"
        if total:
            text += f" of {total / 2**20:.1f} MB ({100 * received / total:.0f} %)"
        print(text, end="\r" if terminal and not done else "\n", file=sys.stderr, flush=True)

    return report


def download(
    url: str,
    sha256: str,
    destination: str | os.PathLike,
    progress: Progress | bool = True,
    sleep: Callable[[float], None] = time.sleep,
) -> Path:
    """Download `url` to `destination` unless the file is there with the right checksum.

    What has arrived is kept beside the destination as ``<name>.part``, and a later call goes on from there. A
    finished file with a wrong checksum is fetched once more from its beginning and, if that does not help, removed.

    Parameters
    ----------
    url
        http, https or file URL. Redirections are followed within http and https.
    sha256
        64 hexadecimal digits.
    destination
        Path of the file; its folder is created.
    progress
        Called with (bytes received, bytes in all or ``None``); ``True`` writes to standard error.
    sleep
        Waits between tries: 1, 2, 4, ... seconds.

    Returns
    -------
    Path
        `destination`.

    Raises
    ------
    InputError
        If the URL cannot be had, the checksum is wrong, the file that is there has another checksum, another
        process is downloading it, or the disk is full.
    """
    destination, sha256 = Path(destination), sha256.lower()
    if urlsplit(url).scheme not in ("http", "https", "file"):
        raise InputError(f"{url}: not an http, https or file URL; correct url")
    if destination.exists():
        found = file_sha256(destination)
        if found != sha256:
            raise InputError(
                f"{destination}: SHA-256 is {found}, expected {sha256}; delete the file to fetch it again, or correct sha256"
            )
        return destination
    report = stderr_progress(destination.name) if progress is True else (progress or (lambda received, total: None))
    part = destination.with_name(destination.name + ".part")
    try:
        destination.parent.mkdir(parents=True, exist_ok=True)
        with _locked(part) as stream:
            found = None
            for attempt in (1, 2):
                _fetch(url, stream, report, sleep)
                stream.flush()
                found = file_sha256(part)
                if found == sha256:
                    os.fsync(stream.fileno())
                    os.replace(part, destination)
                    return destination
                if attempt == 1:
                    print(f"{destination.name}: wrong checksum, fetched once more from its beginning", file=sys.stderr)
                stream.truncate(0)
            part.unlink(missing_ok=True)
    except OSError as error:
        remedy = "free space" if error.errno in (errno.ENOSPC, errno.EDQUOT) else "choose a folder that can be written"
        raise InputError(
            f"{destination}: cannot be written ({error.strerror or error}); {remedy} and run again to go on"
        ) from error
    raise InputError(
        f"{url}: SHA-256 of what arrived is {found}, expected {sha256}; nothing was kept; "
        "the file has changed or the checksum is wrong: correct sha256"
    )


@contextlib.contextmanager
def _locked(part: Path) -> Iterator[BinaryIO]:
    """Open the partial file for one process at a time; the lock goes with the process."""
    with open(part, "ab") as stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise InputError(f"{part}: another process is downloading this file; wait until it is done") from error
        yield stream


def _fetch(url: str, stream: BinaryIO, report: Progress, sleep: Callable[[float], None]) -> None:
    """Bring `stream` (opened to append) to the whole content of `url`."""
    if urlsplit(url).scheme == "file":
        source = Path(unquote(urlsplit(url).path))
        if not source.is_file():
            raise InputError(f"{url}: no such file; correct url")
        stream.truncate(0)
        with open(source, "rb") as content:
            shutil.copyfileobj(content, stream, _BLOCK)
        report(source.stat().st_size, source.stat().st_size)
        return
    failures = 0
    while True:
        before = os.fstat(stream.fileno()).st_size
        try:
            _transfer(url, stream, report)
            return
        except _Interrupted as error:
            stream.flush()
            # A connection that drops now and then gets through; one that brings nothing is given up.
            failures = failures + 1 if os.fstat(stream.fileno()).st_size <= before else 1
            if failures >= TRIES:
                raise InputError(
                    f"{url}: {error} ({TRIES} tries); check the network and run again to go on, or put the file into "
                    "the data folder by hand"
                ) from error
            print(f"{url}: {error}; trying again", file=sys.stderr)
            sleep(2.0 ** (failures - 1))


def _opener() -> urllib.request.OpenerDirector:
    """http and https alone: a redirection may not lead to another kind of URL."""
    opener = urllib.request.OpenerDirector()
    for handler in (
        urllib.request.ProxyHandler(),
        urllib.request.HTTPHandler(),
        urllib.request.HTTPSHandler(),
        urllib.request.HTTPDefaultErrorHandler(),
        urllib.request.HTTPRedirectHandler(),
        urllib.request.HTTPErrorProcessor(),
        urllib.request.UnknownHandler(),
    ):
        opener.add_handler(handler)
    return opener


def _transfer(url: str, stream: BinaryIO, report: Progress) -> None:
    """One request, appended to `stream`; a server that ignores the range starts the file anew."""
    have = os.fstat(stream.fileno()).st_size
    headers = {"User-Agent": "mosaicbench", "Accept-Encoding": "identity"}
    if have:
        headers["Range"] = f"bytes={have}-"
    try:
        with _opener().open(urllib.request.Request(url, headers=headers), timeout=TIMEOUT_SECONDS) as response:
            total = _total(response, have)
            if response.status != 206:
                stream.truncate(0)
                have = 0
            while block := response.read(_BLOCK):
                _append(stream, block)
                have += len(block)
                report(have, total)
    except urllib.error.HTTPError as error:
        if error.code == 416 and have:
            if error.headers.get("Content-Range", "").strip() == f"bytes */{have}":
                return  # Everything was there already; the checksum decides.
            stream.truncate(0)
            raise _Interrupted("the server has less than what had arrived") from error
        if error.code in _TEMPORARY:
            raise _Interrupted(f"the server answered {error.code} {error.reason}") from error
        raise InputError(f"{url}: the server answered {error.code} {error.reason}; correct url") from error
    except _DiskError as error:
        raise error.original from error
    except (http.client.InvalidURL, ValueError) as error:
        raise InputError(f"{url}: no usable URL ({error}); correct url") from error
    except (urllib.error.URLError, http.client.HTTPException, OSError) as error:
        raise _Interrupted(
            f"the transfer broke off ({getattr(error, 'reason', None) or error or type(error).__name__})"
        ) from error
    if total is not None and have < total:
        raise _Interrupted(f"the transfer broke off after {have} of {total} bytes")


class _DiskError(Exception):
    """Keeps a failure to write apart from a failure of the network: both are an OSError."""

    def __init__(self, original: OSError) -> None:
        super().__init__(str(original))
        self.original = original


def _append(stream: BinaryIO, block: bytes) -> None:
    try:
        stream.write(block)
    except OSError as error:
        raise _DiskError(error) from error


def _total(response: http.client.HTTPResponse, have: int) -> int | None:
    """Size of the whole file, if the server says; a range that begins elsewhere than asked for is refused."""
    length = response.headers.get("Content-Length")
    if response.status != 206:
        return int(length) if length and length.isdigit() else None
    match = re.fullmatch(r"bytes (\d+)-\d+/(\d+|\*)", response.headers.get("Content-Range", "").strip())
    if match is None or int(match[1]) != have:
        raise _Interrupted("the server sent another range than was asked for")
    return None if match[2] == "*" else int(match[2])
