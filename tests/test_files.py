import os
import stat

import numpy as np
import pytest

from keras_gen.files import write_npz


def test_arrays_come_back(tmp_path):
    write_npz(tmp_path / "file.npz", x=np.arange(3), text=np.array("words"))
    with np.load(tmp_path / "file.npz") as file:
        assert file["x"].tolist() == [0, 1, 2] and str(file["text"]) == "words"
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
