"""Data sets: shapes and ranges, the look-up order, and what a student reads when something is missing or broken."""

import gzip
import tracemalloc

import keras
import numpy as np
import pytest
from scipy.ndimage import map_coordinates
from sklearn.datasets import load_digits

from keras_gen import DataUnavailable, files
from keras_gen.data import faces, load_dataset, load_real_samples, sets


@pytest.fixture(autouse=True)
def no_network(monkeypatch, tmp_path):
    """No local data but what a test writes, and no download."""
    for name in ("checkout/data", "keras/datasets"):
        (tmp_path / name).mkdir(parents=True)
    monkeypatch.setattr(files, "CHECKOUT", tmp_path / "checkout")
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "keras"))

    def fail():
        raise Exception("URL fetch failure on https://example.org: None -- no network")  # as get_file does

    for module in (keras.datasets.mnist, keras.datasets.fashion_mnist, keras.datasets.cifar10):
        monkeypatch.setattr(module, "load_data", fail)


def arrays_like(shape, n_train=6, n_test=4, column=False):
    rng = np.random.default_rng(0)

    def labels(n):
        return rng.integers(0, 10, (n, 1) if column else n, dtype=np.uint8)

    def images(n):
        return rng.integers(0, 256, (n, *shape), dtype=np.uint8)

    return {"x_train": images(n_train), "y_train": labels(n_train), "x_test": images(n_test), "y_test": labels(n_test)}


def write(folder, name="mnist", **changes):
    """A small data set as an .npz; `changes` replaces arrays, or drops them with None."""
    arrays = arrays_like((32, 32, 3), column=True) if name == "cifar10" else arrays_like((28, 28))
    arrays = {key: a for key, a in (arrays | changes).items() if a is not None}
    folder.mkdir(parents=True, exist_ok=True)
    np.savez(folder / f"{name}.npz", **arrays)
    return arrays


# ---- real sets


def test_mnist_is_the_real_one(real_data):
    (x_train, y_train), (x_test, y_test) = load_dataset("mnist")
    assert x_train.shape == (60000, 28, 28, 1) and x_test.shape == (10000, 28, 28, 1)
    # the known class counts of MNIST
    assert np.bincount(y_train).tolist() == [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949]
    assert np.bincount(y_test).tolist() == [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]


def test_cifar10_is_the_real_one(real_data):
    (x_train, y_train), (x_test, y_test) = load_dataset("cifar10")
    assert x_train.shape[1:] == x_test.shape[1:] == (32, 32, 3)
    assert y_train[:5].tolist() == [6, 9, 9, 4, 1] and y_test[:5].tolist() == [3, 8, 8, 0, 6]
    assert x_train[0, 0, 0].tolist() == [59, 62, 63]  # a frog in brown grass


@pytest.mark.parametrize("name, shape", [("mnist", (28, 28, 1)), ("cifar10", (32, 32, 3))])
def test_local_file(tmp_path, name, shape):
    written = write(tmp_path / "checkout/data", name)
    splits = load_dataset(name)
    for (x, y), split, n in zip(splits, ("train", "test"), (6, 4), strict=True):
        assert x.dtype == np.uint8 and x.shape == (n, *shape)
        assert y.dtype == np.int64 and y.shape == (n,)
        np.testing.assert_array_equal(x.squeeze(), written[f"x_{split}"])
        np.testing.assert_array_equal(y, written[f"y_{split}"].ravel())


def test_look_up_order(tmp_path, monkeypatch):
    calls = []
    monkeypatch.setattr(
        keras.datasets.mnist,
        "load_data",
        lambda: calls.append(1) or [(x := np.zeros((9, 28, 28), np.uint8), x[:, 0, 0])] * 2,
    )
    assert len(load_dataset("mnist")[0][0]) == 9 and calls == [1]
    for n, folder in ((3, "keras/datasets"), (2, "checkout/data"), (1, "mine")):
        write(tmp_path / folder, **arrays_like((28, 28), n_train=n))
        if folder == "mine":
            monkeypatch.setenv("KERAS_GEN_DATA", str(tmp_path / "mine"))
        assert len(load_dataset("mnist")[0][0]) == n
    assert calls == [1]  # local files came first


def test_keras_arrays_become_nhwc(monkeypatch, capsys):
    arrays = arrays_like((3, 32, 32), column=True)
    turned = {key: a.transpose(0, 2, 3, 1).copy() if a.ndim == 4 else a for key, a in arrays.items()}
    for layout, given in (("channels_last", turned), ("channels_first", arrays)):
        monkeypatch.setattr(keras.config, "image_data_format", lambda layout=layout: layout)
        train, test = (given["x_train"], given["y_train"]), (given["x_test"], given["y_test"])
        monkeypatch.setattr(keras.datasets.cifar10, "load_data", lambda train=train, test=test: (train, test))
        if layout == "channels_last":
            given["x_train"].flags.writeable = False  # as `np.frombuffer` gives
        (x, y), _ = load_dataset("cifar10")
        np.testing.assert_array_equal(x, turned["x_train"])
        assert x.flags.c_contiguous and x.flags.writeable and y.shape == (6,)
    assert "170 MB" in capsys.readouterr().out  # said before a wait that can last an hour


def test_one_copy_in_memory(tmp_path):
    write(tmp_path / "checkout/data", "cifar10", **arrays_like((32, 32, 3), n_train=3000, n_test=10))
    tracemalloc.start()
    (x, _), _ = load_dataset("cifar10")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 1.3 * x.nbytes


# ---- embedded sets


def test_digits():
    (x_train, y_train), (x_test, y_test) = load_dataset("digits")
    assert x_train.shape == (1437, 28, 28, 1) and x_test.shape == (360, 28, 28, 1)
    assert x_train.dtype == np.uint8 and y_train.dtype == np.int64 and y_train.shape == (1437,)
    assert x_train.min() == 0 and x_train.max() == 255

    # Read at the centres of the old 8x8 pixels, they are scikit-learn's digits, each one once and with its label.
    truth = load_digits()
    ours = np.concatenate([x_train, x_test])[:, 4:24, 4:24, 0] / 255
    centres = np.meshgrid(*2 * [np.arange(8) * 2.5 + 0.75], indexing="ij")
    small = np.stack([map_coordinates(image, centres, order=1) for image in ours]).reshape(-1, 64)
    wanted = truth.data / 16
    nearest = (np.sum(wanted**2, axis=1) - 2 * small @ wanted.T).argmin(axis=1)
    np.testing.assert_allclose(small, wanted[nearest], atol=0.15)
    assert sorted(nearest) == list(range(1797))
    np.testing.assert_array_equal(truth.target[nearest], np.concatenate([y_train, y_test]))

    # Stratified, and the same every time.
    np.testing.assert_allclose(np.bincount(y_test) / np.bincount(truth.target), 360 / 1797, atol=0.005)
    assert y_train[:10].tolist() == [3, 9, 1, 3, 1, 9, 4, 4, 2, 8]


def test_faces(monkeypatch):
    asked = []

    def fewer(n, seed):
        asked.append((n, seed))
        return sample(n // 100, seed)

    sample = faces.sample_face_attributes
    monkeypatch.setattr(faces, "sample_face_attributes", fewer)
    sets._faces.cache_clear()
    try:
        (x_train, y_train), (x_test, _) = load_dataset("faces")
        x_train[:] = 0  # a student's change must not reach the next call
        (x_again, y_again), _ = load_dataset("faces")
    finally:
        sets._faces.cache_clear()
    assert asked == [(10_000, 1), (2_000, 2)]  # drawn once
    np.testing.assert_array_equal(x_again, faces.draw_faces(sample(100, 1)))
    np.testing.assert_array_equal(y_again, faces.face_classes(sample(100, 1)))
    assert x_train.shape == (100, 32, 32, 3) and x_test.shape == (20, 32, 32, 3) and y_train.dtype == np.int64


# ---- as a tanh makes them


def test_real_samples_span_tanh(tmp_path):
    x = np.arange(256, dtype=np.uint8).repeat(4).reshape(1, 32, 32, 1).repeat(3, axis=3)
    write(tmp_path / "checkout/data", "cifar10", x_train=x, y_train=np.zeros(1, int))
    samples = load_real_samples()
    assert samples.dtype == np.float32 and samples.min() == -1 and samples.max() == 1
    np.testing.assert_allclose(samples, (x.astype(float) - 127.5) / 127.5, atol=1e-6)
    test = np.load(tmp_path / "checkout/data/cifar10.npz")["x_test"]
    np.testing.assert_allclose(load_real_samples("cifar10", "test"), (test.astype(float) - 127.5) / 127.5, atol=1e-6)
    with pytest.raises(ValueError, match='"train" or "test"'):
        load_real_samples("cifar10", "valid")


# ---- what goes wrong


@pytest.mark.parametrize(
    "name, hint", [("CIFAR10", "'cifar10'"), ("fashion-mnist", "'fashion_mnist'"), ("face", "'faces'")]
)
def test_unknown_name(name, hint):
    with pytest.raises(ValueError, match=f"Did you mean {hint}\\? The names are mnist, .*, digits, faces"):
        load_dataset(name)
    with pytest.raises(ValueError, match=r"no data set 'imagenet'\. The names are .*load_image_folder"):
        load_dataset("imagenet")


@pytest.mark.parametrize("name, stand_in", [("mnist", "digits"), ("fashion_mnist", "digits"), ("cifar10", "faces")])
def test_unavailable(name, stand_in, tmp_path, monkeypatch):
    (tmp_path / "mine").mkdir()
    monkeypatch.setenv("KERAS_GEN_DATA", str(tmp_path / "mine"))
    with pytest.raises(DataUnavailable) as caught:
        load_dataset(name)
    message = str(caught.value)
    for said in ("no network", f"copy {name}.npz into {tmp_path / 'checkout/data'}", f"load_dataset('{stand_in}')"):
        assert said in message
    for folder in ("mine", "checkout/data", "keras/datasets"):
        assert str(tmp_path / folder) in message
    assert isinstance(caught.value, OSError)


def test_the_recipe_in_the_message_works(tmp_path, monkeypatch):
    with pytest.raises(DataUnavailable) as caught:
        load_dataset("cifar10")
    a = arrays_like((32, 32, 3), column=True)
    splits = (a["x_train"], a["y_train"]), (a["x_test"], a["y_test"])
    monkeypatch.setattr(keras.datasets.cifar10, "load_data", lambda: splits)
    monkeypatch.chdir(tmp_path / "checkout/data")
    exec(str(caught.value).split("`")[1], {"keras": keras, "numpy": np})
    np.testing.assert_array_equal(load_dataset("cifar10")[0][0], a["x_train"])


def test_data_folder_that_does_not_exist(tmp_path, monkeypatch):
    write(tmp_path / "checkout/data")
    monkeypatch.setenv("KERAS_GEN_DATA", str(tmp_path / "typo"))
    with pytest.raises(DataUnavailable, match=r"KERAS_GEN_DATA is .*typo.*, which is not a folder"):
        load_dataset("mnist")


@pytest.mark.parametrize(
    "changes, said",
    [
        ({"x_test": None, "y_test": None}, r"no x_test, y_test in it, only x_train, y_train"),
        (
            {"x_train": np.zeros((6, 32, 32, 3), np.uint8)},
            r"x_train is uint8 \(6, 32, 32, 3\), and uint8 \(n, 28, 28, 1\)",
        ),
        ({"x_train": np.zeros((6, 28, 28))}, r"x_train is float64"),
        ({"y_train": np.zeros(5, int)}, r"y_train is int64 \(5,\), and 6 whole numbers are wanted"),
        ({"y_test": np.zeros((4, 10), int)}, r"y_test is int64 \(4, 10\), and 4 whole numbers"),
        ({"y_test": np.zeros(4)}, r"y_test is float64"),
        ({"y_test": np.full(4, 10)}, r"labels in y_test run from 10 to 10, and 0 to 9"),
        ({"x_test": np.zeros((0, 28, 28), np.uint8), "y_test": np.zeros(0, int)}, r"x_test is empty"),
        ({"y_test": np.array([1, None, 2, 3], object)}, r"allow_pickle=False"),
    ],
)
def test_wrong_file(tmp_path, changes, said):
    write(tmp_path / "checkout/data", **changes)
    with pytest.raises(ValueError, match=rf"mnist\.npz .*{said}.*[Dd]elete or replace it"):
        load_dataset("mnist")


def test_a_part_of_the_set_gets_a_word(tmp_path, capsys):
    write(tmp_path / "checkout/data", "cifar10")
    load_dataset("cifar10")
    said = capsys.readouterr().out
    assert "6 training and 4 test images, not 50,000 and 10,000" in said and "cifar10.npz" in said


def test_the_whole_set_gets_none(tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(sets._REAL, "mnist", (*sets._REAL["mnist"][:2], (6, 4)))
    write(tmp_path / "checkout/data")
    load_dataset("mnist")
    assert not capsys.readouterr().out
    assert sets._REAL["cifar10"][2] == (50_000, 10_000)


def test_something_else_in_the_files_place(tmp_path):
    place = tmp_path / "checkout/data/mnist.npz"
    place.mkdir()
    with pytest.raises(ValueError, match=r"mnist\.npz .*cannot be opened"):
        load_dataset("mnist")
    place.rmdir()
    place.symlink_to(tmp_path / "gone.npz")
    with pytest.raises(ValueError, match=r"mnist\.npz .*cannot be opened"):
        load_dataset("mnist")


def test_damaged_file(tmp_path):
    file = tmp_path / "checkout/data/mnist.npz"
    write(file.parent)
    whole = file.read_bytes()
    flipped = bytearray(whole)
    flipped[3000] ^= 1  # one bit of one pixel
    for content in (whole[:-1], whole[: len(whole) // 2], whole[:100], b"", b"<html>404</html>", bytes(flipped)):
        file.write_bytes(content)
        with pytest.raises(ValueError, match=r"mnist\.npz is damaged.*Delete or replace it"):
            load_dataset("mnist")


def test_damaged_file_in_the_keras_cache(tmp_path, monkeypatch):
    folder = tmp_path / "keras/datasets/fashion-mnist"
    folder.mkdir()
    (folder / "t10k-labels-idx1-ubyte.gz").write_bytes(gzip.compress(bytes(5000)))
    (folder / "train-images-idx3-ubyte.gz").write_bytes(gzip.compress(np.random.default_rng(0).bytes(5000))[:-900])

    def read():
        raise EOFError("Compressed file ended")

    monkeypatch.setattr(keras.datasets.fashion_mnist, "load_data", read)
    with pytest.raises(ValueError, match=r"train-images-idx3-ubyte\.gz is damaged.*Delete it"):
        load_dataset("fashion_mnist")
