"""What docs/keras2.md says of the lectures' lines, on the Keras that is here."""

import keras
import numpy as np
import pytest
from keras import layers
from models import KERAS


def test_lr_is_refused():
    with pytest.raises(ValueError, match="lr"):
        keras.optimizers.Adam(lr=0.0002)


@pytest.mark.parametrize(("layer", "word"), [(layers.LeakyReLU, "alpha"), (layers.Dense, "input_shape")])
def test_old_words_warn(layer, word):
    options = {"alpha": {"alpha": 0.2}, "input_shape": {"units": 8, "input_shape": (4,)}}[word]
    with pytest.warns(UserWarning, match=word):
        layer(**options)


def test_smooth_labels_are_no_accuracy():
    model = keras.Sequential([keras.Input((1,)), layers.Dense(1, "sigmoid", kernel_initializer="ones")])
    model.compile(loss="binary_crossentropy", metrics=["accuracy"])
    x = np.full((4, 1), 5.0)
    for label, accuracy in ((1.0, 1), (0.9, 0)):
        assert model.evaluate(x, np.full((4, 1), label), verbose=0, return_dict=True)["accuracy"] == accuracy


def test_a_functional_model_takes_no_loss():
    image = keras.Input((2,))
    model = keras.Model(image, layers.Dense(1)(image))
    with pytest.raises(NotImplementedError):
        model.add_loss(keras.ops.sum(image))


def test_one_optimizer_for_two_models():
    optimizer = keras.optimizers.Adam()
    first, second = (keras.Sequential([keras.Input((n,)), layers.Dense(1)]) for n in (1, 2))
    for model in (first, second):
        model.compile(optimizer, loss="mse")
    first.train_on_batch(np.ones((2, 1)), np.ones((2, 1)))
    with pytest.raises((ValueError, KeyError, NotImplementedError)):  # the last from 3.12, as it words its message
        second.train_on_batch(np.ones((2, 2)), np.ones((2, 1)))


def test_an_activity_penalty_is_divided_by_the_batch_since_3_14():
    x = keras.Input((1,))
    dense = layers.Dense(1, use_bias=False, kernel_initializer="ones", activity_regularizer=keras.regularizers.L1(1.0))
    model = keras.Model(x, layers.Rescaling(0.0)(dense(x)))
    model.compile(loss="mse")
    loss = model.evaluate(np.ones((4, 1)), np.zeros((4, 1)), batch_size=4, verbose=0)
    assert loss == pytest.approx(1.0 if KERAS >= (3, 14) else 4.0)
