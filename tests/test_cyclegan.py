import warnings

import keras
import numpy as np
import pytest
from models import COLOUR, make_cyclegan, make_domains, movement, watch_steps, weights

from keras_gen import ImagePool, define_composite_model, train_cyclegan

LOSSES = ["adversarial", "identity", "forward_cycle", "backward_cycle"]


@pytest.mark.every_backend
def test_each_step_moves_its_own_network_and_no_other(monkeypatch):
    models = make_cyclegan()
    record = watch_steps(monkeypatch, *models[:4])
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)  # Keras warns of a model without trainable weights
        for n_batch in (1, 2):  # every new batch size makes Keras trace its steps again
            train_cyclegan(*models, make_domains(2, 2), n_epochs=1, n_batch=n_batch)
    moved = [{"g_BtoA"}, {"d_A"}, {"d_A"}, {"g_AtoB"}, {"d_B"}, {"d_B"}]
    assert [step[4] for step in record] == moved * 3  # two steps of one image each, then one of two
    assert all(layer.trainable for network in models[:4] for layer in network.layers)


@pytest.mark.every_backend
def test_lecture_order_without_the_flags_trains_one_generator_only():
    """The trap itself: both composites train the generator that was unfrozen last. Should a later Keras mend it, this
    test says so."""
    _, _, g_AtoB, g_BtoA, c_AtoB, _ = make_cyclegan()
    before_AtoB, before_BtoA = weights(g_AtoB), weights(g_BtoA)
    x_A, x_B = (images[:1] / 127.5 - 1 for images in make_domains())
    y = {"adversarial": np.ones((1, 4, 4, 1)), "identity": x_B, "forward_cycle": x_A, "backward_cycle": x_B}
    c_AtoB.train_on_batch([x_A, x_B], y)
    assert movement(before_AtoB, g_AtoB) == 0 and movement(before_BtoA, g_BtoA) > 0


@pytest.mark.every_backend
def test_losses_are_those_of_the_lecture(monkeypatch):
    """By NumPy, from what the networks answer before the first step: the right images, labels, letters and weights."""
    keras.utils.set_random_seed(1)
    models = d_A, _, g_AtoB, g_BtoA, c_AtoB, c_BtoA = make_cyclegan()
    for model in models:
        if model.compiled:
            model.optimizer.learning_rate = 0.0
    record = watch_steps(monkeypatch)
    train_cyclegan(*models, make_domains(2, 2), n_epochs=1, n_batch=2, verbose=0)
    assert [step[0] for step in record] == [c_BtoA, d_A, d_A, c_AtoB, models[1], models[1]]
    x_A, x_B = record[1][1], record[4][1]
    assert x_A.dtype == "float32" and -1 <= x_A.min() and x_A.max() < -0.2 < 0.1 < x_B.min() and x_B.max() <= 1

    def answer(*chain):
        x, *networks = chain
        for network in networks:
            x = network.predict_on_batch(x)
        return x

    for (composite, real, fake), x_1, x_2, g_1, g_2 in (
        (record[:3], x_B, x_A, g_BtoA, g_AtoB),
        (record[3:], x_A, x_B, g_AtoB, g_BtoA),
    ):
        d_model, logs = real[0], composite[3]
        expected = {
            "adversarial": np.mean((answer(x_1, g_1, d_model) - 1) ** 2),
            "identity": np.mean(np.abs(answer(x_2, g_1) - x_2)),
            "forward_cycle": np.mean(np.abs(answer(x_1, g_1, g_2) - x_1)),
            "backward_cycle": np.mean(np.abs(answer(x_2, g_2, g_1) - x_2)),
        }
        assert len({round(float(value), 4) for value in expected.values()}) == 4  # so that no two can be mixed up
        assert logs == pytest.approx(
            {f"{name}_loss": value for name, value in expected.items()}
            | {"loss": np.dot([1, 5, 10, 10], list(expected.values()))},
            rel=1e-4,
        )
        assert real[3]["loss"] == pytest.approx(np.mean((answer(x_2, d_model) - 1) ** 2), rel=1e-4)
        assert np.allclose(fake[1], answer(x_1, g_1), atol=1e-5)
        assert fake[3]["loss"] == pytest.approx(np.mean(answer(fake[1], d_model) ** 2), rel=1e-4)


def test_history_holds_the_means_of_each_epoch(no_training):
    batches = []

    class Collect(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            batches.append(dict(logs))

    history = train_cyclegan(*make_cyclegan(), make_domains(6, 4), n_epochs=2, n_batch=2, callbacks=[Collect()])
    assert history.epoch == [0, 1] and len(batches) == 6  # an epoch is as long as domain A
    names = {f"g_{direction}_{name}" for direction in ("AtoB", "BtoA") for name in [*LOSSES, "loss"]}
    assert set(history.history) == names | {f"d_{letter}_loss_{kind}" for letter in "AB" for kind in ("real", "fake")}
    order = ["g_BtoA_loss", "d_A_loss_real", "d_A_loss_fake", "g_AtoB_loss", "d_B_loss_real", "d_B_loss_fake"]
    assert [batches[0][name] for name in order] == [1, 2, 3, 4, 5, 6]
    for name, means in history.history.items():
        assert means == pytest.approx([np.mean([b[name] for b in batches[i : i + 3]]) for i in (0, 3)])


def test_patches_of_networks_for_any_size(no_training):
    train_cyclegan(*make_cyclegan((None, None, 3)), make_domains(2, 2), n_epochs=1, n_batch=2)
    assert no_training[1][2].shape == (2, 4, 4, 1) and np.all(no_training[1][2] == 1)
    assert no_training[2][2].shape == (2, 4, 4, 1) and np.all(no_training[2][2] == 0)


def test_discriminators_learn_from_the_pools(no_training, monkeypatch):
    """With pools of one image and a coin that always says "old", each sees the fake of the step before."""
    models = make_cyclegan()
    models[4].pool, models[5].pool = ImagePool(1), ImagePool(1)
    monkeypatch.setattr(np.random, "random", lambda: 0.9)
    train_cyclegan(*models, make_domains(4, 4), n_epochs=1)
    g_AtoB, g_BtoA, last = models[2], models[3], no_training[-6:]
    (x_B, x_A), before = last[0][1], no_training[-12:-6]
    for d_step, d_before, g_model, x, pool in (
        (last[2], before[0], g_BtoA, x_B, models[5].pool),
        (last[5], before[3], g_AtoB, x_A, models[4].pool),
    ):
        assert np.array_equal(d_step[1], g_model.predict_on_batch(d_before[1][0]))
        assert np.array_equal(pool.images[0], g_model.predict_on_batch(x)[0])


def test_cyclegan_learns_to_brighten_and_to_darken():
    keras.utils.set_random_seed(0)
    models = make_cyclegan()
    models[4].optimizer.learning_rate = models[5].optimizer.learning_rate = 0.01
    domains = make_domains(32, 32)
    history = train_cyclegan(*models, domains, n_epochs=6, n_batch=4)
    a, b = (images / 127.5 - 1 for images in domains)
    assert models[2].predict_on_batch(a).mean() == pytest.approx(b.mean(), abs=0.15)
    assert models[3].predict_on_batch(b).mean() == pytest.approx(a.mean(), abs=0.15)
    assert history.history["g_AtoB_loss"][-1] < 0.6 * history.history["g_AtoB_loss"][0]


def numbered(first, n):
    return np.arange(first, first + n, dtype="float32").reshape(n, 1, 1, 1) * np.ones((1, 2, 2, 3), "float32")


def test_pool_takes_and_gives():
    np.random.seed(0)
    pool, size, n = ImagePool(10), 10, 6000
    batch = numbered(0, size)
    first = pool.update(batch)
    batch[:] = -1  # the pool holds copies
    assert np.array_equal(first, numbered(0, size)) and np.array_equal(pool.images, first)
    out = []
    for i in range(size, n, 5):
        batch = numbered(i, 5)
        selected = pool.update(batch)
        assert selected.shape == batch.shape and selected.dtype == batch.dtype
        out.extend(selected[:, 0, 0, 0])
        batch[:] = -1  # the pool holds copies
    ages = np.arange(size, n) - np.array(out)
    assert ages.min() == 0 and len(pool.images) == size
    # Nothing is lost and nothing comes out twice: what went in since has come out, or is in the pool.
    assert sorted([*out, *(image[0, 0, 0] for image in pool.images)]) == list(range(n))
    # A fair coin, within four standard errors; then each pooled image is as likely as the others, so that an image
    # stays for 2 * size steps on average, with a standard deviation of nearly as many.
    old = ages[ages > 0]
    assert len(old) == pytest.approx(len(ages) / 2, abs=4 * np.sqrt(len(ages)) / 2)
    assert old.mean() == pytest.approx(2 * size, abs=4 * 2 * size / np.sqrt(len(old)))
    assert old.std() == pytest.approx(2 * size, rel=0.1)


def test_pool_of_none():
    pool = ImagePool(0)
    assert all(np.array_equal(pool.update(numbered(i, 3)), numbered(i, 3)) for i in range(20)) and pool.images == []


def test_without_a_loss():
    """The ablation: a weight of 0 takes the loss out of the sum."""
    _, d_B, g_AtoB, g_BtoA, *_ = make_cyclegan()
    c_model = define_composite_model(g_AtoB, d_B, g_BtoA, COLOUR, loss_weights=(1, 0, 0, 10))
    x_A, x_B = ((images[:1] / 127.5 - 1).astype("float32") for images in make_domains())
    y = {"adversarial": np.ones((1, 4, 4, 1)), "identity": x_B, "forward_cycle": x_A, "backward_cycle": x_B}
    outputs = c_model([x_A, x_B])
    error = {name: keras.ops.convert_to_numpy(output) - y[name] for name, output in outputs.items()}
    expected = np.mean(error["adversarial"] ** 2) + 10 * np.mean(np.abs(error["backward_cycle"]))
    assert float(c_model.compute_loss(y=y, y_pred=outputs)) == pytest.approx(expected, rel=1e-4)


@pytest.mark.every_backend
def test_the_composite_has_the_discriminators_loss():
    """As in the original GAN, with a logit a patch."""
    _, d_B, g_AtoB, g_BtoA, _, _ = make_cyclegan()
    d_B.compile(loss=keras.losses.BinaryCrossentropy(from_logits=True))
    composite = define_composite_model(g_AtoB, d_B, g_BtoA, COLOUR, loss_weights=(1, 0, 0, 0))
    x = np.random.default_rng(0).uniform(-1, 1, (4, *COLOUR)).astype("float32")
    logits = d_B.predict_on_batch(g_AtoB.predict_on_batch(x))
    wanted = {"adversarial": np.ones_like(logits), "identity": x, "forward_cycle": x, "backward_cycle": x}
    logs = composite.test_on_batch([x, x], wanted, return_dict=True)
    assert logs["loss"] == pytest.approx(np.logaddexp(0, -logits).mean(), rel=1e-4)
