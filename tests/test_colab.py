"""The notebooks that carry the module, and the links to the project's public home."""

import ast
import base64
import csv
import hashlib
import io
import json
import os
import shutil
import zipfile
from pathlib import Path

import colab
import nbformat
import pytest
from nbclient import NotebookClient

import keras_gen
import notebooks as tool
from notebooks import code_cells, code_hash, parse

PATHS = sorted(tool.NOTEBOOKS.glob("*.ipynb"))
HOME = {"urls": {"Repository": "https://github.com/somebody/course"}}
NO_HOME = {"urls": {"Repository": "https://github.com/OWNER/course"}}


def read(path):
    return nbformat.read(path, as_version=4)


def wheel_of(cell):
    """The wheel that a cell holds, as bytes; decoded without running the cell."""
    texts = [node.value for node in ast.walk(parse(cell)) if isinstance(node, ast.Constant)]
    return base64.b64decode(max(map(str, texts), key=len))


@pytest.fixture(scope="module")
def copies(tmp_path_factory, wheel):
    """The folder with the copies of all notebooks."""
    folder = tmp_path_factory.mktemp("colab")
    colab.write_copies(PATHS, folder, wheel)
    return folder


@pytest.fixture(params=PATHS, ids=lambda path: path.stem)
def path(request):
    return request.param


# ---- copies that carry the module ----


def test_copy_is_the_notebook_with_one_hidden_cell_more(path, copies):
    notebook, copy = read(path), read(copies / path.name)
    nbformat.validate(copy)
    assert code_hash(copy) == code_hash(notebook)
    cell = copy.cells.pop(1)
    colab.unlink(notebook)
    assert copy == notebook
    first, *rest = cell.source.splitlines()
    assert first.startswith("# @title ") and "keras_gen" in first and max(map(len, rest)) <= 120
    assert cell.cell_type == "code" and cell.outputs == [] and cell.execution_count is None
    assert cell.metadata["jupyter"]["source_hidden"] and cell.metadata["cellView"] == "form"


def test_copy_stays_in_its_own_folder(path, copies):
    """What lies above is another's on a JupyterHub, and lost on Kaggle."""
    cells = [cell for cell in code_cells(read(copies / path.name)) if cell.id != "module"]
    nodes = [node for cell in cells for node in ast.walk(parse(cell))]
    texts = [node.value for node in nodes if isinstance(node, ast.Constant) and isinstance(node.value, str)]
    assert [text for text in texts if ".." in Path(text).parts] == []


def test_copy_is_small_enough_to_upload(path, copies):
    assert (copies / path.name).stat().st_size < 12e6


def test_wheel_holds_the_module_and_the_models_that_the_notebook_names(path, copies):
    notebook = read(path)
    nodes = [node for cell in code_cells(notebook) for node in ast.walk(parse(cell))]
    named = {node.value for node in nodes if isinstance(node, ast.Constant) and isinstance(node.value, str)}
    judges = (
        {f"judge_{name}" for name in named}
        if {"train_judge", "load_judge"} & {getattr(n, "attr", "") for n in nodes}
        else set()
    )
    models = {file.name for file in colab.MODELS.iterdir() if file.stem in named | judges}
    files = {file.relative_to(colab.ROOT).as_posix() for file in (colab.ROOT / "keras_gen").rglob("*.py")}
    with zipfile.ZipFile(io.BytesIO(wheel_of(read(copies / path.name).cells[1]))) as wheel:
        packed = {name for name in wheel.namelist() if ".dist-info/" not in name}
        trainings = {f"keras_gen/trainings/{file.name}" for file in (colab.ROOT / "trainings").glob("*.py")}
        assert packed == files | trainings | {f"keras_gen/pretrained_models/{name}" for name in models}
        for name in packed:
            original = colab.MODELS / Path(name).name
            if name.endswith(".py"):
                original = colab.ROOT / name.replace("keras_gen/trainings/", "trainings/")
            assert wheel.read(name) == original.read_bytes()
        (record,) = (name for name in wheel.namelist() if name.endswith("RECORD"))
        recorded = {row[0]: row[1] for row in csv.reader(wheel.read(record).decode().splitlines())}
        assert recorded.keys() == set(wheel.namelist())
        for name in packed:
            digest = base64.urlsafe_b64encode(hashlib.sha256(wheel.read(name)).digest()).decode().rstrip("=")
            assert recorded[name] == f"sha256={digest}"


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("kg.load_pretrained('faces_vae')", ["faces_vae"]),
        ('DATASET = "digits" if QUICK else "mnist"\njudge = kg.train_judge(DATASET)', ["judge_digits", "judge_mnist"]),
        ('kg.load_judge("faces")', ["judge_faces"]),
        ('kg.load_dataset("digits")', []),
        ("# what faces_vae would say", []),
        ("kg.train_judge(DATASET)", []),
    ],
)
def test_models_of_a_notebook(code, expected, tmp_path, monkeypatch):
    for name in ("faces_generator", "faces_vae", "judge_digits", "judge_mnist", "judge_faces"):
        (tmp_path / f"{name}.npz").touch()
    monkeypatch.setattr(colab, "MODELS", tmp_path)
    notebook = nbformat.v4.new_notebook(
        cells=[nbformat.v4.new_markdown_cell('"faces_generator"'), nbformat.v4.new_code_cell(code)]
    )
    assert [path.stem for path in colab.models_of(notebook)] == expected


def test_the_first_cell_is_all_that_the_module_needs(copies, tmp_path):
    """In a kernel that knows nothing of the checkout; the module then comes from where the cell put it, all of it."""
    (path,) = (path for path in PATHS if path.stem == "05_latent_space")
    (tmp_path / "keras_gen.py").write_text("raise ImportError('another one lies where the notebook runs')")
    probe = """
        import json
        import keras_gen as kg

        files = [m.__file__ for name, m in sys.modules.items() if name.split(".")[0] == "keras_gen"]
        shapes = [kg.load_pretrained("faces_generator").output_shape, kg.load_dataset("digits")[0][0].shape]
        print(json.dumps({"folder": folder, "files": files, "shapes": shapes}))
    """
    cells = [read(copies / path.name).cells[1], nbformat.v4.new_code_cell(probe)]
    notebook = nbformat.v4.new_notebook(cells=cells)
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    client = NotebookClient(notebook, kernel_name="python3", resources={"metadata": {"path": str(tmp_path)}})
    client.execute(env=environment | dict.fromkeys(("TMPDIR", "TEMP", "TMP"), str(tmp_path)))
    known = json.loads(notebook.cells[1].outputs[-1].text)
    assert Path(known["folder"]).parent == tmp_path
    assert len(known["files"]) > 10 and all(file.startswith(known["folder"]) for file in known["files"])
    assert known["shapes"] == [[None, 32, 32, 3], [1437, 28, 28, 1]]


def test_a_wheel_that_cannot_be_built_says_why(monkeypatch):
    monkeypatch.setattr(colab, "BUILD_WHEEL", "raise ModuleNotFoundError('setuptools')")
    with pytest.raises(SystemExit, match=r"could not be built(.|\n)*setuptools"):
        colab.build_wheel()


# ---- the public address ----


@pytest.fixture
def tiny(tmp_path):
    """A notebook that has run, without links."""
    shown = nbformat.v4.new_output("execute_result", {"text/plain": "2"}, execution_count=2)
    cells = [
        nbformat.v4.new_markdown_cell("# Tiny\n\nText.", id="title"),
        nbformat.v4.new_code_cell("x = 1", id="one", execution_count=1),
        nbformat.v4.new_code_cell("x + 1", id="two", execution_count=2, outputs=[shown]),
    ]
    path = tmp_path / "tiny.ipynb"
    nbformat.write(nbformat.v4.new_notebook(cells=cells), path)
    return path


def counts(notebook):
    cells = code_cells(notebook)
    return [cell.execution_count for cell in cells], [
        output.execution_count for cell in cells for output in cell.outputs
    ]


def test_committed_notebooks_are_as_links_leaves_them(path, tmp_path):
    copy = Path(shutil.copy(path, tmp_path))
    colab.link(copy)
    assert copy.read_text(encoding="utf-8") == path.read_text(encoding="utf-8"), "run `python run.py links`"
    if not colab.has_home():
        assert "colab.research.google.com" not in path.read_text(encoding="utf-8")


def test_links_open_and_install_one_commit_and_leave_the_hash(tiny, monkeypatch):
    before, text = read(tiny), tiny.read_text(encoding="utf-8")
    monkeypatch.setattr(colab, "project", lambda: HOME)
    for _ in range(2):  # the second time changes nothing
        colab.link(tiny)
        notebook = read(tiny)
        opened = f"colab.research.google.com/github/somebody/course/blob/v{keras_gen.__version__}/notebooks/tiny.ipynb)"
        assert notebook.cells[0].source.startswith("# Tiny\n\nText.\n\n[![Open in Colab](")
        assert notebook.cells[0].source.endswith(opened) and notebook.cells[0].source.count("Open in Colab") == 1
        install = notebook.cells[1]
        assert install.source.endswith(
            f"https://github.com/somebody/course/archive/refs/tags/v{keras_gen.__version__}.tar.gz"
        )
        assert install.metadata["tags"] == ["colab"] and 'if "google.colab" in sys.modules:' in install.source
        assert [cell.source for cell in notebook.cells[2:]] == ["x = 1", "x + 1"]
        assert counts(notebook) == ([1, 2, 3], [3])
        assert code_hash(notebook) == code_hash(before)
        parse(install)  # valid where IPython's magics are
    monkeypatch.setattr(colab, "project", lambda: NO_HOME)
    colab.link(tiny)
    assert tiny.read_text(encoding="utf-8") == text


def test_links_invent_no_run(tiny, monkeypatch):
    notebook = read(tiny)
    for cell in code_cells(notebook):
        cell.execution_count, cell.outputs = None, []
    nbformat.write(notebook, tiny)
    monkeypatch.setattr(colab, "project", lambda: HOME)
    colab.link(tiny)
    assert counts(read(tiny)) == ([None] * 3, [])


def test_a_copy_of_a_linked_notebook_has_no_link(tiny, tmp_path, monkeypatch, wheel):
    plain = read(tiny)
    with monkeypatch.context() as patch:
        patch.setattr(colab, "project", lambda: HOME)
        colab.link(tiny)
    colab.write_copies([tiny], tmp_path / "copies", wheel)
    copy = read(tmp_path / "copies" / "tiny.ipynb")
    assert copy.cells.pop(1).id == "module" and copy == plain


def test_readme_gets_the_address_where_there_is_one(monkeypatch):
    lines = "```bash\n{}cd keras_gen\npython run.py demo\n```\nOnce more: cd keras_gen\n"
    for address in ("", "git clone https://github.com/a/b && "):
        monkeypatch.setattr(colab, "project", lambda: HOME)
        assert colab.link_readme(lines.format(address)) == lines.format(
            "git clone https://github.com/somebody/course && "
        )
        monkeypatch.setattr(colab, "project", lambda: NO_HOME)
        assert colab.link_readme(lines.format(address)) == lines.format("")
