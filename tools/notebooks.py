"""Runs, publishes and links the notebooks; `run.py` calls it, and any Python with nbclient can:

    python tools/notebooks.py publish notebooks/03_dcgan_cifar10.ipynb

A notebook in this repository is code, prose and the outputs of one full run. `publish` is the only writer of outputs;
it stamps them with what they were made from, and the tests hold stamp and code together.
"""

import argparse
import ast
import base64
import hashlib
import inspect
import io
import json
import os
import re
import shutil
import subprocess
import sys
import textwrap
import time
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from pathlib import Path

try:
    import colab
    import nbformat
    from colab import code_cells
    from IPython.core.inputtransformer2 import TransformerManager
    from nbclient import NotebookClient
    from nbclient.exceptions import CellExecutionError, CellTimeoutError, DeadKernelError
    from PIL import Image
except KeyboardInterrupt:  # in the first second
    print("\nStopped.")
    sys.exit(130)

ROOT = Path(__file__).resolve().parent.parent
NOTEBOOKS = ROOT / "notebooks"
BUILD = ROOT / "build"
STAMP_NAMES = ("DATASET", "SEED", "RESULTS")  # every notebook assigns them; the stamp is made from them
CELL_SECONDS = 600  # what a cell may take in a quick run; a few are usual, on a slow machine some dozens
COLOURS = re.compile(r"\x1b\[[0-9;]*m")
CHATTER = re.compile(r"WARNING:tensorflow:.*\n?")  # TensorFlow's log, which IPython shows on stdout
# Notebooks whose code has changed since they were published: their outputs are still those of the code before. README
# says so, and a test holds list and stamps together. A full run of all takes hours, so a change that is meant to leave
# the results as they are may come first and the outputs later.
WAITING = [
    "04_conditional_gan_lab",
    "08_one_line_of_loss",
    "09_infogan",
    "15_flows_lab",
]
# Notebooks from before there were lessons and labs. Until its third edition lands, each is exempt from the rules of
# its kind: how much code and prose, how long a line, the program. The list only shrinks.
SECOND_EDITIONS = [
    "08_one_line_of_loss",
    "09_infogan",
]
PICTURES = {"image/png": "png", "image/jpeg": "jpg", "image/gif": "gif"}


class NotebookFailed(Exception):
    """A cell raised, or its kernel died. The message holds the cell and the error."""


def is_lab(path):
    return path.stem.endswith("_lab")


def first_line(cell):
    return next((line for line in cell.source.splitlines() if line.strip()), "")


# ---- the code's hash: changes with the program, not with formatting, comments, prose or the public address ----


def tree(node):
    """A syntax tree as plain lists, the same from every Python (ast.dump differs between 3.11, 3.12 and 3.13)."""
    if isinstance(node, list):
        return [tree(child) for child in node]
    if not isinstance(node, ast.AST):
        return repr(node)
    fields = {name: value for name, value in ast.iter_fields(node) if value not in (None, [])}
    if isinstance(node, ast.JoinedStr):  # Python 3.12.0 ends a nested format with an empty string
        fields["values"] = [part for part in node.values if getattr(part, "value", None) != ""]
    return [type(node).__name__, *((name, tree(value)) for name, value in fields.items())]


def parse(cell):
    """The cell's syntax tree; IPython's own lines (%pip, !ls) become calls first."""
    return ast.parse(TransformerManager().transform_cell(cell.source))


def code_hash(notebook):
    """Of all code but the cell that installs keras_gen, which tools/colab.py writes and takes out."""
    cells = [cell for cell in code_cells(notebook) if "colab" not in cell.metadata.get("tags", [])]
    return hashlib.sha256(repr([tree(parse(cell)) for cell in cells]).encode()).hexdigest()[:16]


def count_nodes(notebook):
    """How much code there is: statements, expressions, arguments and keywords, which packing does not lower."""
    kinds = ast.stmt | ast.expr | ast.arg | ast.keyword
    return sum(isinstance(node, kinds) for cell in code_cells(notebook) for node in ast.walk(parse(cell)))


# ---- running ----


def facts(names):
    """Runs in the notebook's kernel, after its last cell: what the stamp is to say, as JSON."""
    import json
    import os
    import platform
    import sys

    import numpy

    keras, gpu = sys.modules.get("keras"), None
    backend = keras.config.backend() if keras else "numpy"
    module = sys.modules[backend]
    if backend == "tensorflow" and (found := module.config.list_physical_devices("GPU")):
        gpu = module.config.experimental.get_device_details(found[0]).get("device_name", "GPU")
    elif backend == "jax" and module.default_backend() != "cpu":
        gpu = module.devices()[0].device_kind
    elif backend == "torch" and module.cuda.is_available():
        gpu = module.cuda.get_device_name(0)
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    versions = {"python": platform.python_version(), "numpy": numpy.__version__, backend: str(module.__version__)}
    if keras:
        versions["keras"] = keras.__version__
    known = {
        "data_set": names["DATASET"],
        "seed": names["SEED"],
        "device": f"{backend} on {gpu or ('one CPU core' if cores == 1 else f'{cores} CPU cores')}",
        "versions": versions,
        "results": names["RESULTS"],
    }
    return json.dumps(known, default=lambda value: numpy.asarray(value).tolist())


def kernel_environment(quick):
    """The environment of a notebook's kernel: embedded data and small networks if `quick`, else the user's own data.

    Of the user's own settings it sees what a run is to depend on: the backend, where the environment names one.
    """
    environment = {name: value for name, value in os.environ.items() if name not in ("KERAS_GEN_QUICK", "MPLBACKEND")}
    environment["PYTHONPATH"] = str(ROOT)
    if os.environ.get("KERAS_GEN_XLA"):  # `run.py test --xla`
        environment["PYTHONPATH"] += f"{os.pathsep}{ROOT / 'tools'}"
    environment["IPYTHONDIR"] = str(BUILD / "ipython")  # no start-up files
    environment.setdefault("KERAS_BACKEND", "tensorflow")
    environment.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    environment.setdefault("TF_FORCE_GPU_ALLOW_GROWTH", "true")
    environment.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # threads that wait leave the core to the other notebook
    if quick:
        environment["KERAS_GEN_QUICK"] = "1"
        environment["KERAS_HOME"] = str(BUILD / "keras")  # no keras.json
        environment.pop("KERAS_GEN_DATA", None)
    return environment


def execute(notebook, path, quick, at_cell=lambda number, of, cell: None):
    """Run the cells of `notebook`, which came from `path`, in that folder; return `facts`. Raises NotebookFailed.

    `at_cell` is called before each code cell, with its number and how many there are.
    """
    BUILD.mkdir(parents=True, exist_ok=True)
    kernel_log = BUILD / f"{path.stem}.log"  # what TensorFlow says at its start, and a crash's last words
    cells = code_cells(notebook)
    code = "\n".join(cell.source for cell in cells)
    if missing := [name for name in STAMP_NAMES if not re.search(rf"^{name}\b.*=", code, re.MULTILINE)]:
        raise NotebookFailed(
            f"no cell assigns {' or '.join(missing)}: the stamp is made from {', '.join(STAMP_NAMES)}."
        )
    client = NotebookClient(
        notebook,
        timeout=CELL_SECONDS if quick else None,  # a full run may take hours
        kernel_name="python3",
        record_timing=False,
        coalesce_streams=True,
        store_widget_state=False,
        resources={"metadata": {"path": str(path.parent)}},
    )
    probe = nbformat.v4.new_code_cell(f"{inspect.getsource(facts)}\nprint(facts(globals()))")
    notebook.cells.append(probe)
    index = 0
    try:
        with (
            kernel_log.open("w") as log,
            client.setup_kernel(env=kernel_environment(quick), stderr=log),
        ):
            if os.environ.get("KERAS_GEN_XLA"):  # this cell lies where the probe will
                switch = nbformat.v4.new_code_cell("import as_on_gpu")
                client.execute_cell(switch, len(notebook.cells) - 1, store_history=False)
            for number, cell in enumerate(cells, start=1):
                at_cell(number, len(cells), cell)
                index = notebook.cells.index(cell)
                client.execute_cell(cell, index)
            client.execute_cell(probe, len(notebook.cells) - 1)
    except CellExecutionError as error:
        raise NotebookFailed(f"in cell {index}:\n{re.sub(COLOURS, '', str(error))}") from None
    except CellTimeoutError:
        raise NotebookFailed(f"cell {index} was not done after {CELL_SECONDS} s:\n{cell.source}") from None
    except DeadKernelError:
        words = f"the kernel died (out of memory? see {kernel_log}) in cell {index}:\n{cell.source}"
        raise NotebookFailed(words) from None
    except RuntimeError as error:  # nbclient's, where a kernel does not answer
        raise NotebookFailed(f"the kernel did not start: {error}. Its last words are in {kernel_log}") from None
    finally:
        notebook.cells.pop()
    printed = "".join(output.text for output in probe.outputs if output.get("name") == "stdout")
    return json.loads(printed.splitlines()[-1], parse_constant=lambda _: None)  # NaN is no JSON: null


# ---- tasks ----


def last_commit():
    """The last commit that touched keras_gen/, with `-dirty` behind it if files there have changed since."""
    module = ["--", "keras_gen"]
    try:
        commit = subprocess.check_output(["git", "log", "-1", "--format=%h", *module], cwd=ROOT, text=True).strip()
        changes = subprocess.check_output(["git", "status", "--porcelain", *module], cwd=ROOT, text=True)
    except (OSError, subprocess.CalledProcessError):
        commit = ""
    if not commit:
        raise NotebookFailed("git knows no commit of keras_gen/ here: give it with --commit or KERAS_GEN_COMMIT.")
    return f"{commit}-dirty" if changes else commit


def without_chatter(outputs):
    """A cell's outputs without stderr and without TensorFlow's log."""
    outputs = [output for output in outputs if output.get("name") != "stderr"]
    for output in outputs:
        if output.get("name") == "stdout":
            output.text = CHATTER.sub("", output.text)
    return [output for output in outputs if output.get("text") != ""]


LARGE_JPEG = 120_000  # characters of base64: 90 kB


def with_small_pictures(outputs):
    """Outputs whose pictures look the same and take less room.

    PNGs have 256 colours at most: enough for curves and texts, and often a third of the size. JPEGs are packed better,
    by a tenth or so, and keep their quality; only those of more than 90 kB, large grids of photographs, lose some.
    """
    ways = {"png": {"optimize": True}, "jpeg": {"optimize": True, "progressive": True}}
    for output in outputs:
        for kind, how in ways.items():
            if stored := output.get("data", {}).get(f"image/{kind}"):
                if kind == "jpeg":
                    how["quality"] = 75 if len(stored) > LARGE_JPEG else "keep"
                small, picture = io.BytesIO(), Image.open(io.BytesIO(base64.b64decode(stored)))
                picture = picture.convert("RGB").quantize(256) if kind == "png" else picture
                picture.save(small, kind, **how)
                output.data[f"image/{kind}"] = min(stored, base64.b64encode(small.getvalue()).decode(), key=len)
    return outputs


def minutes(seconds):
    """Seconds as "12:05"."""
    return f"{int(seconds) // 60}:{int(seconds) % 60:02}"


def publish(path, commit=None, tell=lambda text: print(text, end="", flush=True)):
    """Run a notebook in full and store outputs and stamp in it; a failed run leaves the file as it was."""
    path = Path(path).resolve()
    notebook = nbformat.read(path, as_version=4)
    commit = commit or os.environ.get("KERAS_GEN_COMMIT") or last_commit()
    aside = BUILD / f"unpublished_{path.name}"  # a long run that cannot be published is worth a look
    start, last_time = time.perf_counter(), notebook.metadata.get("keras_gen", {}).get("seconds", 0)

    def at_cell(number, of, cell):
        passed = time.perf_counter() - start
        left = f"about {minutes(last_time - passed)} left" if last_time > passed else ""
        tell(f"{minutes(passed):>6}  cell {number:2} of {of}  {first_line(cell)[:60]:60}  {left}\n")

    try:
        known = execute(notebook, path, False, at_cell)
    except NotebookFailed as error:
        nbformat.write(notebook, aside)
        raise NotebookFailed(f"{error}\nWhat ran is in {aside}.") from None
    seconds = time.perf_counter() - start

    current = nbformat.read(path, as_version=4)  # its prose may have been edited while the cells ran
    cells = code_cells(current)
    if code_hash(current) != code_hash(notebook) or len(cells) != len(code_cells(notebook)):  # Colab's cell may come
        nbformat.write(notebook, aside)
        raise NotebookFailed(f"the code changed while it ran; the executed copy is {aside}.")
    for cell, executed in zip(cells, code_cells(notebook), strict=True):
        for warning in (output for output in executed.outputs if output.get("name") == "stderr"):
            tell(textwrap.indent(f"dropped from '{first_line(cell)}':\n{warning.text}", "  stderr: "))
        cell.outputs = with_small_pictures(without_chatter(executed.outputs))
        cell.execution_count = executed.execution_count
        cell.metadata.pop("execution", None)
    current.metadata.pop("widgets", None)
    current.metadata.kernelspec = {"display_name": "Python 3 (ipykernel)", "language": "python", "name": "python3"}
    current.metadata.language_info = {"name": "python"}
    current.metadata.keras_gen = {
        "profile": "full",
        "seconds": round(seconds, 1),
        "commit": commit,
        "code_hash": code_hash(current),
        **known,
    }
    fresh = path.with_name(f".{path.name}.new")
    nbformat.write(current, fresh)
    fresh.replace(path)
    tell(f"published {path.name}: {seconds:.0f} s, {path.stat().st_size / 1000:.0f} kB. {summary(known['results'])}\n")
    if path.stem in WAITING:
        tell(f"Now take {path.stem} off WAITING in tools/notebooks.py, and run `python run.py readme`.\n")


def summary(results, width=100):
    """RESULTS on one line."""

    def short(value):
        if isinstance(value, dict):
            return "(" + ", ".join(f"{name} {short(part)}" for name, part in value.items()) + ")"
        return f"{value:.3g}" if isinstance(value, float) else str(value)

    return textwrap.shorten(short(results)[1:-1], width, placeholder=" ...")


def save_pictures(notebook, folder):
    """Each PNG, JPEG and GIF among the outputs as a file in a folder of their own; returns how many."""
    shutil.rmtree(folder, ignore_errors=True)  # an earlier run's
    folder.mkdir(exist_ok=True)
    count = 0
    for cell in code_cells(notebook):
        for output in cell.outputs:
            for kind in PICTURES.keys() & output.get("data", {}).keys():
                count += 1
                picture = folder / f"{count:02}-{cell.id}.{PICTURES[kind]}"
                picture.write_bytes(base64.b64decode(output.data[kind]))
    return count


def demo(notebooks, folder):
    """Run notebooks quickly, two at a time, a line each; copies and pictures go to `folder`. Returns how many failed.

    On a terminal the last line shows where the running ones are.
    """
    folder.mkdir(parents=True, exist_ok=True)
    running = {}  # notebook -> where it is, and since when

    def run(path):
        notebook, start = nbformat.read(path, as_version=4), time.perf_counter()
        failed = False
        try:
            known = execute(
                notebook,
                path,
                True,
                lambda number, of, _: running.update({path.stem: (f"cell {number} of {of}", start)}),
            )
            outcome = summary(known["results"])
        except NotebookFailed as error:
            failed, outcome = True, f"FAILED {error}"
        running.pop(path.stem, None)
        nbformat.write(notebook, folder / path.name)
        save_pictures(notebook, folder / path.stem)
        return failed, f"{path.stem:22}{time.perf_counter() - start:5.0f} s  {outcome}"

    def status():
        now = time.perf_counter()
        return " | ".join(f"{name} {place}, {now - start:.0f} s" for name, (place, start) in list(running.items()))

    # Two at a time: such small networks keep little more than one processor core busy.
    pool, count = ThreadPoolExecutor(2), 0
    waiting = {pool.submit(run, path) for path in notebooks}
    try:
        while waiting:
            done, waiting = wait(waiting, timeout=1, return_when=FIRST_COMPLETED)
            width = shutil.get_terminal_size().columns - 1
            for failed, line in (future.result() for future in done):
                count += failed
                print(f"\r{line:{width}}" if sys.stdout.isatty() else line, flush=True)
            if sys.stdout.isatty():
                print(f"\r{status()[:width]:{width}}", end="", flush=True)
    except KeyboardInterrupt:
        print("\nStopped.", flush=True)
        os._exit(130)  # else Python waits until the running notebooks are done; kernels end with their parent
    print(f"\n{len(notebooks) - count} of {len(notebooks)} notebooks ran. Open them, and their pictures, in {folder}")
    return count


def chosen(names, notebooks):
    """The notebooks that these names mean; all where there is none.

    "3" and "03" are the lesson, "03_lab" is its lab; "03_dcgan" and a path are as much as they say.
    """
    found = []
    for name in names:
        word = Path(name).name.removesuffix(".ipynb")
        number, _, rest = word.partition("_")
        start = f"{int(number):02}" if number.isdecimal() else number
        if rest in ("", "lab"):
            means = [path for path in notebooks if path.stem.startswith(start) and is_lab(path) == bool(rest)]
        else:
            means = [path for path in notebooks if path.stem.startswith(f"{start}_{rest}")]
        if not means:
            there = ", ".join(path.stem for path in notebooks)
            sys.exit(f"There is no notebook {name}; there are: {there}.")
        found += means
    return [path for path in notebooks if path in found or not names]


def main(arguments):
    parser = argparse.ArgumentParser(description="Run, publish and link the notebooks.")
    tasks = parser.add_subparsers(dest="task", required=True)
    showing = tasks.add_parser("demo", help="run notebooks quickly")
    showing.add_argument("notebook", nargs="*", help="such as 03, or 03_lab; all where none is named")
    tasks.add_parser("links", help="write the public address into the notebooks and README")
    publishing = tasks.add_parser("publish", help="run notebooks in full and store their outputs")
    publishing.add_argument("notebook", nargs="+", type=Path)
    publishing.add_argument("--commit", help="the commit of keras_gen, where git cannot tell")
    options = parser.parse_args(arguments)
    notebooks = sorted(NOTEBOOKS.glob("*.ipynb"))
    if options.task == "demo":
        try:
            return 1 if demo(chosen(options.notebook, notebooks), BUILD / "demo") else 0
        except OSError as error:
            return f"\nThe demo writes into {BUILD}, and could not: {error}"
    if options.task == "links":
        for path in notebooks:
            colab.link(path)
        page = ROOT / "README.md"
        page.write_text(colab.link_readme(page.read_text(encoding="utf-8")), encoding="utf-8")
        return 0
    try:
        for path in options.notebook:
            publish(path, options.commit)
    except (NotebookFailed, OSError) as error:
        return f"\n{path.name} was not published: {error}"
    except KeyboardInterrupt:
        return f"\nStopped; {path.name} is as it was."
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
