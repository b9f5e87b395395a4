"""The judge: learns what is easy, is trained once, and leaves everything else as it was."""

import random

import keras
import numpy as np
import pytest
from judges import cache, colours, data, judge  # noqa: F401  fixtures

from keras_gen import judge as judging
from keras_gen import judge_features, label_accuracy, load_dataset, predict_labels, train_judge


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


@pytest.mark.parametrize(("name", "accuracy"), [("mnist", 0.99), ("cifar10", 0.74)])
def test_the_judges_of_real_sets_come_trained(name, accuracy, real_data, monkeypatch):
    monkeypatch.setattr(judging, "_fit", lambda *_: pytest.fail("trained"))
    assert train_judge(name).test_accuracy > accuracy


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


@pytest.mark.parametrize("damage", ["cut", "flipped", "empty", "text", "other arrays"])
def test_a_damaged_file_is_replaced(damage, data, tmp_path, monkeypatch, capsys):
    path = tmp_path / "judge.npz"
    monkeypatch.setattr(judging, "_cache_file", lambda *_: path)
    monkeypatch.setattr(judging, "_fit", lambda *_: None)
    train_judge(data)
    whole = path.read_bytes()
    middle = len(whole) // 2
    damaged = {
        "cut": whole[:middle],
        "flipped": whole[:middle] + bytes(64) + whole[middle + 64 :],
        "empty": b"",
        "text": b"not found",
    }
    if damage == "other arrays":
        with path.open("wb") as file:
            np.savez(file, x=np.zeros(3))
    else:
        path.write_bytes(damaged[damage])
    capsys.readouterr()
    train_judge(data)
    assert "judge.npz is damaged" in capsys.readouterr().out
    train_judge(data)
    assert "damaged" not in capsys.readouterr().out
    assert [file.name for file in tmp_path.iterdir()] == ["judge.npz"]


def test_a_judge_that_cannot_be_kept_still_judges(data, tmp_path, monkeypatch, capsys):
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setattr(judging, "_cache_file", lambda *_: tmp_path / "file" / "judge.npz")
    monkeypatch.setattr(judging, "_fit", lambda *_: None)
    assert 0 <= train_judge(data).test_accuracy <= 1
    assert "not kept" in capsys.readouterr().out


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
