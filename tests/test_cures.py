"""The cures of 07's lab, each on images: what was tried on points of a plane also trains what draws pictures."""

import warnings
from pathlib import Path

import keras
import nbformat
import numpy as np
import pytest
from keras import layers

import keras_gen as kg

LAB = Path(__file__).resolve().parent.parent / "notebooks" / "07_why_gans_fail_lab.ipynb"
SHAPE = (28, 28, 1)


def small_generator():
    model = keras.Sequential([keras.Input((3,)), layers.Dense(49, activation="tanh"), layers.Reshape((7, 7, 1))])
    model.add(layers.UpSampling2D(4))
    return model


def small_body(n_packed=1):
    return keras.Sequential([keras.Input((28, 28, n_packed)), layers.Conv2D(2, 5, strides=5), layers.Flatten()])


@pytest.fixture(scope="module")
def lab():
    """The lab's names and, by name of a row, its cure with its rates and options."""
    rng = np.random.default_rng(0)
    images = (rng.random((64, *SHAPE)) * 255).astype("uint8"), rng.integers(0, 10, 64)
    names, rows = {}, {}
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("KERAS_GEN_QUICK", "1")
        patch.setattr(kg, "load_dataset", lambda name: (images, images))
        for cell in nbformat.read(LAB, as_version=4).cells:
            if cell.cell_type != "code" or cell.id in ("pictures", "digits", "results") or "exercise" in cell.id:
                continue
            exec(cell.source, names)
            if cell.id == "row":  # from here on rows are noted, not trained
                names["try_on_ring"] = lambda row, cure, **options: rows.update({row: (cure, options)})
    names["DIGITS"] |= {"generator": small_generator, "body": small_body, "n_batch": 8}
    return names, rows


ROWS = {
    "plain",
    "k = 5",
    "smooth labels",
    "mini-batches",
    "packing",
    "replay buffer",
    "R1",
    "unrolled",
    "labels, K + 1 classes",
}


def test_every_cure_is_tried(lab):
    _, rows = lab
    assert set(rows) >= ROWS


@pytest.mark.parametrize("row", sorted(ROWS))
def test_a_cure_trains_on_images(lab, row):
    names, rows = lab
    cure, options = rows[row]
    trained = []
    with pytest.MonkeyPatch.context() as patch, warnings.catch_warnings():
        warnings.simplefilter("error")  # Keras warns where a step has nothing to train
        train_only = kg.train_only

        def watched(network, networks, model, x, y):
            before = [w.copy() for w in network.get_weights()]
            other = [one for one in networks if one is not network]
            others = [w.copy() for one in other for w in one.get_weights()]
            logs = train_only(network, networks, model, x, y)
            assert any(np.any(a != b) for a, b in zip(before, network.get_weights(), strict=True))
            now = [w for one in other for w in one.get_weights()]
            assert all(np.array_equal(a, b) for a, b in zip(others, now, strict=True))
            assert np.isfinite(logs["loss"])
            trained.append(network)
            return logs

        patch.setattr(kg, "train_only", watched)
        g_model, step = cure(names["DIGITS"], 0.0001, 0.001, **options)
        step()
    assert trained[-1] is g_model and len(set(map(id, trained))) == 2
    assert g_model.output_shape == (None, *SHAPE)
