import keras
import numpy as np
import pytest
from keras import layers, ops
from models import SHAPE

from keras_gen import GradientPenalty, train_only

PIXELS = int(np.prod(SHAPE))


def linear_critic(length):
    """A critic with the same slope everywhere, of this length."""
    # Dropout must not act on the penalty: with it the slope would be another at each call.
    critic = keras.Sequential(
        [keras.Input(SHAPE), layers.Flatten(), layers.Dropout(0.5), layers.Dense(1)], name="critic"
    )
    kernel = np.random.default_rng(0).normal(size=(PIXELS, 1))
    critic.set_weights([length * kernel / np.linalg.norm(kernel), np.array([0.3])])
    return critic


def with_penalty(critic, **options):
    real, fake = keras.Input(SHAPE), keras.Input(SHAPE)
    passed = GradientPenalty(critic, **options)([real, fake])
    return keras.Model([real, fake], [critic(images) for images in passed])


def nothing(y, score):
    return 0.0 * ops.mean(score)


def batch(n=6, seed=0):
    rng = np.random.default_rng(seed)
    return [rng.normal(size=(n, *SHAPE)).astype("float32") for _ in range(2)]


@pytest.mark.every_backend
@pytest.mark.parametrize(("length", "weight"), [(3.0, 10.0), (0.25, 2.0)])
def test_penalty_of_a_linear_critic_is_known(length, weight):
    critic = linear_critic(length)
    model = with_penalty(critic, weight=weight)
    model.compile("sgd", loss=[nothing, nothing])
    real, fake = batch()
    loss = model.evaluate([real, fake], [np.zeros(6)] * 2, verbose=0)
    loss = loss[0] if isinstance(loss, list) else loss
    assert loss == pytest.approx(weight * (length - 1) ** 2, rel=1e-4, abs=1e-5)
    for score, images in zip(model.predict_on_batch([real, fake]), (real, fake), strict=True):
        np.testing.assert_allclose(score, critic.predict_on_batch(images), rtol=1e-5)  # images pass as they are


@pytest.mark.every_backend
def test_it_is_taken_between_each_image_and_its_fake():
    """D(x) = x^2 / 2 of one pixel has the slope x: with real = fake = c the penalty is (|c| - 1)^2, whatever t is."""
    pixel = keras.Input((1, 1, 1))
    critic = keras.Model(pixel, ops.square(layers.Flatten()(pixel)) / 2)
    penalty = GradientPenalty(critic, weight=1.0)

    def loss(real, fake):
        penalty([np.float32(real).reshape(-1, 1, 1, 1), np.float32(fake).reshape(-1, 1, 1, 1)])
        return float(ops.convert_to_numpy(penalty.losses[0]))

    assert loss([2, -4], [2, -4]) == pytest.approx((1 + 9) / 2, rel=1e-5)
    keras.utils.set_random_seed(0)
    # Between 1 and 3 the slope is uniform in [1, 3]: the mean of (s - 1)^2 is 4/3, its standard deviation 1.19.
    assert loss(np.ones(20_000), 3 * np.ones(20_000)) == pytest.approx(4 / 3, abs=4 * 1.2 / np.sqrt(20_000))
    draws = {loss([1.0], [3.0]) for _ in range(5)}
    assert len(draws) == 5


@pytest.mark.every_backend
def test_it_trains_the_critic_under_train_on_batch():
    """On the penalty alone the slope's length goes to 1, from above and from below."""
    for length in (3.0, 0.2):
        critic = linear_critic(length)
        model = with_penalty(critic)
        model.compile(keras.optimizers.Adam(0.02), loss=[nothing, nothing])
        real, fake = batch()
        for _ in range(150):
            logs = train_only(critic, [critic], model, [real, fake], [np.zeros((6, 1))] * 2)
        assert np.linalg.norm(critic.get_weights()[0]) == pytest.approx(1, abs=0.05) and logs["loss"] < 0.05


@pytest.mark.every_backend
def test_a_critic_without_a_slope():
    """There the length has no slope of its own: the penalty is known, and nothing becomes nan."""
    critic = linear_critic(0.0)
    model = with_penalty(critic, weight=2.0)
    model.compile("sgd", loss=["mse", "mse"])
    logs = train_only(critic, [critic], model, batch(), [np.full((6, 1), 0.3)] * 2)
    assert logs["loss"] == pytest.approx(2.0, abs=1e-4)
    assert all(np.isfinite(weight).all() for weight in critic.get_weights())


@pytest.mark.every_backend
def test_a_critic_with_dropout_and_a_frozen_one():
    """The state of Dropout is not touched by the penalty, and a critic that stands still is not moved by it."""
    image = keras.Input(SHAPE)
    x = layers.Dropout(0.5)(layers.Flatten()(layers.Conv2D(2, 3, activation="tanh")(image)))
    critic, other = keras.Model(image, layers.Dense(1)(x), name="critic"), linear_critic(1)
    model = with_penalty(critic)
    model.compile("sgd", loss=["mse", "mse"])
    before = critic.get_weights()
    train_only(critic, [critic, other], model, batch(), [np.zeros((6, 1))] * 2)
    moved = critic.get_weights()
    assert all(np.any(a != b) for a, b in zip(before[:1] + before[2:], moved[:1] + moved[2:], strict=True))
    assert len(model.trainable_variables) == 4  # the critic's, each once


def test_a_model_with_a_penalty_says_why_it_cannot_be_saved(tmp_path):
    with pytest.raises(NotImplementedError, match="Save the critic"):
        with_penalty(linear_critic(1.0)).save(tmp_path / "model.keras")
