"""HDF5 files that are written to their end or to an error: a full disk must not crash the process.

The HDF5 library keeps data back and writes them when a file is closed. If the disk is full by then, closing fails, is
tried once more while the objects are torn down, and ends in a segmentation fault: no message, and the unfinished file
stays. Here the library is given a stream of ours instead of a path. The stream remembers the first error of the
operating system, takes everything after it as if it had been written, and the error is raised once the file is closed.
"""

from __future__ import annotations

import contextlib
import io
import os
from typing import Any, Iterator

import h5py


class _Stream(io.RawIOBase):
    """A file on disk that never fails: the first error is kept in `error`, and what comes after it goes nowhere."""

    def __init__(self, path: str | os.PathLike) -> None:
        self._file = open(path, "w+b", buffering=0)  # noqa: SIM115 (closed with the stream)
        self.error: OSError | None = None

    def seekable(self) -> bool:
        return True

    def readable(self) -> bool:
        return True

    def writable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        return self._file.tell()

    def readinto(self, buffer: Any) -> int:
        """Fill `buffer`: with what is there, and with zeros where the disk took nothing."""
        view = memoryview(buffer).cast("B")
        got = self._file.readinto(view)
        if self.error is not None and got < len(view):
            view[got:] = bytes(len(view) - got)
            return len(view)
        return got

    def write(self, content: Any) -> int:
        view = memoryview(content).cast("B")
        done = 0
        while self.error is None and done < len(view):
            try:
                # An operating system may take a part only, and give its reason at the next call.
                done += self._file.write(view[done:])
            except OSError as error:
                self.error = error
        return len(view)

    def truncate(self, size: int | None = None) -> int:
        size = self.tell() if size is None else size
        try:
            return self._file.truncate(size)
        except OSError as error:
            self.error = self.error or error
            return size

    def close(self) -> None:
        if not self._file.closed:
            try:
                self._file.close()
            except OSError as error:
                self.error = self.error or error
        super().close()


@contextlib.contextmanager
def new_hdf5(path: str | os.PathLike, userblock_size: int = 0) -> Iterator[h5py.File]:
    """Open a new HDF5 file for writing; the layout is that of HDF5 1.10, the same content gives the same bytes.

    Raises
    ------
    OSError
        On leaving, if the operating system refused a part of the file (full disk, quota, failing device). The file is
        then not usable; :func:`benchmarks.formats.atomic_path` removes it.
    """
    stream = _Stream(path)
    with stream:
        try:
            with h5py.File(stream, "w", libver="v110", userblock_size=userblock_size or None) as file:
                yield file
        except Exception as error:
            if stream.error is None:
                raise
            # Whatever the library stumbled over later follows from this.
            raise stream.error from error
    if stream.error is not None:
        raise stream.error
