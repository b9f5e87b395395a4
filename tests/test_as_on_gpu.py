"""The switch of `run.py test --xla`: it is on, in this process and in kernels, and does what a GPU does."""

import os
import sys

import keras
import nbformat
import numpy as np
import pytest
from keras import layers, ops

import notebooks as tool

pytestmark = [
    pytest.mark.as_on_gpu,
    pytest.mark.skipif(not os.environ.get("KERAS_GEN_XLA"), reason="`run.py test --xla` runs it"),
]


class Shift(layers.Layer):
    """By nothing at all, with an operation that XLA has not."""

    def call(self, images):
        transforms = ops.ones((ops.shape(images)[0], 1)) * ops.array([[1.0, 0, 0, 0, 1, 0, 0, 0]])
        return ops.image.affine_transform(images, transforms)


class EagerShift(Shift):
    def __init__(self):
        super().__init__()
        self.supports_jit = False


def slopes(layer, x):
    """The gradient of a layer's only weights, which are 0: what one step of SGD with rate 1 takes from them."""
    keras.utils.set_random_seed(1)
    model = keras.Sequential([keras.Input(x.shape[1:]), *layer(), layers.Flatten(), layers.Dense(1, trainable=False)])
    model.compile(keras.optimizers.SGD(1.0), "mse")
    model.set_weights([np.zeros_like(model.get_weights()[0]), *model.get_weights()[1:]])
    model.train_on_batch(x, np.ones((len(x), 1)))
    return -model.get_weights()[0], model


def test_xla_compiles_every_model_but_those_with_a_layer_that_says_no():
    x = np.ones((3, 2, 2, 1))
    assert slopes(lambda: [layers.Conv2D(2, 1)], x)[1].jit_compile is True
    assert slopes(lambda: [EagerShift(), layers.Conv2D(2, 1)], x)[1].jit_compile is False
    with pytest.raises(Exception, match="tf2xla"):
        slopes(lambda: [Shift(), layers.Conv2D(2, 1)], x)


@pytest.mark.parametrize("case", ["with XLA", "without", "embedding"])
def test_rounding_differs_in_every_run_and_zeros_stay_zero(case, monkeypatch):
    monkeypatch.undo()  # of the fixture `exact`
    x = np.random.default_rng(1).normal(size=(8, 5, 5, 40))
    x[..., :20] = 0
    layer = {
        "with XLA": lambda: [layers.Conv2D(20, 1, use_bias=False)],
        "without": lambda: [EagerShift(), layers.Conv2D(20, 1, use_bias=False)],
        "embedding": lambda: [layers.Embedding(40, 20)],
    }[case]
    if case == "embedding":
        x = np.arange(20, 40).reshape(10, 2)
    first, second = (slopes(layer, x)[0].reshape(40, 20) for _ in range(2))
    monkeypatch.setattr(sys.modules["as_on_gpu"], "ROUNDING", 0)
    exact = slopes(layer, x)[0].reshape(40, 20)
    assert (first[:20] == 0).all() and (second[:20] == 0).all() and (first[20:] != 0).all()
    for one, other in ((first, exact), (second, exact), (first, second)):
        change = (one - other)[20:] / np.sqrt(np.mean(exact[20:] ** 2))
        assert 0.5e-7 < change.std() < 3e-7 and abs(change.mean()) < change.std() / 3


def test_the_switch_is_on_in_kernels_with_other_rounding_in_each(tmp_path):
    cells = [
        'import keras\nimport sys\n\nDATASET = "dots"\nSEED = 1\nmodel = keras.Sequential([keras.layers.Dense(1)])',
        'model.compile("sgd", "mse")\nkey = int(sys.modules["as_on_gpu"].chance.key)',
        'RESULTS = {"jit": model.jit_compile, "key": key}',
    ]
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])
    results = tool.execute(notebook, tmp_path / "tiny.ipynb", quick=True)["results"]
    assert results["jit"] is True and results["key"] != int(sys.modules["as_on_gpu"].chance.key)
    assert [cell.execution_count for cell in notebook.cells] == [1, 2, 3]
