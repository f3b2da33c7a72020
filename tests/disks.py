"""A disk whose power can be cut: what was written and not flushed is gone, as it is with a real one. And one
that can be filled."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from tests.servers import temporary_directory

# Nothing but fsync() writes to the disk: the file system's own interval (seconds) is longer than any test.
OPTIONS = "loop,commit=300"


class Disk:
    """An ext4 file system in a file, mounted at ``place``."""

    def __init__(self, directory: Path) -> None:
        self.place = directory / "disk"
        self._image, self._survived = directory / "image", directory / "survived"
        self._unflushed = self.place / "unflushed"
        self.place.mkdir()
        with self._image.open("wb") as image:
            image.truncate(512 * 1024 * 1024)
        _run("mkfs.ext4", "-q", "-E", "lazy_itable_init=0,lazy_journal_init=0", str(self._image))
        try:
            _run("mount", "-o", OPTIONS, str(self._image), str(self.place))
        except AssertionError as rejected:  # in a container even root may not
            pytest.skip(str(rejected))

    def flush(self) -> None:
        """Write all of it, such as what was made before the test begins."""
        _run("sync", "--file-system", str(self.place))

    def cut_power(self) -> None:
        """Keep what has reached the disk by now; whatever runs on it is to be stopped next."""
        self._unflushed.write_text("gone")
        _run("cp", "--sparse=always", str(self._image), str(self._survived))

    def restore_power(self) -> None:
        """Mount what was kept, at the same place; nothing may use that any more."""
        _run("umount", str(self.place))
        _run("mount", "-o", OPTIONS, str(self._survived), str(self.place))
        # Another file's fsync() may have brought its name to the disk, never what is in it.
        kept = self._unflushed.read_text() if self._unflushed.exists() else ""
        assert not kept, "what nobody flushed is on the disk: the power was not really cut"


@contextmanager
def disk(directory: Path) -> Iterator[Disk]:
    """Mount a new disk in ``directory`` until the end of the block; skip the test if that cannot be."""
    if os.geteuid() != 0 or shutil.which("mkfs.ext4") is None:
        pytest.skip("a disk of one's own takes root and mkfs.ext4")
    one = Disk(directory)
    try:
        yield one
    finally:
        # At once from here on, and in fact when its last user has ended.
        _run("umount", "--lazy", str(one.place))


@contextmanager
def small_disk(size: str) -> Iterator[Path]:
    """A file system of its own that can be filled."""
    with temporary_directory() as place:
        mount = ["mount", "-t", "tmpfs", "-o", f"size={size},mode=0755", "tmpfs", str(place)]
        if subprocess.run(mount, capture_output=True, check=False).returncode != 0:
            pytest.skip("no file system can be mounted here: that takes root")
        try:
            yield place
        finally:
            subprocess.run(["umount", "-l", str(place)], check=True)


@contextmanager
def full(disk: Path) -> Iterator[Path]:
    """Leave no room on ``disk`` inside the block, until the file that it gives is removed."""
    filler = disk / "filler"
    with filler.open("wb", buffering=0) as file, suppress(OSError):  # no space left on device
        while True:
            file.write(b"\0" * 4096)
    try:
        yield filler
    finally:
        filler.unlink(missing_ok=True)


def _run(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, f"{' '.join(command)}: {done.stderr}"
