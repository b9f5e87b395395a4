"""What the tests of the trainings share: short_trainings.py has the rest."""

import shutil

import keras
import pytest

import keras_gen as kg
from keras_gen import pretrained


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Where models are kept in place of data/pretrained/; the judges lie there already."""
    folder = tmp_path / "pretrained"
    folder.mkdir()
    for path in pretrained.FOLDER.glob("judge_*.npz"):
        shutil.copy(path, folder)
    monkeypatch.setattr(pretrained, "FOLDER", folder)
    return folder


@pytest.fixture(autouse=True)
def policy():
    """Set back what a training sets for the whole process."""
    before = keras.config.dtype_policy()
    yield
    keras.config.set_dtype_policy(before)


@pytest.fixture
def begun(monkeypatch):
    """The networks of each training that begins, by name, with their weights of then; and how many steps an epoch."""
    begun, original = [], kg.loop

    def loop(step, model, networks, n_epochs, n_steps, *rest, **options):
        begun.append({network.name: (network, network.get_weights()) for network in networks} | {"n_steps": n_steps})
        return original(step, model, networks, n_epochs, n_steps, *rest, **options)

    monkeypatch.setattr(kg, "loop", loop)
    return begun
