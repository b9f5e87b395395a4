"""What the oldest supported Keras is chosen by: a model's file that is an attack is refused, and does nothing.

Keras builds a model from a description that may name functions and files. 3.10 downloads what such a description asks
for, to where it says; 3.11 reads any file as a vocabulary.
"""

import json

import keras
import numpy as np
import pytest

import keras_gen as kg
from keras_gen import pretrained

INPUT = {
    "module": "keras.layers",
    "class_name": "InputLayer",
    "config": {"batch_shape": [None, 2], "name": "point"},
    "name": "point",
    "inbound_nodes": [],
}


def described(class_name, config, arguments):
    """A model of one layer, as a file describes it; `arguments` are what the layer is called with."""
    layer = {
        "module": "keras.layers",
        "class_name": class_name,
        "config": {"name": "layer", **config},
        "name": "layer",
        "inbound_nodes": [arguments],
    }
    ends = {"input_layers": [["point", 0, 0]], "output_layers": [["layer", 0, 0]]}
    config = {"name": "model", "layers": [INPUT, layer], **ends}
    return {"module": "keras.src.models.functional", "class_name": "Functional", "config": config}


def calling(name, first, **arguments):
    """A description of a Lambda layer that calls a function of keras.utils while the model is built."""
    function = {"module": "keras.utils", "class_name": "function", "config": name, "registered_name": name}
    return described(
        "Lambda", {"function": function, "arguments": arguments}, {"args": [], "kwargs": {"inputs": str(first)}}
    )


def reading(class_name, path):
    """A description of a layer that takes its vocabulary from a file."""
    point = {"class_name": "__keras_tensor__", "config": {"shape": [None, 2], "dtype": "float32"}}
    point["config"]["keras_history"] = ["point", 0, 0]
    return described(class_name, {"vocabulary": str(path)}, {"args": [point], "kwargs": {}})


def load(description, folder, monkeypatch):
    np.savez(folder / "faces_generator.npz", config=np.array(json.dumps(description).encode()))
    monkeypatch.setattr(pretrained, "FOLDER", folder)
    return kg.load_pretrained("faces_generator")


@pytest.mark.every_backend
def test_a_file_that_downloads_is_refused(tmp_path, monkeypatch):
    source, victim = tmp_path / "source.txt", tmp_path / "victim"
    source.write_text("rm -rf")
    victim.mkdir()
    attack = calling("get_file", "run_me.sh", origin=source.as_uri(), cache_dir=str(victim), cache_subdir="")
    with pytest.raises(kg.DataUnavailable):
        load(attack, tmp_path, monkeypatch)
    assert list(victim.iterdir()) == []


@pytest.mark.every_backend
def test_a_file_that_writes_a_picture_is_refused(tmp_path, monkeypatch):
    """Which Keras itself, up to 3.14.1, does not refuse."""
    attack = calling("save_img", tmp_path / "over.png", x=[[[0.0]]])
    with pytest.raises(kg.DataUnavailable, match="names a function"):
        load(attack, tmp_path, monkeypatch)
    assert not (tmp_path / "over.png").exists()


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="these layers need TensorFlow")
@pytest.mark.parametrize("layer", ["StringLookup", "IntegerLookup"])
def test_a_file_that_reads_another_file_is_refused(layer, tmp_path, monkeypatch):
    secret = tmp_path / "secret.txt"
    secret.write_text("5\n6\n")
    with pytest.raises(kg.DataUnavailable, match="vocabulary"):
        load(reading(layer, secret), tmp_path, monkeypatch)


@pytest.mark.every_backend
def test_such_a_description_is_understood_where_it_is_harmless():
    """Else the attacks above would fail for a reason of their own."""
    point = reading("StringLookup", "")["config"]["layers"][1]["inbound_nodes"][0]
    model = keras.saving.deserialize_keras_object(described("Dense", {"units": 3}, point))
    assert model.output_shape == (None, 3)
