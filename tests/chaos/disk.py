"""A small disk of its own for the store, so that it can be full and nothing else suffers."""

import errno
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_BYTES = 4 * 1024**3
_SPARE_BLOCKS = 64
# Left by the quick way of taking space, and then taken block by block.


@contextmanager
def own_disk(image: Path, mount: Path) -> Iterator[Path | None]:
    """Mount a sparse image as ext4; None where this user or machine cannot do that."""
    mount.mkdir(parents=True, exist_ok=True)
    with image.open("wb") as file:
        file.truncate(_BYTES)
    steps = [
        ["mkfs.ext4", "-q", "-m", "0", str(image)],
        ["mount", "-o", "loop", str(image), str(mount)],
    ]
    try:
        made = all(
            subprocess.run(s, capture_output=True, check=False).returncode == 0 for s in steps
        )
    except FileNotFoundError:
        made = False
    try:
        yield mount if made else None
    finally:
        if made:
            subprocess.run(["umount", "-l", str(mount)], capture_output=True, check=False)
        image.unlink(missing_ok=True)


def fill(mount: Path) -> Path:
    """Take all space that is left; returns the file that holds it, to be deleted."""
    ballast = mount / "ballast"
    with ballast.open("wb", buffering=0) as file:
        free = os.statvfs(mount)
        most = (free.f_bavail - _SPARE_BLOCKS) * free.f_frsize
        if most > 0:
            os.posix_fallocate(file.fileno(), 0, most)
        file.seek(0, os.SEEK_END)
        try:
            while file.write(bytes(free.f_frsize)):
                pass
        except OSError as error:
            if error.errno != errno.ENOSPC:
                raise
    return ballast
