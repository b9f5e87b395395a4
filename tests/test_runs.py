import os
import signal
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
from models import LATENT_DIM
from test_cyclegan import make_cyclegan, make_domains
from test_gan import make_dataset, make_gan, weights

from keras_gen import SaveRun, load_run, train
from keras_gen.cyclegan import ImagePool, train_cyclegan


def run(folder, n_epochs):
    keras.utils.set_random_seed(0)
    models = make_gan(batchnorm=True)
    train(*models, make_dataset(), LATENT_DIM, n_epochs, 32, callbacks=[SaveRun(folder, *models)])
    return models


def go_on(folder, n_epochs):
    g_model, d_model, gan_model, initial_epoch = load_run(folder)
    keep = SaveRun(folder, g_model, d_model, gan_model)
    train(g_model, d_model, gan_model, make_dataset(), LATENT_DIM, n_epochs, 32, [keep], initial_epoch)
    return g_model, d_model, gan_model


@pytest.mark.every_backend
def test_going_on_in_a_new_process_is_as_if_it_had_never_stopped(tmp_path):
    straight = run(tmp_path / "straight", 4)
    run(tmp_path / "stopped", 2)
    code = f"from test_runs import go_on; go_on({str(tmp_path / 'stopped')!r}, 4)"
    subprocess.run([sys.executable, "-c", code], cwd=Path(__file__).parent, check=True)
    *resumed, epoch = load_run(tmp_path / "stopped")
    assert epoch == 4
    for one, other in zip(straight[:2], resumed[:2], strict=True):  # moments of BatchNorm included
        assert all(np.array_equal(a, b) for a, b in zip(weights(one), weights(other), strict=True))
    for one, other in zip(straight[1:], resumed[1:], strict=True):
        for a, b in zip(one.optimizer.variables, other.optimizer.variables, strict=True):
            assert np.array_equal(keras.ops.convert_to_numpy(a), keras.ops.convert_to_numpy(b))


@pytest.mark.every_backend
def test_discriminator_trains_after_loading(tmp_path):
    run(tmp_path, 1)
    loaded = load_run(tmp_path)
    before = weights(loaded[1])
    go_on(tmp_path, 2)
    after = weights(load_run(tmp_path)[1])
    assert all(np.any(a != b) for a, b in zip(before, after, strict=True))


class StopAfter(keras.callbacks.Callback):
    def __init__(self, n_epochs):
        super().__init__()
        self.n_epochs = n_epochs

    def on_epoch_end(self, epoch, logs=None):
        self.model.stop_training = epoch + 1 == self.n_epochs


@pytest.mark.every_backend
def test_a_cyclegan_goes_on_as_if_it_had_never_stopped(tmp_path):
    """Stopped where the learning rate has begun to fall and the pools are full."""

    def run_cyclegan(folder, callbacks=()):
        keras.utils.set_random_seed(0)
        models = make_cyclegan()
        models[4].pool, models[5].pool = ImagePool(3), ImagePool(2)
        callbacks = [SaveRun(folder, *models, every=3), *callbacks]
        train_cyclegan(*models, make_domains(2, 2), n_epochs=4, callbacks=callbacks)
        return models

    def state(models):
        lists = [model.weights for model in models[:4]] + [models[i].optimizer.variables for i in (0, 1, 4, 5)]
        values = [value for one in lists for value in one]
        return [keras.ops.convert_to_numpy(value) for value in values] + [np.array(m.pool.images) for m in models[4:]]

    straight = run_cyclegan(tmp_path / "straight")
    run_cyclegan(tmp_path / "stopped", [StopAfter(3)])
    np.random.seed(7)
    *resumed, epoch = load_run(tmp_path / "stopped")
    assert epoch == 3 and (resumed[4].pool.size, resumed[5].pool.size) == (3, 2)
    assert [len(model.pool.images) for model in resumed[4:]] == [3, 2]
    before = state(resumed)
    train_cyclegan(*resumed, make_domains(2, 2), n_epochs=4, initial_epoch=epoch)
    assert all(np.array_equal(a, b) for a, b in zip(state(straight), state(resumed), strict=True))
    assert not any(np.array_equal(a, b) for a, b in zip(before[:12], state(resumed)[:12], strict=True))
    *saved, epoch = load_run(tmp_path / "straight")
    assert epoch == 4 and all(np.array_equal(a, b) for a, b in zip(state(straight), state(saved), strict=True))


def test_killed_while_saving(tmp_path):
    """SIGKILL in the middle of the second save: the first one is still there, whole, and the run can go on."""
    code = """
import os, signal, sys
import keras_gen.runs
from test_runs import run

savez, calls = keras_gen.runs.np.savez, []
def killed_at_the_second(path, *args, **kwargs):
    calls.append(path)
    if len(calls) == 2:
        with open(path, "wb") as file:
            file.write(b"half a file")
        os.kill(os.getpid(), signal.SIGKILL)
    savez(path, *args, **kwargs)
keras_gen.runs.np.savez = killed_at_the_second
run(sys.argv[1], 3)
"""
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path)], cwd=Path(__file__).parent, check=False)
    assert done.returncode == -signal.SIGKILL
    assert sorted(os.listdir(tmp_path)) == ["epoch-00001", "epoch-00002.unfinished"]
    assert load_run(tmp_path)[3] == 1
    models = go_on(tmp_path, 3)
    assert os.listdir(tmp_path) == ["epoch-00003"]
    straight = run(tmp_path / "straight", 3)
    assert all(np.array_equal(a, b) for a, b in zip(weights(models[0]), weights(straight[0]), strict=True))


def test_a_loss_that_is_not_finite_stops_the_run_and_keeps_the_last_good_save(tmp_path, capsys):
    class Break(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            if epoch == 2:
                models[2].optimizer.learning_rate = float("nan")

    models = make_gan()
    callbacks = [Break(), SaveRun(tmp_path, *models)]
    history = train(*models, make_dataset(), LATENT_DIM, 6, 32, callbacks=callbacks)
    assert history.epoch == [0, 1, 2]
    assert "Stopped in epoch 3, batch 2: " in capsys.readouterr().out
    g_model, _, _, epoch = load_run(tmp_path)
    assert epoch == 2 and all(np.isfinite(weight).all() for weight in weights(g_model))


def test_saves_leave_other_files_alone_and_keep_only_the_last(tmp_path):
    (tmp_path / "epoch-notes.txt").write_text("mine")
    run(tmp_path, 3)
    assert sorted(os.listdir(tmp_path)) == ["epoch-00003", "epoch-notes.txt"]


def test_own_loss_needs_custom_objects(tmp_path):
    def hinge(y_true, y_pred):
        return keras.ops.mean(keras.ops.relu(1 - y_true * y_pred))

    models = make_gan()
    models[2].compile(loss=hinge, optimizer="sgd")
    train(*models, make_dataset(), LATENT_DIM, 1, 32, callbacks=[SaveRun(tmp_path, *models)])
    gan_model = load_run(tmp_path, custom_objects={"hinge": hinge})[2]
    assert isinstance(gan_model.optimizer, keras.optimizers.SGD)


def test_errors(tmp_path):
    with pytest.raises(ValueError, match="no complete save"):
        load_run(tmp_path / "nothing")
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match="file"):
        SaveRun(tmp_path / "file" / "run", *make_gan())
    with pytest.raises(ValueError, match=r"three models of train or the six of train_cyclegan; given: 4.*every="):
        SaveRun(tmp_path / "run", *make_gan(), 5)


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="root may write anywhere")
def test_no_write_permission(tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(OSError, match=str(tmp_path)):
        SaveRun(tmp_path / "run", *make_gan())
