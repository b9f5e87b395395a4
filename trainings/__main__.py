"""`python run.py pretrain NAME` trains a model and scores it; `--score` only scores."""

import argparse
import ast
import importlib
import sys
from pathlib import Path


def find_trainings():
    """Name and first line of each file here that has a `train` and a `score`.

    The files are read and not imported: so the list is there at once.
    """
    found = {}
    for path in sorted(Path(__file__).parent.glob("*.py")):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        functions = {
            node.name for node in tree.body if isinstance(node, ast.FunctionDef)
        }
        if {"train", "score"} <= functions:
            found[path.stem] = ast.get_docstring(tree).splitlines()[0]
    return found


def main(arguments=None):
    trainings = find_trainings()
    lines = [f"  {name:16} {about}" for name, about in trainings.items()]
    there = "\n".join(["names:", *lines])
    parser = argparse.ArgumentParser(
        prog="run.py pretrain",
        description="Train a model that comes with the project, then print its scores.",
        epilog=there,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("name", metavar="NAME", nargs="?", help="which one, see below")
    parser.add_argument("--score", action="store_true", help="score what is there")
    asked = parser.parse_args(arguments)
    if asked.name is None:
        parser.error(f"which one?\n\n{there}")
    if asked.name not in trainings:
        parser.error(f"there is no training {asked.name!r}\n\n{there}")

    training = importlib.import_module(f".{asked.name}", __package__)
    if not asked.score:
        training.train()
    training.score()


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        print("\nStopped. What was kept so far stays.", flush=True)
        sys.exit(130)
