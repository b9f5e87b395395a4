"""The project's public address, where it is repeated: the notebooks' Colab badge and install cell, README's links.

The address itself stands once, in pyproject.toml. `python run.py links` writes it from there; a test holds them equal.
"""

import re
import tomllib
from pathlib import Path

import nbformat

ROOT = Path(__file__).resolve().parent.parent


def project():
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def badge(name):
    """The line under a notebook's title that opens the notebook of this file name in Colab."""
    repository = project()["urls"]["Repository"].removeprefix("https://github.com/")
    colab = "https://colab.research.google.com"
    return f"[![Open in Colab]({colab}/assets/colab-badge.svg)]({colab}/github/{repository}/blob/main/notebooks/{name})"


def install_cell():
    """The cell that installs keras_gen on Colab and does nothing anywhere else."""
    archive = f"{project()['urls']['Repository']}/archive/refs/tags/v{project()['version']}.tar.gz"
    return f'import sys\n\nif "google.colab" in sys.modules:\n    %pip install -q --no-deps {archive}'


def link(path):
    """Write badge and install cell into a notebook: the badge into the title cell, the install cell after it."""
    notebook = nbformat.read(path, as_version=4)
    title = notebook.cells[0]
    lines = [line for line in title.source.splitlines() if not line.startswith("[![Open in Colab]")]
    title.source = "\n".join(lines).rstrip() + "\n\n" + badge(path.name)
    cell = next((cell for cell in notebook.cells if "colab" in cell.metadata.get("tags", [])), None)
    if cell is None:
        cell = nbformat.v4.new_code_cell(id="colab", metadata={"tags": ["colab"]})
        notebook.cells.insert(1, cell)
    cell.source = install_cell()
    nbformat.write(notebook, path)


def link_readme(text):
    """README's text with this project's address in its Colab links and its `git clone` lines."""
    address = project()["urls"]["Repository"]
    colab = r"(?<=colab\.research\.google\.com/github/)[\w.-]+/[\w.-]+"
    text = re.sub(colab, address.removeprefix("https://github.com/"), text)
    return re.sub(r"(?<=git clone )https?://\S+", address, text)
