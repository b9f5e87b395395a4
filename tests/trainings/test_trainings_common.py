import re

import keras
import numpy as np
import pytest

import keras_gen as kg
from trainings import common


@pytest.fixture(scope="module")
def faces():
    return kg.load_dataset("faces")[1], kg.train_judge("faces")


def scores(capsys, judge, samples, x_train, y_train, x_test):
    """What is printed, number by number, in its order."""
    capsys.readouterr()
    common.print_scores(judge, samples, x_train, y_train, x_test)
    numbers = [float(number) for number in re.findall(r"\d+\.?\d*", capsys.readouterr().out)]
    names = ("distance", "of_real", "classes", "of", "kl", "precision", "recall", "sure", "sure_real", "memorisation")
    return dict(zip(names, numbers, strict=True))


def test_the_scores_of_known_pictures(faces, capsys):
    (x, y), judge = faces
    train, labels, test, test_labels = x[:512], y[:512], x[512:768], y[512:768]

    of_test = scores(capsys, judge, test, train, labels, test)
    assert of_test["distance"] == 0 < of_test["of_real"]
    assert of_test["classes"] == of_test["of"] == 16 and of_test["kl"] < 0.1
    assert of_test["precision"] == of_test["recall"] == of_test["memorisation"] == 1
    assert of_test["sure"] == of_test["sure_real"] >= 99

    copies = scores(capsys, judge, train[:256], train, labels, test)
    assert copies["distance"] == copies["of_real"] == of_test["of_real"] and copies["memorisation"] == 0

    young = test[test_labels < 8]  # half of the classes
    some = scores(capsys, judge, young, train, labels, test)
    assert (some["classes"], some["of"], some["precision"]) == (8, 16, 1) and some["recall"] < 0.9
    assert some["kl"] == pytest.approx(np.log(2), abs=0.15)
    assert some["sure_real"] == of_test["sure_real"]

    rng = np.random.default_rng(0)
    noise = scores(capsys, judge, rng.integers(0, 256, test.shape, "uint8"), train, labels, test)
    assert noise["distance"] > 100 and noise["precision"] == 0 and noise["memorisation"] > 2
    assert noise["sure"] != noise["sure_real"] == of_test["sure_real"]


def test_the_distance_after_an_epoch(faces, capsys):
    (x, _), judge = faces
    common.print_distance(6, judge, x[:100], x[:100])
    assert capsys.readouterr().out == "epoch 7: feature distance to 100 test images 0.0\n"


def test_a_look_leaves_the_random_numbers():
    np.random.seed(1)
    points, labels = common.draw_aside(5, 3, 10)
    assert points.shape == (3, 5) and labels.shape == (3, 1)
    np.testing.assert_array_equal(kg.generate_latent_points(5, 3), points)


def test_what_is_kept_is_float32(folder):
    def define():
        return keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)])

    keras.config.set_dtype_policy("mixed_bfloat16")
    mixed = define()
    returned = common.keep("tiny", define, mixed.get_weights())
    assert keras.config.dtype_policy().name == "mixed_bfloat16"
    assert returned.layers[0].compute_dtype == "float32"
    np.testing.assert_array_equal(kg.load_pretrained("tiny").get_weights()[0], mixed.get_weights()[0].astype("float16"))


def test_runs_are_saved_in_the_repository(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert common.RUNS.is_absolute() and (common.RUNS.parent / "run.py").is_file()
