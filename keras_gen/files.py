"""Files that are written whole or not at all."""

import contextlib
import os

import numpy as np


def write_npz(path, **arrays):
    """Write arrays to a file that is whole and on the disk before it takes the place of an older one.

    A power cut, a full disk or Ctrl-C at any moment leaves the older file or the new one, never half of one.

    Args:
        path: of the file.
        arrays: by the names that `numpy.load` will give them.

    Raises:
        OSError: a disk that is full or read-only; what was at `path` is still there, and nothing beside it.
    """
    path = os.path.abspath(path)
    part = f"{path}.{os.getpid()}.part"  # two processes may write at once
    try:
        with open(part, "wb") as file:
            np.savez(file, **arrays)
            os.fsync(file.fileno())  # else a power cut may leave the new name on the disk, and no bytes under it
        os.replace(part, path)
    except BaseException:
        with contextlib.suppress(OSError):  # where there is none, nor a folder for it
            os.remove(part)
        raise
    _sync_folder(os.path.dirname(path))


def _sync_folder(folder):
    """Bring a folder's names to the disk, where the system can: Windows cannot open a folder."""
    if os.name == "nt":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
