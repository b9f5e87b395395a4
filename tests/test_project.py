"""What holds for the project as a whole: its sources, its pins, its ways in."""

import ast
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from types import ModuleType

import nbformat
import pytest
import readme
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import keras_gen
import notebooks as tool

ROOT = Path(__file__).resolve().parent.parent
MODULE = sorted((ROOT / "keras_gen").glob("*.py"))
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def read(name):
    return (ROOT / name).read_text(encoding="utf-8")


def imports(tree):
    """The top-level packages that a syntax tree imports."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name.split(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            yield node.module.split(".")[0]


def old_spellings(tree):
    """What Keras 3 refuses, ignores or warns about in the lectures' code."""
    found = [name for name in imports(tree) if name == "keras_contrib"]
    for node in ast.walk(tree):
        if (
            isinstance(node, ast.Attribute)
            and node.attr == "keras"
            and getattr(node.value, "id", "") in {"tf", "tensorflow"}
        ):
            found.append("tf.keras")
        if not isinstance(node, ast.Call):
            continue
        callee = getattr(node.func, "attr", getattr(node.func, "id", ""))
        for word in (keyword.arg for keyword in node.keywords):
            if (
                word in {"lr", "input_shape"}
                or (word == "alpha" and callee == "LeakyReLU")
                or (word == "decay" and callee in {"Adam", "SGD", "RMSprop"})
            ):
                found.append(f"{callee}({word}=)")
    return found


def sources():
    """Name and syntax tree of all code that students read: the module, the notebooks, README."""
    for path in MODULE:
        yield path.name, ast.parse(path.read_text(encoding="utf-8"))
    for path in sorted(tool.NOTEBOOKS.glob("*.ipynb")):
        for cell in tool.code_cells(nbformat.read(path, as_version=4)):
            yield f"{path.name}, cell {cell.id}", tool.parse(cell)
    for block in re.findall(r"```python\n(.*?)```", read("README.md"), re.DOTALL):
        yield "README.md", ast.parse(block)


def test_module_knows_keras_and_no_backend():
    allowed = {
        "keras",
        "numpy",
        "matplotlib",
        "sklearn",
        "scipy",
        "PIL",
        "IPython",
        "keras_gen",
        *sys.stdlib_module_names,
    }
    for path in MODULE:
        assert set(imports(ast.parse(path.read_text(encoding="utf-8")))) <= allowed, path.name


def test_no_old_spelling():
    assert {name: found for name, tree in sources() if (found := old_spellings(tree))} == {}


@pytest.mark.parametrize(
    "code",
    ["Adam(lr=1)", "k.optimizers.Adam(decay=1)", "LeakyReLU(alpha=0.2)", "Dense(1, input_shape=(2,))", "tf.keras.Model",
     "from keras_contrib.layers import X"],
)  # fmt: skip
def test_an_old_spelling_is_found(code):
    assert old_spellings(ast.parse(code))


def test_files_stay_readable():
    assert {path.name: n for path in MODULE if (n := len(path.read_text(encoding="utf-8").splitlines())) >= 250} == {}


def test_public_names_are_documented():
    names = {name: value for name, value in vars(keras_gen).items() if not name.startswith("_")}
    public = {name: value for name, value in names.items() if not isinstance(value, ModuleType)}
    assert public
    assert [name for name, value in public.items() if callable(value) and not value.__doc__] == []


def test_lock_satisfies_every_dependency():
    lock = read("requirements.lock")
    assert "://" not in lock
    locked = {}
    for name, version, marker in re.findall(r"^([\w.-]+)==([^\s;]+)(?: ; (.*?))? \\$", lock, re.MULTILINE):
        locked.setdefault(canonicalize_name(name), []).append((version, marker))
    extras = PROJECT["optional-dependencies"]
    wanted = [*PROJECT["dependencies"], *extras["notebooks"], *extras["test"], *extras["docs"], *extras["jax"]]
    for requirement in map(Requirement, wanted):
        versions = locked.get(canonicalize_name(requirement.name), [])
        assert versions, f"{requirement.name}: make requirements.lock again, its head says how"
        assert all(version in requirement.specifier for version, _ in versions), requirement


def test_conda_environment():
    lines = [line.split(" #")[0].strip() for line in read("environment.yml").splitlines() if not line.startswith("#")]
    assert lines == [
        "name: keras-gen",
        "channels:",
        "- conda-forge",
        "dependencies:",
        "- python=3.12",
        "- pip",
        "- pip:",
        "- -e .[notebooks]",
    ]
    commented = [
        line for line in read("environment.yml").splitlines() if line.lstrip().startswith("- ") and " #" in line
    ]
    assert len(commented) == 4, "each choice says why"


def test_ci_runs_what_readme_says():
    command = read(".ci/run").splitlines()[-1]
    assert command.replace("python3", "python") in read("README.md")
    workflow = read(".github/workflows/ci.yml")
    assert "run: python run.py test\n" in workflow and "run: python run.py test --floor\n" in workflow
    assert [f'"3.{minor}"' in workflow for minor in (10, 11, 12, 13, 14)] == [False, True, True, True, False]


def test_readme_table_is_that_of_the_stamps():
    paths = sorted(tool.NOTEBOOKS.glob("*.ipynb"))
    assert readme.with_table(read("README.md"), paths) == read("README.md"), "run `python run.py readme`"


def test_site_builds_without_a_warning_and_asks_no_other_host():
    built = subprocess.run([sys.executable, "tools/docs.py"], cwd=ROOT, capture_output=True, text=True)
    assert built.returncode == 0, built.stderr
    pages = list((ROOT / "build/site/html").rglob("*.html"))
    assert len(pages) > len(list(tool.NOTEBOOKS.glob("*.ipynb"))) + 3
    loads = re.compile(r"<(?:script|img|link|iframe)\b[^>]*?(?:src|href)=\"(?:https?:)?//[^\"]*")
    found = {page.name: loads.findall(page.read_text(encoding="utf-8")) for page in pages}
    assert {name: links for name, links in found.items() if links} == {}


def tracked_files():
    """All that git has or would add; every file of interest where this is no git checkout."""
    git = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    try:
        names = subprocess.check_output(git, cwd=ROOT, text=True, stderr=subprocess.DEVNULL).split("\0")[:-1]
        return [ROOT / name for name in names if (ROOT / name).is_file()]
    except (OSError, subprocess.CalledProcessError):
        return [path for path in ROOT.glob("[!.]*/*") if path.is_file()] + [
            path for path in ROOT.iterdir() if path.is_file()
        ]


def test_no_registry_address():
    address = re.compile(rb"pypi\.org|pythonhosted\.org|anaconda\.org|--(extra-)?index-url[ =]")
    assert [path.name for path in tracked_files() if address.search(path.read_bytes())] == []


def test_ruff():
    for task in (["check"], ["format", "--check"]):
        paths = ["run.py", *(name for name in ("keras_gen", "tools", "tests", "benchmarks") if (ROOT / name).is_dir())]
        ruff = subprocess.run([sys.executable, "-m", "ruff", *task, *paths], cwd=ROOT, capture_output=True, text=True)
        assert ruff.returncode == 0, ruff.stdout + ruff.stderr
