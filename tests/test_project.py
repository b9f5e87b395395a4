"""What holds for the project as a whole: its sources, its pins, its ways in."""

import ast
import io
import re
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path
from types import ModuleType

import nbformat
import numpy as np
import pytest
import readme
import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

import keras_gen
import notebooks as tool
import run

ROOT = Path(__file__).resolve().parent.parent
MODULE = sorted((ROOT / "keras_gen").rglob("*.py"))
WORKFLOWS = {path.stem: yaml.safe_load(path.read_text()) for path in (ROOT / ".github" / "workflows").glob("*.yml")}
JOBS = [job for workflow in WORKFLOWS.values() for job in workflow["jobs"].values()]
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
    """Name and syntax tree of what students read: module, examples, trainings, notebooks, the programs in docs/."""
    for path in (*MODULE, *ROOT.glob("examples/*.py"), *ROOT.glob("trainings/*.py")):
        yield path.name, ast.parse(path.read_text(encoding="utf-8"))
    for path in sorted(tool.NOTEBOOKS.glob("*.ipynb")):
        for cell in tool.code_cells(nbformat.read(path, as_version=4)):
            yield f"{path.name}, cell {cell.id}", tool.parse(cell)
    for path in (ROOT / "docs").glob("*.md"):
        for block in re.findall(r"```python\n(.*?)```", path.read_text(encoding="utf-8"), re.DOTALL):
            yield path.name, ast.parse(block)


BACKENDS = {"tensorflow", "jax", "torch"}


def backends_outside_functions(tree):
    """Backends that are imported as soon as the file is."""
    within = {
        id(node) for f in ast.walk(tree) if isinstance(f, ast.FunctionDef) for node in ast.walk(f) if node is not f
    }
    outside = [node for node in ast.walk(tree) if id(node) not in within]
    return BACKENDS & {
        name for node in outside if isinstance(node, ast.Import | ast.ImportFrom) for name in imports(node)
    }


def test_module_knows_keras_and_no_backend():
    """But for one file, where the active one is imported within a function."""
    allowed = {"keras", "numpy", "matplotlib", "sklearn", "scipy", "PIL", "IPython", *sys.stdlib_module_names}
    knowing = {}
    for path in MODULE:
        tree = ast.parse(path.read_text(encoding="utf-8"))
        assert set(imports(tree)) <= allowed | BACKENDS, path.name
        assert not backends_outside_functions(tree), path.name
        if found := BACKENDS & set(imports(tree)):
            knowing[path.name] = found
    assert knowing == {"gradients.py": BACKENDS}


def test_a_backend_outside_a_function_is_found():
    for code in (
        "import jax",
        "from torch import nn",
        "class A:\n    import tensorflow as tf",
        "if True:\n    import jax.numpy",
    ):
        assert backends_outside_functions(ast.parse(code))
    assert not backends_outside_functions(ast.parse("def f():\n    import jax"))


def test_no_old_spelling():
    assert {name: found for name, tree in sources() if (found := old_spellings(tree))} == {}


@pytest.mark.parametrize(
    "code",
    ["Adam(lr=1)", "k.optimizers.Adam(decay=1)", "LeakyReLU(alpha=0.2)", "Dense(1, input_shape=(2,))", "tf.keras.Model",
     "from keras_contrib.layers import X"],
)  # fmt: skip
def test_an_old_spelling_is_found(code):
    assert old_spellings(ast.parse(code))


def test_every_file_has_its_tests():
    """tests/ mirrors keras_gen/."""
    files = [path.relative_to(ROOT / "keras_gen") for path in MODULE if path.name != "__init__.py"]
    missing = [path for path in files if not (ROOT / "tests" / path.parent / f"test_{path.name}").is_file()]
    assert missing == []


def test_readme_and_the_reference_name_every_file():
    """In README's table of the module, and in docs/api.md; a file that they forget is read by nobody."""
    files = [path.relative_to(ROOT / "keras_gen").as_posix() for path in MODULE if path.name != "__init__.py"]
    assert [name for name in files if f"`{name}`" not in read("README.md")] == []
    named = [f".. automodule:: keras_gen.{name.removesuffix('.py').replace('/', '.')}\n" for name in files]
    assert [name for name in named if name not in read("docs/api.md")] == []


def test_readme_is_short_and_begins_with_the_way_in():
    text = read("README.md")
    assert len(text.encode()) <= 12_000
    assert text.index("python run.py demo 01") < 1_200


def test_public_names_are_those_of_the_package():
    assert "loop" in keras_gen.__all__ and "numpy" not in keras_gen.__all__
    assert [name for name in keras_gen.__all__ if isinstance(getattr(keras_gen, name), ModuleType)] == []


def test_the_wheel_holds_the_whole_package(wheel):
    """That it works where nothing of the checkout is at hand: test_colab.py."""
    files = {path.relative_to(ROOT).as_posix() for path in MODULE}
    trainings = {f"keras_gen/trainings/{path.name}" for path in (ROOT / "trainings").glob("*.py")}
    models = {f"keras_gen/pretrained_models/{path.name}" for path in (ROOT / "data" / "pretrained").iterdir()}
    with zipfile.ZipFile(io.BytesIO(wheel)) as packed:
        assert {name for name in packed.namelist() if ".dist-info/" not in name} == files | models | trainings


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
    wanted = [*PROJECT["dependencies"]]
    for extra in ("tensorflow", "notebooks", "test", "docs", "jax"):
        wanted += extras[extra]
    for requirement in map(Requirement, wanted):
        if requirement.name == PROJECT["name"]:
            continue  # an extra that includes another one
        versions = locked.get(canonicalize_name(requirement.name), [])
        assert versions, f"{requirement.name}: make requirements.lock again, its head says how"
        assert all(version in requirement.specifier for version, _ in versions), requirement


def test_the_version_is_one():
    cited = yaml.safe_load(read("CITATION.cff"))
    assert cited["version"] == keras_gen.__version__ == tool.colab.tag().removeprefix("v")


def test_conda_environment():
    """It cannot be made here: a Python that is supported, and this project through pip."""
    *packages, pip = yaml.safe_load(read("environment.yml"))["dependencies"]
    (python,) = (package.partition("=")[2] for package in packages if package.startswith("python="))
    assert SpecifierSet(PROJECT["requires-python"]).contains(f"{python}.0")
    assert "-e .[notebooks]" in pip["pip"]


def test_ci_runs_what_there_is_to_run():
    """Every supported Python, and every other way to test but the one that needs a Chromium."""
    supported = SpecifierSet(PROJECT["requires-python"])
    pythons = WORKFLOWS["ci"]["jobs"]["test"]["strategy"]["matrix"]["python"]
    assert pythons == [f"3.{minor}" for minor in range(8, 30) if supported.contains(f"3.{minor}.0")]
    which = {words for job in JOBS for words in job.get("strategy", {}).get("matrix", {}).get("which", [])}
    files = {path.relative_to(ROOT).as_posix() for path in (ROOT / "tests").glob("site*.py")}
    assert which == {*run.OTHER_TESTS, *files, "--nbmake notebooks"} - {"--browser"}


def test_ci_may_only_read_but_for_the_job_that_tells():
    assert all(workflow["permissions"] == {"contents": "read"} for workflow in WORKFLOWS.values())
    assert [job["permissions"] for job in JOBS if "permissions" in job] == [{"issues": "write"}]


def test_ci_takes_actions_by_commit():
    used = [step["uses"] for job in JOBS for step in job["steps"] if "uses" in step]
    assert used and [action for action in used if not re.fullmatch(r"[\w/-]+@[0-9a-f]{40}", action)] == []


def test_readme_and_results_are_those_of_the_stamps():
    paths = sorted(tool.NOTEBOOKS.glob("*.ipynb"))
    assert readme.with_tables(read("README.md"), paths) == read("README.md"), "run `python run.py readme`"
    assert readme.results(paths) == read("docs/results.md"), "run `python run.py readme`"


def test_readmes_pictures_are_the_last_ones_of_the_tagged_cells(tmp_path, monkeypatch):
    monkeypatch.setattr(readme, "walks", lambda **_: [np.zeros((8, 8, 3), np.uint8)] * 2)
    committed = readme.PICTURES
    monkeypatch.setattr(readme, "PICTURES", tmp_path)
    paths = sorted(tool.NOTEBOOKS.glob("*.ipynb"))
    readme.write_pictures(paths)
    for name in [f"{path.stem}.jpg" for path in paths if not tool.is_lab(path)]:
        assert (tmp_path / name).read_bytes() == (committed / name).read_bytes(), "run `python run.py readme`"


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
        paths = ["run.py", "keras_gen", "trainings", "tools", "tests", "benchmarks", "examples"]
        ruff = subprocess.run([sys.executable, "-m", "ruff", *task, *paths], cwd=ROOT, capture_output=True, text=True)
        assert ruff.returncode == 0, ruff.stdout + ruff.stderr
