import importlib.util
import os
import shutil
import stat
from pathlib import Path

import numpy as np
import pytest

from keras_gen import files
from keras_gen.files import read_npz, write_npz


def test_arrays_come_back(tmp_path):
    write_npz(tmp_path / "file.npz", x=np.arange(3), text=np.array("words"))
    with read_npz(tmp_path / "file.npz", "Delete it.") as arrays:
        assert arrays["x"].tolist() == [0, 1, 2] and str(arrays["text"]) == "words"
    assert os.listdir(tmp_path) == ["file.npz"]


def test_the_bytes_are_on_the_disk_before_the_name_is(tmp_path, monkeypatch):
    """All of them: when the file is synchronised nothing waits in Python's buffer any more."""
    done = []
    for name in ("fsync", "replace"):
        original = getattr(os, name)

        def spy(*args, name=name, original=original):
            status = os.fstat(args[0]) if name == "fsync" else None
            if status and stat.S_ISDIR(status.st_mode):
                done.append("folder")
            else:
                done.append((name, status.st_size if status else os.path.getsize(args[0])))
            return original(*args)

        monkeypatch.setattr(os, name, spy)
    write_npz(tmp_path / "file.npz", x=np.arange(1000))
    size = os.path.getsize(tmp_path / "file.npz")
    assert done == [("fsync", size), ("replace", size)] + ["folder"] * (os.name != "nt")


def test_whatever_is_wrong_with_a_file_is_said_with_what_to_do(tmp_path):
    """Bytes that are no zip, an array that cannot be read, and one that the caller cannot use."""
    path = tmp_path / "file.npz"
    path.write_bytes(b"no zip")
    with pytest.raises(ValueError, match=r"file.npz is damaged .* Delete it"), read_npz(path, "Delete it."):
        pytest.fail("was read")
    np.savez(path, x=np.array([{}], dtype=object))  # a pickle, which could run anything
    with pytest.raises(OSError, match="damaged"), read_npz(path, "Delete it.", OSError):
        pytest.fail("was read")
    write_npz(path, x=np.arange(3))
    with pytest.raises(ValueError, match="KeyError: 'y'"), read_npz(path, "Delete it.") as arrays:
        arrays["y"]
    with pytest.raises(FileNotFoundError), read_npz(tmp_path / "nowhere.npz", "Delete it."):
        pytest.fail("was read")


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyboardInterrupt()])
def test_what_was_there_stays_when_the_new_one_fails(tmp_path, monkeypatch, error):
    write_npz(tmp_path / "file.npz", x=1)

    def fail(file, **arrays):
        file.write(b"half")
        raise error

    monkeypatch.setattr(np, "savez", fail)
    with pytest.raises(type(error)):
        write_npz(tmp_path / "file.npz", x=2)
    assert os.listdir(tmp_path) == ["file.npz"] and int(np.load(tmp_path / "file.npz")["x"]) == 1
    with pytest.raises(OSError):
        write_npz(tmp_path / "nowhere" / "file.npz", x=2)


def test_the_checkout_is_where_pyproject_lies(tmp_path):
    root = Path(__file__).resolve().parents[1]
    assert (root / "pyproject.toml").is_file()

    def checkout_of(folder):
        """CHECKOUT of a files.py at its place below `folder`."""
        (place := folder / "keras_gen").mkdir(parents=True, exist_ok=True)
        path = shutil.copy(files.__file__, place)
        spec = importlib.util.spec_from_file_location("keras_gen.elsewhere", path)
        spec.loader.exec_module(module := importlib.util.module_from_spec(spec))
        return module.CHECKOUT

    assert checkout_of(tmp_path / "site-packages") is None  # installed
    (tmp_path / "clone").mkdir()
    (tmp_path / "clone/pyproject.toml").touch()
    assert checkout_of(tmp_path / "clone") == tmp_path / "clone"


def test_local_folders(tmp_path, monkeypatch):
    cache = tmp_path / "keras/datasets"
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "keras"))
    monkeypatch.setattr(files, "CHECKOUT", tmp_path / "checkout")
    assert files.local_folders() == [tmp_path / "checkout/data", cache]
    monkeypatch.setattr(files, "CHECKOUT", None)
    assert files.local_folders() == [cache]
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))  # the home folder on Windows
    (tmp_path / "mine").mkdir()
    monkeypatch.setenv("KERAS_GEN_DATA", "~/mine")
    assert files.local_folders() == [tmp_path / "mine", cache]


def test_keras_home_is_the_one_of_keras(tmp_path, monkeypatch):
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "keras"))
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    assert files.keras_home() == tmp_path / "keras"
    monkeypatch.setenv("KERAS_HOME", "~/other")
    assert files.keras_home() == tmp_path / "other"
    monkeypatch.delenv("KERAS_HOME")
    assert files.keras_home() == tmp_path / ".keras"
    for home in ("/proc/1", "~"):  # nobody may write there; a user without a home folder
        monkeypatch.setattr(files.os.path, "expanduser", lambda path, home=home: path.replace("~", home))
        assert files.keras_home() == Path("/tmp/.keras")
