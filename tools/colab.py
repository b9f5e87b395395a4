"""Notebooks for Colab, Kaggle and any other Jupyter.

`python run.py colab` writes a copy of each notebook into build/colab/ that carries the module in its first code cell.
Such a copy is one file and needs no address: upload it, run it.

The project's public address stands once, in pyproject.toml. As soon as it is a real one, `python run.py links` writes
it into the notebooks, as a badge that opens them in Colab and a cell that installs keras_gen there, both of the tag
`v<version>`, and into README's first command. With the placeholder it takes all of that out.
"""

import argparse
import base64
import io
import re
import shutil
import subprocess
import sys
import tempfile
import tomllib
import zipfile
from pathlib import Path

import nbformat

ROOT = Path(__file__).resolve().parent.parent
MODELS = ROOT / "data" / "pretrained"
BADGE = "[![Open in Colab]"
WIDTH = 120  # characters in a line of base64
BUILD_WHEEL = "from setuptools import build_meta; build_meta.build_wheel('.')"

# Unpacked into a folder of its own, which comes before all others: nothing that is installed changes, be it another
# notebook's keras_gen, with other models, or the checkout's own; and Kaggle's pip is not asked.
UNPACK_WHEEL = '''\
# @title This cell holds the module keras_gen, which the notebook needs: run it first, and again after a restart.
import base64
import io
import sys
import tempfile
import zipfile

wheel = """
{content}
"""
folder = tempfile.mkdtemp(prefix="keras_gen_")
zipfile.ZipFile(io.BytesIO(base64.b64decode(wheel))).extractall(folder)
sys.path.insert(0, folder)'''


def code_cells(notebook):
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


# ---- the public address ----


def project():
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def tag():
    """The tag that the notebooks of this version are published under."""
    init = (ROOT / "keras_gen" / "__init__.py").read_text(encoding="utf-8")
    return "v" + re.search(r'^__version__ = "(.+)"$', init, re.MULTILINE)[1]


def has_home():
    """Whether pyproject.toml holds the project's public address, and not the placeholder."""
    return "/OWNER/" not in project()["urls"]["Repository"]


def badge(name):
    """The line under a notebook's title that opens the notebook of this file name in Colab."""
    repository = project()["urls"]["Repository"].removeprefix("https://github.com/")
    page = f"github/{repository}/blob/{tag()}/notebooks/{name}"
    return (
        f"{BADGE}(https://colab.research.google.com/assets/colab-badge.svg)](https://colab.research.google.com/{page})"
    )


def install_cell():
    """The cell that installs keras_gen on Colab and does nothing anywhere else."""
    archive = f"{project()['urls']['Repository']}/archive/refs/tags/{tag()}.tar.gz"
    source = f'import sys\n\nif "google.colab" in sys.modules:\n    %pip install -q --no-deps {archive}'
    return nbformat.v4.new_code_cell(source, id="colab", metadata={"tags": ["colab"]})


def unlink(notebook):
    """Take badge and install cell out of a notebook."""
    title = notebook.cells[0]
    title.source = "\n".join(line for line in title.source.splitlines() if not line.startswith(BADGE)).rstrip()
    notebook.cells = [cell for cell in notebook.cells if "colab" not in cell.metadata.get("tags", [])]
    number(notebook)


def number(notebook):
    """Count the code cells from 1 again, after one came or went; a notebook that never ran stays without counts."""
    cells = code_cells(notebook)
    if not any(cell.execution_count for cell in cells):
        return
    for count, cell in enumerate(cells, start=1):
        for counted in (cell, *cell.outputs):
            if "execution_count" in counted:
                counted.execution_count = count


def link(path):
    """Write badge and install cell into a notebook, or take them out where the project has no public home."""
    notebook = nbformat.read(path, as_version=4)
    unlink(notebook)
    if has_home():
        notebook.cells[0].source += "\n\n" + badge(path.name)
        notebook.cells.insert(1, install_cell())
        number(notebook)
    nbformat.write(notebook, path)


def link_readme(text):
    """README's text with `git clone` and this project's address before `cd keras_gen`, or without."""
    clone = f"git clone {project()['urls']['Repository']} && " if has_home() else ""
    lines = text.split("\n")
    for i, line in enumerate(lines):
        if line == "cd keras_gen" or (line.startswith("git clone ") and line.endswith(" && cd keras_gen")):
            lines[i] = f"{clone}cd keras_gen"
    return "\n".join(lines)


# ---- copies that carry the module ----


def models_of(notebook):
    """The files of the models that a notebook's code names in quotes, and of its data sets' judges if it has one."""
    code = "\n".join(cell.source for cell in code_cells(notebook))
    names = set(re.findall(r"""["']([\w-]+)["']""", code))
    if "train_judge" in code or "load_judge" in code:
        names |= {f"judge_{name}" for name in names}
    return sorted(path for path in MODELS.glob("*.npz") if path.stem in names)


def build_wheel():
    """Build a wheel of the module with all models, from a copy: building leaves files behind. Returns bytes."""
    with tempfile.TemporaryDirectory() as place:
        copy = Path(place)
        for name in ("pyproject.toml", "README.md", "LICENSE"):
            shutil.copy(ROOT / name, copy)
        for name in ("keras_gen", "trainings"):
            shutil.copytree(ROOT / name, copy / name, ignore=shutil.ignore_patterns("__pycache__", ".*"))
        shutil.copytree(MODELS, copy / MODELS.relative_to(ROOT))
        built = subprocess.run([sys.executable, "-c", BUILD_WHEEL], cwd=copy, capture_output=True, text=True)
        if built.returncode:
            sys.exit(f"The wheel could not be built:\n{built.stderr}")
        (wheel,) = copy.glob("*.whl")
        return wheel.read_bytes()


def with_models(wheel, models):
    """The wheel of the module with these of its models alone, in its list of files too; bytes."""
    others = {path.name for path in MODELS.iterdir()} - {path.name for path in models}
    with zipfile.ZipFile(io.BytesIO(wheel)) as whole, zipfile.ZipFile(small := io.BytesIO(), "w") as part:
        for file in whole.infolist():
            content = whole.read(file)
            if file.filename.endswith(".dist-info/RECORD"):  # a line a file: its name, its hash, its size
                lines = content.decode().splitlines(keepends=True)
                content = "".join(line for line in lines if Path(line.split(",")[0]).name not in others)
            if Path(file.filename).name not in others:
                part.writestr(file, content)
    return small.getvalue()


def wheel_cell(wheel):
    """The code cell that holds this wheel and unpacks it; hidden where Jupyter, Colab and Kaggle know how."""
    text = base64.b64encode(wheel).decode()
    content = "\n".join(text[start : start + WIDTH] for start in range(0, len(text), WIDTH))
    hidden = {"cellView": "form", "jupyter": {"source_hidden": True}, "_kg_hide-input": True}
    return nbformat.v4.new_code_cell(
        UNPACK_WHEEL.format(content=content), id="module", metadata={"tags": ["colab"], **hidden}
    )


def write_copies(paths, folder, wheel):
    """Write a copy of each notebook, with its published outputs and with the module in its first code cell."""
    folder.mkdir(parents=True, exist_ok=True)
    for path in paths:
        notebook = nbformat.read(path, as_version=4)
        models = models_of(notebook)
        cell = wheel_cell(with_models(wheel, models))
        unlink(notebook)
        notebook.cells.insert(1, cell)
        copy = folder / path.name
        nbformat.write(notebook, copy)
        print(
            f"{path.stem:22}{copy.stat().st_size / 1e6:5.1f} MB, of which the module {len(cell.source) / 1e6:.1f} MB: "
            f"{', '.join(path.stem for path in models) or 'no models'}"
        )


if __name__ == "__main__":
    argparse.ArgumentParser(description="Write notebooks that bring the module along into build/colab/.").parse_args()
    target = ROOT / "build" / "colab"
    write_copies(sorted((ROOT / "notebooks").glob("*.ipynb")), target, build_wheel())
    print(f"\nThe notebooks for Colab, Kaggle and any other Jupyter are in {target}")
