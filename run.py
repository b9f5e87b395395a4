"""keras_gen's one command; `python run.py` lists what it does. Needs nothing but Python itself.

The first start makes a virtual environment in `.venv` and installs the pinned packages of requirements.lock; later
starts compare one fingerprint and go straight to the task. Nothing outside this folder is touched.
"""

import hashlib
import importlib.util
import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent
ON_WINDOWS = os.name == "nt"
PYTEST = ["-m", "pytest"]
# These say nothing about other versions and backends.
TOOL_TESTS = ["test_colab.py", "test_notebooks.py", "test_project.py", "test_quick.py", "test_run.py"]

HELP = """\
keras_gen: generative models with Keras 3.   python run.py TASK

  demo [03 ...]      run every notebook quickly, or those named; pictures go to build/demo/
  lab                open the notebooks in JupyterLab
  colab              write notebooks that bring the module along into build/colab/: upload one to Colab or Kaggle
  test [...]         run the tests and every notebook; arguments go to pytest: test -k gan
  test --floor       the unit tests with the oldest supported Keras and TensorFlow
  test --jax         the tests of every backend on JAX, where TensorFlow is not installed; --torch: on PyTorch
  test --colab       the notebooks of `colab`, quickly, with Colab's versions of Keras, TensorFlow, NumPy, Matplotlib
  test --browser     run every notebook in JupyterLab, look at every page of the site; needs Chromium
  bench [...]        measure training steps: against hand-written ones, and the memory of CycleGAN

for lecturers
  student            write the students' notebooks, without outputs and solutions, into build/student/

for authors
  publish NOTEBOOK   run a notebook in full and store its outputs in it (takes its time)
  docs               build the site into build/site/html/: notebooks, errata, the module's reference
  links              write the public address of pyproject.toml into the notebooks and README
  readme             write README's table and pictures from the published notebooks

The first task installs everything into .venv: about 800 MB to download, a few minutes."""

TASKS = {
    "demo": ["tools/notebooks.py", "demo"],
    "lab": ["-m", "jupyterlab", "--LabApp.default_url=/lab/tree/notebooks"],
    "colab": ["tools/colab.py"],
    "test": PYTEST,
    "bench": ["benchmarks/bench.py"],
    "publish": ["tools/notebooks.py", "publish"],
    "student": ["tools/student.py"],
    "docs": ["tools/docs.py"],
    "links": ["tools/notebooks.py", "links"],
    "readme": ["tools/notebooks.py", "readme"],
}

ITSELF = ["-e", ".", "--no-deps"]

LOCKED = [["-r", "requirements.lock"], ITSELF]
FLOOR = [  # wheels only: a floor without a wheel for this Python gives way to the first version that has one
    ["--resolution", "lowest-direct", "--only-binary", ":all:", "-r", "pyproject.toml", "--extra", "test"],
    ITSELF,
]
ANY_BACKEND = ["keras", "numpy", "scipy", "matplotlib", "scikit-learn", "pillow", "pytest", "nbclient"]
JAX = [["-c", "requirements.lock", *ANY_BACKEND, "jax"], ITSELF]
TORCH = [["-c", "requirements.lock", *ANY_BACKEND], ["pip", "torch==2.13.0"], ITSELF]
COLAB_PINS = ["keras==3.13.2", "tensorflow==2.20.0", "numpy==2.1.3", "matplotlib==3.10.0", "ipywidgets==7.7.1"]
NOTEBOOK_TOOLS = ["-r", "pyproject.toml", "--extra", "notebooks", "--extra", "test", "pip", "setuptools>=77"]
COLAB = [[*COLAB_PINS, *NOTEBOOK_TOOLS]]  # without keras_gen, which each notebook of `run.py colab` brings along
BROWSER = [*LOCKED, ["-r", "pyproject.toml", "--extra", "browser"]]
UNITS = [*PYTEST, "--disable-warnings", *(f"--ignore=tests/{name}" for name in TOOL_TESTS)]
OTHER_TESTS = {  # each in an environment of its own
    "--floor": (FLOOR, UNITS),
    "--jax": (JAX, [*UNITS, "-m", "every_backend"]),
    "--torch": (TORCH, [*UNITS, "-m", "every_backend"]),
    "--colab": (COLAB, [*PYTEST, "tests/on_colab.py"]),
    "--browser": (BROWSER, [*PYTEST, "tests/browser.py"]),
}


def check_python(version=sys.version_info):
    if not (3, 11) <= tuple(version[:2]) <= (3, 13):
        sys.exit(
            f"keras_gen needs Python 3.11, 3.12 or 3.13, and this is {version[0]}.{version[1]} ({sys.executable}). "
            "Start run.py with one of those, for example: python3.12 run.py demo"
        )


def fingerprint():
    """Changes whenever what is installed has to change: other pins, other project settings, another Python."""
    parts = [repr(sys.version_info[:2]).encode()]
    parts += [(ROOT / name).read_bytes() for name in ("requirements.lock", "pyproject.toml")]
    return hashlib.sha256(b"\0".join(parts)).hexdigest()


def succeeds(*command):
    try:
        return subprocess.run(list(map(str, command)), capture_output=True).returncode == 0
    except OSError:
        return False


def run(*command):
    subprocess.run(list(map(str, command)), check=True, cwd=ROOT)


def make_venv(folder, python, uv):
    """An environment that can install: with `uv` where there is one, else with pip, which then fetches `uv`."""
    same_version = f"import sys; sys.exit(sys.version_info[:2] != {tuple(sys.version_info[:2])})"
    if folder.exists() and not succeeds(python, "-c", same_version):
        print(f"{folder.name} was made by another Python: making it anew.", flush=True)
        shutil.rmtree(folder)
    if uv:
        if not folder.exists():
            run(uv, "venv", "--quiet", "--seed", "--python", sys.executable, folder)  # --seed: %pip works in notebooks
        return uv
    if importlib.util.find_spec("ensurepip") is None:  # Debian and Ubuntu ship it apart from Python
        package = f"python3.{sys.version_info[1]}-venv"
        sys.exit(
            f"This Python cannot make virtual environments. Install that part, then start again:\n\n"
            f"    sudo apt install {package}\n"
        )
    if not folder.exists():
        run(sys.executable, "-m", "venv", folder)
    if not succeeds(python, "-m", "uv", "--version"):
        if not succeeds(python, "-m", "pip", "--version"):
            run(python, "-m", "ensurepip")
        run(python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "uv")
    return python.parent / ("uv.exe" if ON_WINDOWS else "uv")


def ready(name, installs):
    """The Python of the environment `name`, with everything installed."""
    folder = ROOT / name
    python = folder / ("Scripts/python.exe" if ON_WINDOWS else "bin/python")
    stamp = folder / "keras_gen.stamp"
    if python.exists() and stamp.is_file() and stamp.read_text() == fingerprint():
        return python
    print(
        f"keras_gen: installing into {name} (first time: about 800 MB to download, 3 GB on disk, 1 to 10 minutes) ...",
        flush=True,
    )
    os.environ["UV_PYTHON_DOWNLOADS"] = "never"  # the Python that was asked for, or none
    try:
        stamp.unlink(missing_ok=True)
        uv = make_venv(folder, python, shutil.which("uv") if succeeds("uv", "--version") else None)
        for what in installs:
            # Compiled now, once: where Python may not write (CI, containers), each kernel would compile Keras anew.
            if what[0] == "pip":  # torch comes in builds: pip takes the one that the user's own pip settings ask for
                run(python, "-m", "pip", "install", "--quiet", *what[1:])
            else:
                run(uv, "pip", "install", "--python", python, "--compile-bytecode", *what)
    except (subprocess.CalledProcessError, OSError) as error:
        sys.exit(f"The installation stopped: {error}\nWhat was downloaded is kept: check the network and start again.")
    stamp.write_text(fingerprint())
    return python


def main(arguments):
    check_python()
    if not arguments or arguments[0] in ("help", "-h", "--help"):
        print(HELP)
        return
    task, *rest = arguments
    if task not in TASKS:
        sys.exit(f"There is no task {task!r}.\n\n{HELP}")
    rest = [
        os.path.abspath(word) if word.endswith(".ipynb") else word for word in rest
    ]  # before leaving the user's folder
    os.chdir(ROOT)

    environment, installs, command = ".venv", LOCKED, TASKS[task]
    if task == "test" and rest and rest[0] in OTHER_TESTS:
        environment, (installs, command) = f".venv-{rest[0][2:]}", OTHER_TESTS[rest.pop(0)]
    command = [str(ready(environment, installs)), *command, *rest]

    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # TensorFlow's start-up chatter
    os.environ.setdefault("TF_FORCE_GPU_ALLOW_GROWTH", "true")  # else one notebook takes the GPU's whole memory
    if task == "test":
        os.environ["KERAS_GEN_QUICK"] = "1"
    if backend := {".venv-jax": "jax", ".venv-torch": "torch"}.get(environment):
        os.environ["KERAS_BACKEND"] = backend
    if ON_WINDOWS:
        sys.exit(subprocess.call(command))
    os.execv(command[0], command)  # the task takes over: Ctrl-C, signals and exit status are its own


if __name__ == "__main__":
    main(sys.argv[1:])
