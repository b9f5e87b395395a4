"""The programs of the lessons, each run alone: what a student pastes into an empty file trains what it says.

There is no keras_gen, the data sets of Keras are a few random images, and a saved model is a small generator, which
must stay as it was loaded. A network is a model that holds no other one; a program may also have none.
"""

import ast
import re
import runpy
import sys
from pathlib import Path

import keras
import nbformat
import numpy as np
import pytest
from models import KERAS

TESTS = Path(__file__).resolve().parent
GAN = (TESTS / "program_of_a_gan.txt").read_text(encoding="utf-8")
N_IMAGES = 256
LOADED = "loaded"
SHAPES = {"mnist": (28, 28), "fashion_mnist": (28, 28), "cifar10": (32, 32, 3)}
# Before, train_on_batch returns the mean over all calls since metrics were reset.
RESETS_ITSELF = KERAS >= (3, 15)


def program(path):
    """The code of a notebook's cells tagged `program`, in their order."""
    cells = nbformat.read(path, as_version=4).cells
    return "\n\n\n".join(cell.source for cell in cells if "program" in cell.metadata.get("tags", []))


def random_images(shape):
    """As `load_data` gives them: (x_train, y_train), (x_test, y_test)."""
    rng = np.random.default_rng(0)
    labels = (N_IMAGES, 1) if len(shape) == 3 else N_IMAGES
    parts = []
    for _ in ("train", "test"):
        x = rng.integers(0, 256, (N_IMAGES, *shape), dtype="uint8")
        parts.append((x, rng.integers(0, 10, labels, dtype="uint8")))
    return tuple(parts)


def load_model(path):
    model = keras.Sequential([keras.Input((16,)), keras.layers.Dense(48, activation="tanh")], name=LOADED)
    model.add(keras.layers.Reshape((4, 4, 3)))
    return model


def networks_in(model):
    inner = [layer for layer in getattr(model, "layers", ()) if isinstance(layer, keras.Model)]
    return [network for layer in inner for network in networks_in(layer)] or [model]


def learnt(network):
    """What steps of training move in it, whether it is frozen or not."""
    return [
        keras.ops.convert_to_numpy(v) for v in network.variables if "moving_" not in v.path and "seed" not in v.path
    ]


@pytest.fixture
def steps(monkeypatch, tmp_path):
    """Of each `fit` and each `train_on_batch`: the model, its networks, those that moved, what metrics held before."""
    steps = []

    def watch(original):
        def step(model, *args, **options):
            networks = networks_in(model)
            before = [learnt(network) for network in networks]
            held = sum(float(np.sum(v)) for metric in model.metrics for v in metric.variables)
            result = original(model, *args, **options)
            moved = []
            for network, old in zip(networks, before, strict=True):
                if not old or any(np.any(a != b) for a, b in zip(learnt(network), old, strict=True)):
                    moved.append(network)
            steps.append((model, networks, moved, held if original.__name__ == "train_on_batch" else 0))
            return result

        return step

    for name in ("fit", "train_on_batch"):
        monkeypatch.setattr(keras.Model, name, watch(getattr(keras.Model, name)))
    for name, shape in SHAPES.items():
        monkeypatch.setattr(getattr(keras.datasets, name), "load_data", lambda shape=shape: random_images(shape))
    monkeypatch.setattr(keras.models, "load_model", load_model)
    monkeypatch.setitem(sys.modules, "keras_gen", None)  # to import it is an ImportError
    monkeypatch.chdir(tmp_path)
    return steps


def uses_what_a_step_returns(code):
    nodes = list(ast.walk(ast.parse(code)))
    alone = [node.value for node in nodes if isinstance(node, ast.Expr)]
    calls = [node for node in nodes if isinstance(node, ast.Call) and ast.unparse(node.func).endswith("train_on_batch")]
    return any(call not in alone for call in calls)


def check(code, steps, capsys, resets_itself=RESETS_ITSELF):
    """Run a program and look at its steps."""
    Path("program.py").write_text(code, encoding="utf-8")
    made = runpy.run_path("program.py")
    resets_itself = resets_itself or not uses_what_a_step_returns(code)
    own, networks = {}, {}  # by the model: what its steps move; by identity: all
    for model, inside, moved, held in steps:
        networks |= {id(network): network for network in inside}
        assert moved, f"a step of {model.name} moves nothing"
        assert own.setdefault(model, moved) == moved, f"steps of {model.name} move now this, now that"
        assert resets_itself or not held, f"what {model.name} returns is no number of this batch"
    assert own or not re.search(r"\bkeras\.(Model|Sequential)\b", code), "it has a network and no step"
    moving = [id(network) for moved in own.values() for network in moved]
    learning = [key for key, network in networks.items() if network.name != LOADED]
    assert sorted(moving) == sorted(learning), "a network learns in no model's steps, or in those of two"
    models = [value for value in made.values() if isinstance(value, keras.Model)]
    assert [model.name for model in (*models, *networks.values()) if not model.trainable] == []
    assert re.search(r"\d", capsys.readouterr().out), "it prints nothing as it trains"


PROGRAMS = [path for path in sorted((TESTS.parent / "notebooks").glob("*.ipynb")) if program(path)]


@pytest.mark.parametrize("path", PROGRAMS, ids=[path.stem for path in PROGRAMS])
def test_a_lessons_program_runs_alone_and_trains_each_network_in_its_own_steps(path, steps, capsys):
    check(program(path), steps, capsys)


@pytest.mark.every_backend
def test_a_right_program_passes(steps, capsys):
    check(GAN, steps, capsys)
    assert [model.name for model, *_ in steps] == ["d", "d", "gan"] * 2
    assert [[network.name for network in moved] for _, _, moved, _ in steps[:3]] == [["d"], ["d"], ["g"]]


SEARCH = """\
import keras
import numpy as np

g_model = keras.models.load_model("generator.keras")
table = keras.Sequential([keras.Input((), dtype="int32"), keras.layers.Embedding(2, 16)])
index = keras.Input((), dtype="int32")
search = keras.Model(index, g_model(table(index)))
search.compile(loss="mse", optimizer="adam")
g_model.trainable = False
print(search.train_on_batch(np.arange(2), np.zeros((2, 4, 4, 3))))
g_model.trainable = True
"""


def test_a_program_that_searches_the_points_of_a_loaded_generator_passes(steps, capsys):
    check(SEARCH, steps, capsys)


@pytest.mark.parametrize(
    ("line", "message"),
    [("g_model.trainable = False\n", "in those of two"), ("g_model.trainable = True\n", LOADED)],
)
def test_a_loaded_generator_that_moves_or_is_left_frozen_fails(line, message, steps, capsys):
    with pytest.raises(AssertionError, match=message):
        check(SEARCH.replace(line, ""), steps, capsys)


def test_a_program_without_a_network_passes(steps, capsys):
    check("import numpy as np\n\nprint(np.ones(3).sum())\n", steps, capsys)


@pytest.mark.parametrize(
    ("line", "instead", "message"),
    [
        (
            "        d_model.trainable = True\n",
            "",
            "any trainable weights|moves nothing",
        ),  # the lecture's program, on Keras 3
        ("        d_model.trainable = False\n", "", "in those of two"),
        ("    d_model.trainable = True  # a frozen one would be saved without its optimizer\n", "", "'d'"),
        ("        print(", "        str(", "prints nothing"),
        ("\ntrain(", "\nprint(1);(", "no step"),
        ("        d_model.reset_metrics()\n", "", "no number of this batch"),
        ("import numpy as np\n", "import numpy as np\nimport keras_gen\n", "keras_gen"),
    ],
)
def test_a_wrong_program_fails(line, instead, message, steps, capsys):
    assert line in GAN
    with pytest.raises((AssertionError, ImportError, UserWarning), match=message):
        check(GAN.replace(line, instead), steps, capsys, resets_itself="reset" not in line)
