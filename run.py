"""keras_gen's one command; `python run.py` lists what it does. Needs nothing but Python itself.

The first start makes a virtual environment in `.venv` and installs the pinned packages of requirements.lock; later
starts compare one fingerprint and go straight to the task. What is installed lies in this folder and goes with it.
Outside, in your home folder, there are caches only: uv's of the packages, and small ones of Jupyter and Matplotlib.
"""

import contextlib
import hashlib
import importlib.util
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent
ON_WINDOWS = os.name == "nt"
PYTHON = getattr(sys, "_base_executable", None) or sys.executable  # not that of .venv, which may be made anew
PYTEST = ["-m", "pytest"]
# These say nothing about other versions and backends.
TOOL_TESTS = ["as_on_gpu", "colab", "notebooks", "project", "quick", "run"]
UV = (0, 5)  # an older one in PATH makes way for a new one
# They would bring other modules, or other settings of Python, into the environment.
FOREIGN = ["PYTHONPATH", "PYTHONHOME", "PYTHONSAFEPATH", "PYTHONSTARTUP", "PYTHONOPTIMIZE"]

SIZE = "about 1 GB to download, 2.8 GB on disk, 1 to 10 minutes"
HELP = f"""\
keras_gen: generative models with Keras 3.   python run.py TASK

  demo [03 ...]      run every notebook quickly, or those named, a lab as 03_lab; pictures go to build/demo/
  lab                open the notebooks in JupyterLab
  colab              write notebooks that bring the module along into build/colab/: upload one to Colab or Kaggle
  test [...]         run the tests and every notebook; arguments go to pytest: test -k gan
  test --xla         every notebook, and the tests of every backend, trained as a GPU trains them: compiled with XLA,
                     with rounding errors that no seed repeats; one notebook: test --xla tests/test_quick.py -k 03
  test --floor       the unit tests with the oldest supported Keras and TensorFlow
  test --latest      the unit tests and every notebook with the newest Keras, TensorFlow and JAX that there are
  test --jax         the tests of every backend on JAX, where TensorFlow is not installed; --torch: on PyTorch
  test --jax-notebooks                  every notebook on JAX; --torch-notebooks: on PyTorch
  test --colab       the notebooks of `colab`, quickly, with Colab's versions of Keras, TensorFlow, NumPy, Matplotlib
  test --browser     run every notebook in JupyterLab, look at every page of the site; needs Chromium
  bench [...]        measure training steps: against hand-written ones, and the memory of CycleGAN

for lecturers
  student            write the students' notebooks, without outputs and solutions, into build/student/

for authors
  publish NOTEBOOK   run a notebook in full and store its outputs in it (takes its time)
  pretrain NAME      train a model that comes with the project; without NAME: which, how long; --score: only score it
  docs               build the site into build/site/html/: notebooks, errata, the module's reference
  links              write the public address of pyproject.toml into the notebooks and README
  readme             write README's tables and pictures, and docs/results.md, from the published notebooks

The first task installs everything into .venv: {SIZE}. Should anything
be wrong with it, delete .venv and start again."""

TASKS = {
    "demo": ["tools/notebooks.py", "demo"],
    "lab": ["-m", "jupyterlab", "--LabApp.default_url=/lab/tree/notebooks"],
    "colab": ["tools/colab.py"],
    "test": PYTEST,
    "bench": ["benchmarks/bench.py"],
    "publish": ["tools/notebooks.py", "publish"],
    "pretrain": ["-m", "trainings"],
    "student": ["tools/student.py"],
    "docs": ["tools/docs.py"],
    "links": ["tools/notebooks.py", "links"],
    "readme": ["tools/readme.py"],
}
DEVELOPERS_TASKS = {"test", "docs"}

SETUPTOOLS = "setuptools>=77"
ITSELF = ["-e", ".", "--no-deps", "--no-build-isolation"]  # built by the setuptools that stands before it

PINNED = ["-c", "requirements.lock"]  # of what is installed, the lock's versions
LOCKED = [[*PINNED, "-r", "pyproject.toml", "--extra", "notebooks", SETUPTOOLS], ITSELF]
DEVELOPER = [["-r", "requirements.lock"], ITSELF]  # what is needed for the tests and the site too
EXTRAS_OF_FLOOR = ["-r", "pyproject.toml", "--extra", "tensorflow", "--extra", "test"]
FLOOR = [  # wheels only: a floor without a wheel for this Python gives way to the first version that has one
    ["--resolution", "lowest-direct", "--only-binary", ":all:", *EXTRAS_OF_FLOOR, SETUPTOOLS],
    ITSELF,
]
LATEST = [["-r", "pyproject.toml", "--extra", "notebooks", "--extra", "test", "--extra", "jax", SETUPTOOLS], ITSELF]
RUNNER = ["pytest", "nbclient", "ipykernel", "ipywidgets", "opencv-python-headless", SETUPTOOLS]
JAX = [[*PINNED, "-r", "pyproject.toml", "--extra", "jax", *RUNNER], ITSELF]
TORCH = [[*PINNED, "-r", "pyproject.toml", *RUNNER], ["torch==2.13.0"], ITSELF]
COLAB_PINS = ["keras==3.13.2", "tensorflow==2.20.0", "numpy==2.1.3", "matplotlib==3.10.0", "ipywidgets==7.7.1"]
NOTEBOOK_TOOLS = ["-r", "pyproject.toml", "--extra", "notebooks", "--extra", "test", "pip", SETUPTOOLS]
COLAB = [[*COLAB_PINS, *NOTEBOOK_TOOLS]]  # without keras_gen, which each notebook of `run.py colab` brings along
BROWSER = [*DEVELOPER, ["-r", "pyproject.toml", "--extra", "browser"]]

UNITS = [*PYTEST, "--disable-warnings", *(f"--ignore=tests/test_{name}.py" for name in TOOL_TESTS)]
EVERY_BACKEND = [*UNITS, "-m", "every_backend"]
QUICK = [*PYTEST, "tests/test_quick.py"]
ON_JAX, ON_TORCH = {"KERAS_BACKEND": "jax"}, {"KERAS_BACKEND": "torch"}
OTHER_TESTS = {  # the environment and what is installed into it, the command, the variables that it sees
    "--floor": (".venv-floor", FLOOR, UNITS, {}),
    "--latest": (".venv-latest", LATEST, [word for word in UNITS if "test_quick" not in word], {}),
    "--jax": (".venv-jax", JAX, EVERY_BACKEND, ON_JAX),
    "--torch": (".venv-torch", TORCH, EVERY_BACKEND, ON_TORCH),
    "--jax-notebooks": (".venv-jax", JAX, QUICK, ON_JAX),
    "--torch-notebooks": (".venv-torch", TORCH, QUICK, ON_TORCH),
    "--xla": (".venv", DEVELOPER, [*PYTEST, "-m", "every_backend or as_on_gpu"], {"KERAS_GEN_XLA": "1"}),
    "--colab": (".venv-colab", COLAB, [*PYTEST, "tests/on_colab.py"], {}),
    "--browser": (".venv-browser", BROWSER, [*PYTEST, "tests/browser.py"], {}),
}


def check_python(version=sys.version_info):
    if not (3, 11) <= tuple(version[:2]) <= (3, 13):
        sys.exit(
            f"keras_gen needs Python 3.11, 3.12 or 3.13, and this is {version[0]}.{version[1]} ({sys.executable}). "
            "Start run.py with one of those, for example: python3.12 run.py demo"
        )


def fingerprint(folder, installs):
    """Changes whenever what is installed has to change: another place, other pins or project settings, another Python.

    Its first line is the place.
    """
    parts = [repr((sys.version_info[:2], installs)).encode()]
    parts += [(ROOT / name).read_bytes() for name in ("requirements.lock", "pyproject.toml")]
    digest = hashlib.sha256(b"\0".join(parts)).hexdigest()
    return f"{place(folder)}\n{digest}\n"


def place(folder):
    return ascii(str(folder))


def succeeds(*command):
    try:
        return subprocess.run(list(map(str, command)), capture_output=True).returncode == 0
    except OSError:
        return False


def run(*command):
    # Whatever ends this process, its lock is kept until the command has ended too: see `alone`.
    subprocess.run(list(map(str, command)), check=True, cwd=ROOT, close_fds=False)


def uv_in_path():
    """The `uv` of this machine, or None where there is none, or an old one."""
    try:
        said = subprocess.run(["uv", "--version"], capture_output=True, text=True).stdout
    except OSError:
        return None
    numbers = re.match(r"uv (\d+)\.(\d+)", said)
    return shutil.which("uv") if numbers and tuple(map(int, numbers.groups())) >= UV else None


@contextlib.contextmanager
def alone(path):
    """Wait until no other start installs. The system opens the lock when its process ends, however that ends."""
    with open(path, "w") as file:
        os.set_inheritable(file.fileno(), True)
        with contextlib.suppress(OSError):  # some network disks have no locks
            lock(file)
        yield


def lock(file):
    if ON_WINDOWS:
        import msvcrt

        while True:
            with contextlib.suppress(OSError):  # after ten seconds
                return msvcrt.locking(file.fileno(), msvcrt.LK_LOCK, 1)
    import fcntl

    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        print("Another start of run.py is installing here: waiting for it ...", flush=True)
        fcntl.flock(file, fcntl.LOCK_EX)


def not_to_be_kept(folder, python, stamp):
    """Why this environment cannot be brought up to date, as the end of a sentence; None where it can.

    uv takes a package for installed that it was only about to write: what was cut short is never completed.
    """
    if not stamp.is_file():
        return "holds no finished installation"
    if stamp.read_text().partition("\n")[0] != place(folder):
        return "was made in another place"  # its scripts, and keras_gen, are still those over there
    if not succeeds(python, "-c", f"import sys; sys.exit(sys.version_info[:2] != {tuple(sys.version_info[:2])})"):
        return "was made by another Python"


def empty(folder):
    """Delete what is in a folder, or in the folder that a link leads to."""
    for path in folder.iterdir():
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()


def make_venv(folder, python):
    """Make the environment unless it is there; returns a `uv`: the machine's, or one that pip fetches into it."""
    uv = uv_in_path()
    if uv:
        if not python.exists():
            run(uv, "venv", "--quiet", "--seed", "--python", PYTHON, folder)  # --seed: %pip works in notebooks
        return uv
    if importlib.util.find_spec("ensurepip") is None:  # Debian and Ubuntu ship it apart from Python
        package = f"python3.{sys.version_info[1]}-venv"
        sys.exit(
            f"This Python cannot make virtual environments. Install that part, then start again:\n\n"
            f"    sudo apt install {package}\n"
        )
    if not python.exists():
        run(PYTHON, "-m", "venv", folder)
    if not succeeds(python, "-m", "uv", "--version"):
        if not succeeds(python, "-m", "pip", "--version"):
            run(python, "-m", "ensurepip")
        run(python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "uv")
    return python.parent / ("uv.exe" if ON_WINDOWS else "uv")


def install(folder, python, stamp, installs):
    """Install into an environment that is new, or was finished here once; the stamp comes last."""
    size = f" (the first time: {SIZE})" if installs is LOCKED else ""
    print(f"keras_gen: installing into {folder.name}{size} ...", flush=True)
    if folder.exists() and (reason := not_to_be_kept(folder, python, stamp)):
        print(f"{folder.name} {reason}: making it anew.", flush=True)
        stamp.unlink(missing_ok=True)
        empty(folder)
    stamp.unlink(missing_ok=True)
    uv = make_venv(folder, python)
    for what in installs:
        if what[0].startswith("torch") and "UV_TORCH_BACKEND" not in os.environ:
            # It comes in builds: pip takes the one that the user's own pip settings ask for.
            run(python, "-m", "pip", "install", "--quiet", *what)
        else:
            # Compiled now, once: where Python may not write (CI, containers), each kernel would compile Keras anew.
            run(uv, "pip", "install", "--python", python, "--compile-bytecode", *what)
    if hasattr(os, "sync"):
        os.sync()  # else a power cut could leave the stamp, and packages without their contents
    stamp.write_text(fingerprint(folder, installs))


def ready(name, installs):
    """The Python of the environment `name`, with everything installed."""
    folder = ROOT / name
    python = folder / ("Scripts/python.exe" if ON_WINDOWS else "bin/python")
    stamp = folder / "keras_gen.stamp"

    # A student's task runs with a developer's packages too.
    enough = [fingerprint(folder, more) for more in ([installs, DEVELOPER] if installs is LOCKED else [installs])]

    def finished():
        return python.exists() and stamp.is_file() and stamp.read_text() in enough

    if finished():
        return python
    if os.path.lexists(folder) and not folder.is_dir():
        sys.exit(f"The packages go into {folder}, and that is a file or a link that leads nowhere. Delete it first.")
    if not os.access(ROOT, os.W_OK):
        sys.exit(
            f"The packages go into {folder}, and nothing can be written there: copy the whole folder {ROOT.name} "
            "to a place of your own, and start run.py there."
        )
    os.environ["UV_PYTHON_DOWNLOADS"] = "never"  # the Python that was asked for, or none
    try:
        with alone(ROOT / f"{name}.lock"):
            if not finished():  # another start may have done it
                install(folder, python, stamp, installs)
    except subprocess.CalledProcessError:
        free = shutil.disk_usage(ROOT).free / 1e9
        sys.exit(
            "\nThe installation stopped; the lines above say why. Is there a network, and room on the disk (free: "
            f"{free:.1f} GB)? Then start again: what was downloaded is kept, and {name} is made anew."
        )
    except OSError as error:
        sys.exit(f"\nThe installation stopped: {error}. Mend that, or delete {name}, and start again.")
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

    for name in FOREIGN:
        os.environ.pop(name, None)
    installs = DEVELOPER if task in DEVELOPERS_TASKS else LOCKED
    environment, command, variables = ".venv", TASKS[task], {}
    if task == "test" and rest and rest[0] in OTHER_TESTS:
        environment, installs, command, variables = OTHER_TESTS[rest.pop(0)]
    if installs is LATEST:  # what is newest changes from day to day: it is made anew each time
        (ROOT / environment / "keras_gen.stamp").unlink(missing_ok=True)
    command = [str(ready(environment, installs)), *command, *rest]

    os.environ.update(variables)
    os.environ.setdefault("KERAS_BACKEND", "tensorflow")  # and not what ~/.keras/keras.json says
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # TensorFlow's start-up chatter
    os.environ.setdefault("TF_FORCE_GPU_ALLOW_GROWTH", "true")  # else one notebook takes the GPU's whole memory
    if task == "test":
        os.environ["KERAS_GEN_QUICK"] = "1"
    if ON_WINDOWS:
        sys.exit(subprocess.call(command))
    os.execv(command[0], command)  # the task takes over: Ctrl-C, signals and exit status are its own


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except KeyboardInterrupt:  # while installing; what was begun is made anew
        print("\nStopped.", flush=True)
        sys.exit(130)
