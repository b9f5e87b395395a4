"""The ground floor: where files lie, and npz files that are read whole and written whole or not at all."""

import contextlib
import difflib
import os
from pathlib import Path

import numpy as np

# The repository that this file lies in; None where the package is installed, beside which site-packages has no project.
_ROOT = Path(__file__).resolve().parents[1]
CHECKOUT = _ROOT if (_ROOT / "pyproject.toml").is_file() else None


class DataUnavailable(OSError):
    """A data set is neither here nor can it be downloaded, or a file that comes with the project is damaged.

    The message says what to do.
    """


def keras_home():
    """Find Keras's own folder: the Path $KERAS_HOME, or ~/.keras, or /tmp/.keras where nobody may write into ~."""
    home = os.path.expanduser("~")  # as Path's own, which raises where there is no home folder
    base = home if os.access(home, os.W_OK) else "/tmp"
    return Path(os.path.expanduser(os.environ.get("KERAS_HOME") or f"{base}/.keras"))


def local_folders():
    """List the folders where files of data sets may lie, in the order in which they count.

    Returns:
        Paths: $KERAS_GEN_DATA where it is set, data/ of the checkout where there is one, Keras's cache, which need not
        exist.

    Raises:
        DataUnavailable: $KERAS_GEN_DATA is not a folder.
    """
    folders = [CHECKOUT / "data"] if CHECKOUT else []
    if given := os.environ.get("KERAS_GEN_DATA"):
        folders.insert(0, Path(os.path.expanduser(given)))
        if not folders[0].is_dir():
            raise DataUnavailable(f"KERAS_GEN_DATA is {given!r}, which is not a folder; correct it or unset it.")
    return [*folders, keras_home() / "datasets"]


def did_you_mean(name, names):
    """A sentence with the one of `names` that `name` is nearest to, after a space; nothing where none is near."""
    nearest = difflib.get_close_matches(str(name).lower(), names, n=1)
    return f" Did you mean {nearest[0]!r}?" if nearest else ""


@contextlib.contextmanager
def read_npz(path, advice, kind=ValueError):
    """Read all arrays of an npz file; whatever fails within means that the file is damaged.

        with read_npz(path, "Delete it.") as arrays:
            weights = arrays["weights"]

    Args:
        path: of the file.
        advice: a sentence that says what to do about a damaged one.
        kind: the error to raise then.

    Yields:
        A dict of arrays.

    Raises:
        OSError: no such file, or none that may be read.
        kind: a damaged file, or one whose arrays the caller cannot use.
    """
    with open(path, "rb") as file:
        try:
            with np.load(file, allow_pickle=False) as arrays:
                arrays = dict(arrays)
            yield arrays
        except Exception as error:  # damaged bytes make NumPy, zipfile, zlib and json raise a dozen kinds
            raise kind(f"{path} is damaged ({type(error).__name__}: {error}). {advice}") from error


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
