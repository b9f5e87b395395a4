"""The notebooks as they are uploaded to Colab: `python run.py test --colab`.

Its environment has Colab's versions and no keras_gen, so each notebook has only what it carries itself. (The file is
not called colab.py: it would stand in the way of tools/colab.py.)
"""

import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

from notebooks import code_cells, kernel_environment

ROOT = Path(__file__).resolve().parent.parent
COPIES = ROOT / "build" / "colab"
NAMES = sorted(path.stem for path in (ROOT / "notebooks").glob("*.ipynb"))
ENVIRONMENT = kernel_environment(quick=True)
del ENVIRONMENT["PYTHONPATH"]


@pytest.fixture(scope="session", autouse=True)
def copies():
    subprocess.run([sys.executable, "tools/colab.py"], cwd=ROOT, check=True)
    find = "import importlib.util; print(importlib.util.find_spec('keras_gen'))"
    found = subprocess.check_output([sys.executable, "-c", find], cwd=COPIES, env=ENVIRONMENT, text=True)
    assert found == "None\n", "keras_gen is installed here, and Colab has none: delete .venv-colab"


@pytest.mark.parametrize("name", NAMES)
def test_notebook_runs_with_what_it_carries(name):
    notebook = nbformat.read(COPIES / f"{name}.ipynb", as_version=4)
    for cell in code_cells(notebook):
        cell.outputs = []
    client = NotebookClient(notebook, timeout=600, kernel_name="python3", resources={"metadata": {"path": str(COPIES)}})
    client.execute(env=ENVIRONMENT)  # raises if a cell does
    cells = code_cells(notebook)
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1))
    (shown,) = (output.data["text/plain"] for output in cells[-1].outputs if output.output_type == "execute_result")
    assert shown.startswith("{'"), "the last cell shows RESULTS"
