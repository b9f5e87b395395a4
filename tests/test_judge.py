"""The judge: learns what is easy, is trained once, and leaves everything else as it was."""

import random

import keras
import numpy as np
import pytest
from judges import cache, colours, data, judge  # noqa: F401  fixtures

from keras_gen import DataUnavailable, judge_features, label_accuracy, load_dataset, predict_labels, train_judge
from keras_gen import judge as judging
from keras_gen import pretrained as shipped
from keras_gen.judge import load_judge


def test_the_judge_reads_easy_classes(judge, data):
    (_, _), (x_test, y_test) = data
    assert judge.test_accuracy == 1
    np.testing.assert_array_equal(predict_labels(judge, x_test), y_test)
    assert label_accuracy(judge, x_test, y_test) == 1
    assert label_accuracy(judge, x_test, (y_test + 1) % 4) == 0
    assert label_accuracy(judge, x_test, np.zeros_like(y_test)) == 0.25


def test_the_judge_of_colour_images():
    assert train_judge((colours(384, 0), colours(60, 1)), epochs=8).test_accuracy == 1


def test_the_kept_accuracy_is_that_on_the_test_images(data, capsys):
    train, (x_test, y_test) = data
    wrong = np.where(np.arange(200) < 50, (y_test + 1) % 4, y_test)
    judge = train_judge((train, (x_test, wrong)), epochs=8)
    assert judge.test_accuracy == 0.75
    assert "right on 75.00% of its real test images" in capsys.readouterr().out


def test_uint8_and_floats_are_the_same_images(judge, data):
    images = data[1][0]
    floats = images.astype("float32") / 127.5 - 1
    np.testing.assert_array_equal(judge_features(judge, images), judge_features(judge, floats))
    assert judge_features(judge, images).shape == (200, 64)


@pytest.mark.parametrize(("name", "accuracy"), [("digits", 0.98), ("faces", 0.99)])
def test_the_judges_of_embedded_sets_come_trained(name, accuracy, monkeypatch, capsys):
    monkeypatch.setattr(judging, "_fit", lambda *_: pytest.fail("trained"))
    judge = train_judge(name)
    assert f"Judge of {name}: right on" in capsys.readouterr().out
    _, (x_test, y_test) = load_dataset(name)
    assert accuracy < judge.test_accuracy == np.mean(predict_labels(judge, x_test) == y_test)
    features = judge_features(judge, x_test[:100])
    assert features.shape == (100, 64) and features.std() > 0.1


@pytest.mark.parametrize("load", [load_judge, train_judge])
@pytest.mark.parametrize(("name", "accuracy"), [("mnist", 0.9939), ("cifar10", 0.7556)])
def test_the_judges_of_real_sets_come_trained_and_need_no_data(load, name, accuracy, monkeypatch, capsys):
    """The shares are those of the cards in data/README.md."""
    monkeypatch.setattr(judging, "_fit", lambda *_: pytest.fail("trained"))
    monkeypatch.setattr(judging, "load_dataset", lambda *_: pytest.fail("read"))
    judge = load(name)
    assert judge.test_accuracy == accuracy and judge.name == name
    assert f"Judge of {name}: right on {accuracy:.2%}" in capsys.readouterr().out


@pytest.mark.parametrize("name", ["mnist", "cifar10"])
def test_the_kept_accuracy_is_that_on_real_images(name, real_data):
    judge, (_, (x_test, y_test)) = load_judge(name), load_dataset(name)
    counted = label_accuracy(judge, x_test, y_test)
    assert judge.test_accuracy == pytest.approx(counted, abs=0.02)  # that of CIFAR-10 is of the first half of them


def test_judges_that_do_not_come_with_the_project(tmp_path, monkeypatch):
    with pytest.raises(ValueError, match=r"No judge of 'Digits' .*cifar10, digits, faces, mnist.* mean 'digits'\?"):
        load_judge("Digits")
    for name in ("fashion_mnist", "../judge_digits", str(shipped.FOLDER / "digits"), "", None, 3):
        with pytest.raises(ValueError, match="train_judge trains one"):
            load_judge(name)
    with np.load(shipped.FOLDER / "judge_digits.npz") as file:
        arrays = {key: file[key] for key in file if key != "test_accuracy"}
    np.savez(tmp_path / "judge_digits.npz", **arrays)
    monkeypatch.setattr(shipped, "FOLDER", tmp_path)
    with pytest.raises(DataUnavailable, match="KeyError: 'test_accuracy'"):
        load_judge("digits")


def test_given_epochs_or_arrays_train_a_judge_of_their_own(monkeypatch, capsys):
    trained = []
    monkeypatch.setattr(judging, "_fit", lambda classifier, x, y, epochs: trained.append((len(x), epochs)))
    train_judge("digits", epochs=2)
    (x, y), test = load_dataset("digits")
    train_judge(((x[:500], y[:500]), test))
    assert trained == [(1437, 2), (500, 10)]


def test_a_judge_is_trained_once(judge, data, cache, monkeypatch, capsys):
    monkeypatch.setattr(judging, "_fit", lambda *_: pytest.fail("trained again"))
    capsys.readouterr()
    again = train_judge(data, epochs=8)
    assert again.test_accuracy == judge.test_accuracy
    assert "right on 100.00%" in capsys.readouterr().out
    np.testing.assert_array_equal(judge_features(again, data[1][0]), judge_features(judge, data[1][0]))


def test_other_data_or_epochs_get_another_judge(data, monkeypatch):
    monkeypatch.setattr(judging, "_fit", lambda *_: None)
    names = set()
    monkeypatch.setattr(judging, "_save", lambda path, *_: names.add(path.name))
    (x, y), test = data
    sets = [((x, y), 1), ((x, y), 2), ((x[:320], y[:320]), 1), ((x, np.r_[y[:-1], 0]), 1)]
    for place in ((0, 0, 0, 0), (-1, -1, -1, 0), (300, 5, 5, 0)):  # one bit of one pixel, anywhere
        changed = x.copy()
        changed[place] ^= 1
        sets.append(((changed, y), 1))
    for train, epochs in sets:
        train_judge((train, test), epochs=epochs)
    assert y[-1] != 0 and len(names) == len(sets)


@pytest.mark.parametrize("damage", ["cut", "other arrays", "last shape", "nan", "accuracy", "nan accuracy"])
def test_a_damaged_file_is_replaced(damage, data, tmp_path, monkeypatch, capsys):
    """And none of its weights reaches the judge, whose training starts from its own."""
    path = tmp_path / "judge.npz"
    monkeypatch.setattr(judging, "_cache_file", lambda *_: path)
    monkeypatch.setattr(judging, "_fit", lambda *_: None)
    first = train_judge(data)
    whole = path.read_bytes()
    with np.load(path) as file:
        arrays = {key: file[key] + 1 for key in file} | {"test_accuracy": 0.5}
    last = str(len(arrays) - 2)
    changes = {
        "other arrays": {"x": np.zeros(3)},
        "last shape": arrays | {last: arrays[last][:-1]},
        "nan": arrays | {last: arrays[last] * np.nan},
        "accuracy": arrays | {"test_accuracy": 7.5},
        "nan accuracy": arrays | {"test_accuracy": np.nan},
    }
    if damage in changes:
        with path.open("wb") as file:
            np.savez(file, **changes[damage])
    else:
        path.write_bytes(whole[: len(whole) // 2])
    capsys.readouterr()
    again = train_judge(data)
    assert "judge.npz is damaged" in capsys.readouterr().out
    for ours, theirs in zip(again.model.get_weights(), first.model.get_weights(), strict=True):
        np.testing.assert_array_equal(ours, theirs)
    train_judge(data)
    assert "damaged" not in capsys.readouterr().out
    assert [file.name for file in tmp_path.iterdir()] == ["judge.npz"]


def test_a_judge_that_cannot_be_kept_still_judges(data, tmp_path, monkeypatch, capsys):
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setattr(judging, "_cache_file", lambda *_: tmp_path / "file" / "judge.npz")
    monkeypatch.setattr(judging, "_fit", lambda *_: None)
    assert 0 <= train_judge(data).test_accuracy <= 1
    assert "not kept" in capsys.readouterr().out


@pytest.mark.every_backend
def test_a_judge_is_the_same_whatever_the_global_settings(data, cache):
    """Trained, kept and shipped ones; before the settings, under them, and images that a generator made under them."""
    x = data[1][0]
    trained, given = train_judge(data, epochs=1), load_judge("digits")
    digits = load_dataset("digits")[1][0]
    wanted = judge_features(trained, x), judge_features(given, digits)
    settings = keras.config.dtype_policy(), keras.config.image_data_format()
    keras.config.set_dtype_policy("mixed_bfloat16")
    keras.config.set_image_data_format("channels_first")
    try:
        kept = train_judge(data, epochs=1)
        for file in cache.glob("*.npz"):
            file.rename(file.with_suffix(".aside"))
        anew = train_judge(data, epochs=1)
        for judge, images, features in (
            (trained, x, wanted[0]),
            (kept, x, wanted[0]),
            (given, digits, wanted[1]),
            (load_judge("digits"), digits, wanted[1]),
        ):
            np.testing.assert_array_equal(judge_features(judge, images), features)
            assert {str(weight.dtype) for weight in judge.model.weights} == {"float32"}
        np.testing.assert_allclose(judge_features(anew, x), wanted[0], atol=1e-3)
        assert (
            keras.config.dtype_policy().name == "mixed_bfloat16"
            and keras.config.image_data_format() == "channels_first"
        )
        generator = keras.Sequential([keras.Input((4,)), keras.layers.Dense(144, activation="tanh")])
        images = keras.ops.reshape(generator(np.random.default_rng(0).normal(size=(9, 4))), (9, 12, 12, 1))
        assert keras.backend.standardize_dtype(images.dtype) == "bfloat16"
        pixels = keras.ops.convert_to_numpy(images).astype("float32")
        np.testing.assert_array_equal(judge_features(kept, images), judge_features(kept, pixels))
    finally:
        keras.config.set_dtype_policy(settings[0])
        keras.config.set_image_data_format(settings[1])
        for file in cache.glob("*.aside"):
            file.rename(file.with_suffix(".npz"))


def test_two_machines_train_the_same_judge(data, tmp_path, monkeypatch):
    """Whatever NumPy drew before: the order of the images and how they are moved are the judge's own."""
    order = []

    class Classifier:
        def compile(self, **options):
            pass

        def train_on_batch(self, images, labels):
            order.append((images.sum(axis=(1, 2, 3)).tolist(), labels.tolist()))

    for _ in range(2):
        judging._fit(Classifier(), *data[0], epochs=2)
    assert order[: len(order) // 2] == order[len(order) // 2 :] and order[0] != order[5]


def test_training_a_judge_leaves_the_seeds_alone(data, tmp_path, monkeypatch):
    """Or a notebook would draw other numbers on the day its judge was trained than on the next."""
    monkeypatch.setattr(judging, "_cache_file", lambda *_: tmp_path / "judge.npz")

    def draws(trained):
        keras.utils.set_random_seed(7)
        if trained:
            train_judge(data, epochs=1)
        layer = keras.layers.Dense(3)
        layer.build((None, 3))
        return [random.random(), np.random.random(), *layer.get_weights()[0].ravel()]

    assert draws(trained=True) == draws(trained=False)
    assert (tmp_path / "judge.npz").exists()


def test_a_full_disk_leaves_the_old_judge_and_no_rest(data, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(judging, "_cache_file", lambda *_: tmp_path / "judge.npz")
    monkeypatch.setattr(judging, "_fit", lambda *_: None)
    (tmp_path / "judge.npz").write_bytes(b"an old one")

    def full(file, **arrays):
        file.write(b"half a judge")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(judging.np, "savez", full)
    train_judge(data)
    assert "not kept" in capsys.readouterr().out
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == {"judge.npz": b"an old one"}


@pytest.mark.parametrize(("channels", "furthest"), [(1, 1), (3, 2)])
def test_it_learns_from_images_that_are_moved_and_in_colour_mirrored(channels, furthest):
    """A picture with one bright pixel says where it was moved to, one left of the middle whether it was mirrored."""
    moves, mirrored = set(), []

    class Classifier:
        def compile(self, **options):
            pass

        def train_on_batch(self, images, labels):
            assert np.array_equal(labels, images.max(axis=(1, 2, 3)) - 1)  # each image keeps its label
            ((top, left),) = {tuple(place) for place in np.argwhere(images[:, :, :, 0])[:, 1:].tolist()}
            mirrored.append(left > 8)
            moves.add((top - 8, (15 - left if left > 8 else left) - 4))

    x = np.zeros((64, 16, 16, channels), np.uint8)
    x[:, 8, 4] = 1 + np.arange(64).reshape(-1, 1)
    judging._fit(Classifier(), x, np.arange(64), epochs=400, n_batch=64)
    steps = set(range(-furthest, furthest + 1))
    assert moves == {(down, right) for down in steps for right in steps}
    assert sum(mirrored) == (0 if channels == 1 else pytest.approx(200, abs=4 * 10))  # a fair coin


def test_mistakes(data):
    (x, y), _ = data
    with pytest.raises(ValueError, match="no data set 'mnits'"):
        train_judge("mnits")
    with pytest.raises(ValueError, match="640 integers"):
        train_judge(((x, y[:-1]), (x, y)))
    for epochs in (0, -1, 1.5, "3"):
        with pytest.raises(ValueError, match=r"epochs is .*; it must be a whole number, at least 1"):
            train_judge(data, epochs)
    with pytest.raises(ValueError, match="no value below 0"):
        train_judge(((x / 255, y), (x / 255, y)))
    with pytest.raises(ValueError, match=r"training images must .*given: \(640, 12, 12\)\. images\[\.\.\., None\]"):
        train_judge(((x[..., 0], y), (x[..., 0], y)))
    with pytest.raises(ValueError, match=r"test images must have shape \(n, 12, 12, 1\)"):
        train_judge(((x, y), (x[:, :6], y)))
    with pytest.raises(ValueError, match="the classes are 0 to 3"):
        train_judge(((x, y), (x, y + 1)))


@pytest.mark.parametrize(
    ("wrap", "said"),
    [
        (lambda x, y: (x, y), "train_test_split"),  # as load_image_folder gives them
        (lambda x, y: [x, y], "train_test_split"),
        (lambda x, y: x, "images without labels.*train_test_split"),
        (lambda x, y: (x, y, x, y), "given: 4 arrays"),
        (lambda x, y: ((x, y), (x, y), (x, y)), "given: 3 parts, of 2, 2, 2"),
        (lambda x, y: ((x,), (x,)), "given: 2 parts, of 1, 1"),
        (lambda x, y: {"train": (x, y)}, "a dict"),
        (lambda x, y: ((x, y) for _ in range(2)), r"a generator.*np\.concatenate"),
        (lambda x, y: None, "a NoneType"),
    ],
)
def test_a_data_set_in_another_wrapping(data, wrap, said):
    with pytest.raises(ValueError, match=rf"\(\(x_train, y_train\), \(x_test, y_test\)\).*{said}"):
        train_judge(wrap(*data[0]))


def test_the_cut_that_the_sentence_names_is_right(data, monkeypatch):
    import sklearn.model_selection

    monkeypatch.setattr(judging, "_fit", lambda *_: None)
    with pytest.raises(ValueError) as caught:
        train_judge(data[0])
    names = {"images": data[0][0], "labels": data[0][1], "sklearn": sklearn}
    exec(str(caught.value).split("2 arrays. ")[1].removesuffix(" cuts images and labels in two."), names)
    x_train, x_test, y_train, y_test = (names[name] for name in ("x_train", "x_test", "y_train", "y_test"))
    train_judge(((x_train, y_train), (x_test, y_test)), 1)
    assert len(x_train) == 480 and np.bincount(y_test).tolist() == [40] * 4
    assert {len(part) for part in (x_test, y_test)} == {160}


@pytest.mark.parametrize(
    ("change", "way"),
    [
        (lambda y: np.eye(4)[y], "argmax"),
        (lambda y: np.eye(4, dtype=int)[y], "argmax"),
        (lambda y: y.astype("float32"), 'astype."int64"'),
        (lambda y: y > 1, 'astype."int64"'),
        (lambda y: np.array(["cat", "dog", "cow", "hen"])[y], "np.unique"),
        (lambda y: y * 1000, r"up to 3000, more classes than training images \(640\).*np.unique"),
        (lambda y: y - 1, "run from -1"),
    ],
)
def test_labels_of_other_kinds_get_a_way_out(data, change, way):
    (x, y), _ = data
    with pytest.raises(ValueError, match=way):
        train_judge(((x, change(y)), (x, change(y))))


def test_a_column_of_labels_and_gaps_between_them(data, monkeypatch):
    """(n, 1) as keras.datasets.cifar10 gives them; some of the classes of a larger set."""
    (x, y), (x_test, y_test) = data
    known = train_judge(data, epochs=8)
    monkeypatch.setattr(judging, "_fit", lambda *_: pytest.fail("trained again"))
    column = train_judge(((x, y[:, None]), (x_test, y_test[:, None])), epochs=8)
    assert column.test_accuracy == known.test_accuracy
    assert label_accuracy(known, x_test, y_test[:, None]) == 1
    monkeypatch.setattr(judging, "_fit", lambda *_: None)
    gaps = train_judge(((x, y * 5), (x_test, y_test * 5)), epochs=1)
    assert gaps.model.output_shape[1] == (None, 16)
