"""What every test relies on: quick notebooks, no local data, no window."""

import importlib
import os

# Before anything imports Keras or Matplotlib; the notebooks' kernels inherit it.
REAL_DATA = os.environ.pop("KERAS_GEN_DATA", None)  # no test depends on it by accident: see real_data
os.environ["KERAS_GEN_QUICK"] = "1"
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("TF_FORCE_GPU_ALLOW_GROWTH", "true")
os.environ.pop("MPLBACKEND", None)  # kernels choose theirs, which shows figures in the notebook

import matplotlib  # noqa: E402
import pytest  # noqa: E402

matplotlib.use("Agg")
as_on_gpu = importlib.import_module("as_on_gpu") if os.environ.get("KERAS_GEN_XLA") else None  # run.py test --xla


@pytest.fixture(autouse=True)
def exact(monkeypatch):
    """Under `run.py test --xla` too, what is said here to be equal is so to the bit; notebooks must do without that."""
    if as_on_gpu:
        monkeypatch.setattr(as_on_gpu, "ROUNDING", 0)


@pytest.fixture
def real_data(monkeypatch):
    """The folder of real data sets that KERAS_GEN_DATA named; the test is skipped where there is none."""
    if not REAL_DATA:
        pytest.skip("needs real data sets: set KERAS_GEN_DATA to a folder with mnist.npz, cifar10.npz, ...")
    monkeypatch.setenv("KERAS_GEN_DATA", REAL_DATA)
    return REAL_DATA


@pytest.fixture
def no_training(monkeypatch):
    """Steps that train nothing and cost nothing: every loss is the number of the step."""
    record = []

    def step(model, x, y=None, **options):
        record.append((model, x, y))
        names = [f"{name}_loss" for name in y] if isinstance(y, dict) else []
        return dict.fromkeys([*names, "loss"], len(record))

    monkeypatch.setattr(importlib.import_module("keras").Model, "train_on_batch", step)
    return record


@pytest.fixture(scope="session")
def wheel():
    """The wheel of the module with all models, as bytes; building it takes seconds."""
    colab = importlib.import_module("colab")
    before = sorted(path.name for path in colab.ROOT.iterdir())
    built = colab.build_wheel()
    assert sorted(path.name for path in colab.ROOT.iterdir()) == before, "building left something behind"
    return built


@pytest.fixture(scope="session", autouse=True)
def on_backends(request, tmp_path_factory):
    """By backend, the process that runs the core's tests, and its output; see test_backends.py.

    They begin with the session: most other tests keep one processor core busy, and these the second one.
    """
    tests = [item for item in request.session.items if item.path.name == "test_backends.py"]
    started = {}
    for backend in [item.callspec.params["backend"] for item in tests]:
        other = importlib.import_module("test_backends")
        if not other.why_not(backend):
            output = tmp_path_factory.mktemp("backends") / f"{backend}.txt"
            started[backend] = other.start(backend, output), output
    yield started
    for process, _ in started.values():
        process.kill()  # of a session that was stopped
