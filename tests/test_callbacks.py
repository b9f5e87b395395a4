import keras
import numpy as np
import pytest
from models import LATENT_DIM, define_generator, make_dataset, make_gan

from keras_gen import SampleGrid, loop, tile_images, train


def test_a_film_of_the_same_inputs():
    """Frame 0 is the untrained generator, the last one the trained; each a grid of what G makes of the inputs."""
    models = make_gan()
    points = np.random.default_rng(0).normal(size=(6, LATENT_DIM)).astype("float32")
    first = tile_images(models[0].predict_on_batch(points), 2)
    film = SampleGrid(models[0], points, n_columns=2)
    train(*models, make_dataset(), LATENT_DIM, 3, 64, film, verbose=0)
    assert film.epochs == [0, 1, 2, 3] and film.frames[0].shape == (26, 17, 1)
    assert np.array_equal(film.frames[0], first)
    assert np.array_equal(film.frames[3], tile_images(models[0].predict_on_batch(points), 2))
    assert not np.array_equal(film.frames[0], film.frames[3])
    train(*models, make_dataset(), LATENT_DIM, 5, 64, film, initial_epoch=3, verbose=0)
    assert film.epochs == [0, 1, 2, 3, 4, 5]  # the film goes on: picture 0 is not taken again


@pytest.mark.parametrize(
    ("n_epochs", "every", "epochs"),
    [(4, None, [0, 1, 2, 3, 4]), (25, None, [0, 3, 6, 9, 12, 15, 18, 21, 24, 25]), (5, 2, [0, 2, 4, 5])],
)
def test_about_ten_pictures(n_epochs, every, epochs):
    g_model, d_model, _ = make_gan()
    film = SampleGrid(g_model, np.zeros((2, LATENT_DIM)), every)
    loop(lambda: {"loss": 1.0}, d_model, [], n_epochs, 1, film, verbose=0)
    assert film.epochs == epochs and len(film.frames) == len(epochs)


def test_a_generator_that_has_turned_bright_is_filmed_as_it_is():
    """Nothing below 0 is no reason to stop a training, nor to take its range for another."""
    g_model, d_model, _ = make_gan()
    g_model.set_weights([np.zeros_like(weight) for weight in g_model.get_weights()])
    film = SampleGrid(g_model, np.zeros((1, LATENT_DIM)))
    sigmoid = SampleGrid(g_model, np.zeros((1, LATENT_DIM)), value_range=(0, 1))
    loop(lambda: {"loss": 1.0}, d_model, [], 1, 1, [film, sigmoid], verbose=0)
    assert set(np.unique(film.frames)) <= {127, 128} and set(np.unique(sigmoid.frames)) == {0}


@pytest.mark.parametrize(("initial_epoch", "epochs"), [(0, [0, 1, 2, 3]), (2, [2, 3]), (3, [3])])
def test_the_first_picture_says_how_far_the_run_was(initial_epoch, epochs):
    g_model, d_model, _ = make_gan()
    film = SampleGrid(g_model, np.zeros((1, LATENT_DIM)))
    loop(lambda: {"loss": 1.0}, d_model, [], 3, 1, film, initial_epoch, verbose=0)
    assert film.epochs == epochs and len(film.frames) == len(epochs)


def test_conditional_inputs():
    g_model = define_generator(n_classes=3)
    film = SampleGrid(g_model, [np.ones((2, LATENT_DIM)), np.array([[0], [2]])], n_columns=2)
    loop(lambda: {"loss": 1.0}, make_gan()[1], [], 1, 1, film, verbose=0)
    assert film.frames[0].shape == (8, 17, 1)
    assert not np.array_equal(film.frames[0][:, :8], film.frames[0][:, 9:])


def test_the_last_picture_of_a_training_that_was_stopped():
    class Stop(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            self.model.stop_training = epoch == 6

    g_model, d_model, _ = make_gan()
    film = SampleGrid(g_model, np.zeros((2, LATENT_DIM)), every=5)
    loop(lambda: {"loss": 1.0}, d_model, [], 20, 1, [Stop(), film], verbose=0)
    assert film.epochs == [0, 5, 7]


@pytest.mark.parametrize("every", [0, -1, 2.5])
def test_pictures_every_few_epochs(every):
    with pytest.raises(ValueError, match=f"every is {every}"):
        SampleGrid(define_generator(), np.zeros((2, LATENT_DIM)), every)


def test_a_picture_never_ends_a_training():
    """Of a generator without an activation that leaves the range, and of one whose weights are nan."""
    z = keras.Input((LATENT_DIM,))
    dense = keras.layers.Dense(64, use_bias=False, kernel_initializer="ones")
    g_model = keras.Model(z, keras.layers.Reshape((8, 8, 1))(dense(z)))
    points = np.array([[1.0, 1, 1, 1], [-1, -1, -1, -1], [0.1, 0, 0, 0]])  # images of 4, -4 and 0.1
    film, losses = SampleGrid(g_model, points, every=1, n_columns=3), iter([1.0, np.nan])

    def step():
        loss = next(losses)
        if np.isnan(loss):
            dense.kernel.assign(np.full((LATENT_DIM, 64), np.nan))
        return {"loss": loss}

    history = loop(step, make_gan()[1], [], 5, 1, film, verbose=0)
    assert film.epochs == [0, 1] and history.epoch == [0, 1]
    assert film.frames[0][0, [0, 9, 18], 0].tolist() == [255, 0, 140]
