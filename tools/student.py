"""Writes the students' notebooks: `python run.py student` puts them into build/student/.

A student's notebook has no outputs, no stamp, no line for README and no solutions. The last cell goes too: it gathers
the scores of a published run, those of the solutions among them.
"""

import argparse
import re

import nbformat

from notebooks import BUILD, NOTEBOOKS, code_cells

IN_WORDS = "**Solution "  # a cell of prose that starts so is one
SOLUTION = re.compile(r"^### BEGIN SOLUTION\n.*?^### END SOLUTION$", re.MULTILINE | re.DOTALL)


def without_solutions(notebook):
    """Turn a notebook into the students' version, in place; returns the number of solutions taken out."""
    notebook.cells.remove(code_cells(notebook)[-1])
    for stored in ("keras_gen", "readme"):
        notebook.metadata.pop(stored, None)
    in_words = [cell for cell in notebook.cells if cell.source.startswith(IN_WORDS)]
    notebook.cells = [cell for cell in notebook.cells if cell not in in_words]
    count = len(in_words)
    for cell in code_cells(notebook):
        cell.source, n = SOLUTION.subn("# your code", cell.source)
        cell.outputs, cell.execution_count = [], None
        count += n
    return count


if __name__ == "__main__":
    argparse.ArgumentParser(description="Write the students' notebooks into build/student/.").parse_args()
    folder = BUILD / "student"
    folder.mkdir(parents=True, exist_ok=True)
    for path in sorted(NOTEBOOKS.glob("*.ipynb")):
        notebook = nbformat.read(path, as_version=4)
        count = without_solutions(notebook)
        nbformat.write(notebook, folder / path.name)
        print(f"{path.stem:22} {count} solutions taken out")
    print(f"\nThe students' notebooks are in {folder}")
