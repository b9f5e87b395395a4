"""The rules of the notebooks, and the tools that run and publish them. `test_quick.py` runs the notebooks."""

import ast
import base64
import io
import json
import re
import runpy
import subprocess
import sys
import time
import tomllib
from pathlib import Path

import colab
import matplotlib.pyplot as plt
import nbformat
import numpy as np
import pytest
import readme
import student
from PIL import Image

import notebooks as tool
from notebooks import code_cells, code_hash, parse

PATHS = sorted(tool.NOTEBOOKS.glob("*.ipynb"))
QUICK_LINE = 'QUICK = os.environ.get("KERAS_GEN_QUICK") == "1"  # set by the tests; leave it alone'
ABSOLUTE_PATH = re.compile(r"(?<![\w.])/(home|root|work|Users|tmp|content|usr|opt)/|\b[A-Za-z]:\\")
WORD = r"[a-z]+\d{0,2}|\d{1,3}"


@pytest.fixture(params=PATHS, ids=lambda path: path.stem)
def path(request):
    return request.param


@pytest.fixture
def notebook(path):
    return nbformat.read(path, as_version=4)


def tags(cell):
    return cell.metadata.get("tags", [])


def code_lines(cell):
    return [line for line in cell.source.splitlines() if line.strip()]


# ---- what a notebook's source must look like ----


def test_title_and_parameters_come_first(notebook):
    """Between them stands Colab's install cell, once the project has a public home: see test_colab.py."""
    title, parameters = notebook.cells[0], notebook.cells[1 + colab.has_home()]
    assert title.cell_type == "markdown" and title.source.startswith("# ")
    assert [cell.id for cell in notebook.cells if "parameters" in tags(cell)] == [parameters.id]
    assert QUICK_LINE in parameters.source.splitlines()


def test_only_the_quick_line_reads_the_environment(notebook):
    reads = [cell.source for cell in code_cells(notebook) if re.search(r"\benviron\b|\bgetenv\b", cell.source)]
    assert len(reads) == 1 and len(re.findall("environ|getenv", reads[0])) == 1 and QUICK_LINE in reads[0]


def test_the_module_is_kg_and_nothing_else(notebook):
    nodes = [node for cell in code_cells(notebook) for node in ast.walk(parse(cell))]
    imports = [ast.unparse(node) for node in nodes if isinstance(node, ast.Import | ast.ImportFrom)]
    assert [line for line in imports if "keras_gen" in line] == ["import keras_gen as kg"]


def test_size(notebook, path):
    """Nodes and words: a cap of lines would be met by packing."""
    lengths = {cell.id: len(code_lines(cell)) for cell in code_cells(notebook)}
    assert min(lengths.values()) > 0, "an empty code cell gets no number when it runs"
    assert {name: length for name, length in lengths.items() if length > 45} == {}
    if path.stem in tool.SECOND_EDITIONS:
        return
    assert tool.count_nodes(notebook) <= (3_000 if tool.is_lab(path) else 2_400)
    prose = " ".join(cell.source for cell in notebook.cells if cell.cell_type == "markdown")
    assert len(prose.split()) <= 2_500
    assert [line for cell in code_cells(notebook) for line in cell.source.splitlines() if len(line) > 88] == []


def test_a_lesson_has_a_program_and_soon_a_picture(notebook, path):
    """The program is run by test_programs.py. `first-picture`: the first that a trained model draws."""
    if path.stem in tool.SECOND_EDITIONS or tool.is_lab(path):
        return
    assert [cell.id for cell in notebook.cells if "program" in tags(cell)]
    (place,) = (place for place, cell in enumerate(notebook.cells) if "first-picture" in tags(cell))
    assert place < len(notebook.cells) / 2
    kinds = {kind for output in notebook.cells[place].outputs for kind in output.get("data", {})}
    assert any(kind.startswith("image/") for kind in kinds)


def test_a_lab_belongs_to_a_lesson(path):
    if tool.is_lab(path):
        assert path.with_name(path.name.replace("_lab.ipynb", ".ipynb")) in PATHS


def test_second_editions_are_there():
    """Whoever takes one off the list makes it a lesson, or a lesson and a lab, and takes it out of ruff's settings."""
    assert set(tool.SECOND_EDITIONS) <= {path.stem for path in PATHS}
    settings = tomllib.loads((tool.NOTEBOOKS / "ruff.toml").read_text(encoding="utf-8"))
    names = [f"{name}.ipynb" for name in tool.SECOND_EDITIONS]
    assert settings["format"]["exclude"] == names
    ignoring = "".join(settings["lint"]["per-file-ignores"])
    assert re.findall(r"\d\d_\w+", ignoring) == tool.SECOND_EDITIONS


def test_nodes_are_counted_whatever_the_lines_look_like():
    def nodes(source):
        return tool.count_nodes(nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(source)]))

    # The assignment, the name x, the call, f, 1, the keyword and its value; contexts and operators do not count.
    assert nodes("x = f(1, k=2)") == nodes("x = f(\n    1,  # one\n    k=2,\n)") == 7
    assert nodes("def f(a): return a") == 4  # with its argument, the return and the name
    assert nodes("a = 1; b = 2") == nodes("a = 1\nb = 2") == 6


def test_no_cell_may_fail(notebook):
    """Both switches would turn a broken notebook green."""
    assert not notebook.metadata.get("execution", {}).get("allow_errors")
    assert [cell.id for cell in notebook.cells if "raises-exception" in tags(cell)] == []


def test_cell_ids_are_words(notebook):
    ids = [cell.id for cell in notebook.cells]
    assert [name for name in ids if not re.fullmatch(rf"({WORD})(-({WORD}))*", name)] == []
    assert len(set(ids)) == len(ids)


def test_closing_sections(notebook):
    prose = "\n".join(cell.source for cell in notebook.cells if cell.cell_type == "markdown")
    for section in ("What you should see", "If it fails", "Exercises"):
        assert re.search(rf"^#+ .*{section}", prose, re.MULTILINE), section


def test_last_cell_builds_results_and_asserts(notebook):
    nodes = list(ast.walk(parse(code_cells(notebook)[-1])))
    assert any(
        isinstance(node, ast.Name) and node.id == "RESULTS" and isinstance(node.ctx, ast.Store) for node in nodes
    )
    assert any(isinstance(node, ast.Assert) for node in nodes)


def names(notebook):
    """The names that the code reads, and those that it assigns, imports or defines."""
    read, made = set(), set()
    for node in (node for cell in code_cells(notebook) for node in ast.walk(parse(cell))):
        if isinstance(node, ast.Name):
            (read if isinstance(node.ctx, ast.Load) else made).add(node.id)
        elif isinstance(node, ast.FunctionDef | ast.ClassDef | ast.alias):
            made.add(getattr(node, "asname", None) or node.name)
        elif isinstance(node, ast.arg):
            made.add(node.arg)
    return read, made


def test_students_version_has_exercises_and_needs_no_solution(notebook):
    read, made = names(notebook)
    from_elsewhere = read - made  # built in
    assert student.without_solutions(notebook) >= 2
    assert not any(re.search("SOLUTION|[*]Solution", cell.source) or cell.get("outputs") for cell in notebook.cells)
    assert notebook.metadata.keys() <= {"kernelspec", "language_info"}
    read, made = names(notebook)
    assert read - made <= from_elsewhere, "made in a solution only"


# ---- what is stored in it ----


def test_published_with_this_code(notebook, path):
    stamp = notebook.metadata.get("keras_gen", {})
    command = f"run `python run.py publish notebooks/{path.name}`"
    assert stamp, f"{path.name} was never published: {command}"
    assert stamp["profile"] == "full"
    fresh = stamp["code_hash"] == code_hash(notebook)
    if path.stem in tool.WAITING:
        assert not fresh, f"{path.name}'s outputs are of this code: take it off WAITING in tools/notebooks.py"
    else:
        assert fresh, f"{path.name}'s outputs are of other code: {command}, or put it on WAITING in tools/notebooks.py"
    assert {"data_set", "seed", "seconds", "device", "versions"} <= stamp.keys()
    assert re.fullmatch("[0-9a-f]{7,40}(-dirty)?", stamp["commit"])
    assert stamp["results"] and "null" not in json.dumps(stamp["results"]), "RESULTS is empty or holds NaN"


def test_waiting_names_notebooks():
    assert [name for name in tool.WAITING if name not in {path.stem for path in PATHS}] == []


def test_what_is_said_of_the_results_is_filled_in_by_them(notebook, path):
    said, stamp = notebook.metadata["readme"], notebook.metadata["keras_gen"]
    short = [] if tool.is_lab(path) else [said["result"]]
    for line in (*short, *(cells[1] for cells in said["results"]), *(value for _, value in said.get("nats", ()))):
        assert readme.filled(line, stamp["results"]) != line, f"it names no result: {line}"
    assert {len(cells) for cells in said["results"]} == {4}  # measured, here, the reference, its source


def test_results_are_found_by_name_by_number_and_by_place():
    results = {"gap": {"50": {"of two": [1.0, 3.25]}}, "score": 2.0}
    assert readme.filled("{score:.0f}, {gap[50][of two][1]:.2f}", results) == "2, 3.25"


def published(folder, name, title, score):
    notebook = nbformat.read(write(folder / f"{name}.ipynb", PARAMETERS), as_version=4)
    notebook.cells[0].source = f"# {title}"
    notebook.metadata.readme = {
        "result": "score {score}",
        "results": [["a score", "{score:.1f}", "7", "Somebody 2020"]],
    }
    notebook.metadata.keras_gen = {
        "data_set": "mnist", "seed": 1, "seconds": 120, "device": "2 CPU cores", "versions": {"keras": "3"},
        "results": {"score": score},
    }  # fmt: skip
    nbformat.write(notebook, folder / f"{name}.ipynb")
    return folder / f"{name}.ipynb"


def test_readmes_likelihoods_stand_in_their_order_whatever_the_notebook(tmp_path):
    scores = {"07_a": 9.5, "08_b": 12.0, "08_c": 1}
    paths = [published(tmp_path, name, "A title", score) for name, score in scores.items()]
    of_each = [["few", "{score:.1f}"]], [["none", "{score:.1f}"], ["many", "1.25"]], []
    for path, rows in zip(paths, of_each, strict=True):
        notebook = nbformat.read(path, as_version=4)
        notebook.metadata.readme["nats"] = rows
        nbformat.write(notebook, path)
    rows = readme.nats(paths).splitlines()[-3:]
    here = [f"[{name[:2]}](notebooks/{name}.ipynb)" for name in ("08_b", "07_a", "08_b")]
    assert rows == [f"| none | 12.0 | {here[0]} |", f"| few | 9.5 | {here[1]} |", f"| many | 1.25 | {here[2]} |"]
    assert readme.nats(paths) in readme.tables(paths)


def test_readme_has_a_line_a_lesson_and_the_results_a_table_a_notebook(tmp_path, monkeypatch):
    paths = [published(tmp_path, name, *rest) for name, *rest in (("07_a", "First", 6.25), ("07_a_lab", "Lab", 8.0))]
    for waiting in ([], ["07_a_lab"]):
        monkeypatch.setattr(readme, "WAITING", waiting)
        text = f"before\n{readme.BEGIN}old\n{readme.END}after\n"
        page = readme.with_tables(text, paths)
        assert page.startswith(f"before\n{readme.BEGIN}\n### II.") and page.endswith(f"{readme.END}after\n")
        mark = " †" if waiting else ""
        wanted = f"| [07 First](notebooks/07_a.ipynb), [lab](notebooks/07_a_lab.ipynb){mark} | score 6.25 | 2 min |"
        assert wanted in page and page.count("notebooks/07_a") == 2 and "old" not in page
        assert (readme.NOTE in page) == bool(waiting) and "in nats" not in page
        assert readme.with_tables(page, paths) == page
    results = readme.results(paths)
    assert "## [07: First](../notebooks/07_a.ipynb)\n\nmnist, seed 1, 2 minutes on 2 CPU cores; keras 3" in results
    assert "| a score | 6.2 | 7 | Somebody 2020 |" in results and "## [07, lab: Lab]" in results


def test_19_and_its_lab_quote_the_other_models_as_they_were_published():
    lessons = ("02_vae", "04_conditional_gan", "07_why_gans_fail", "08_one_line_of_loss")
    names = (*lessons, "02_vae_lab", "05_latent_space_lab")
    two, four, seven, eight, two_lab, five = (
        nbformat.read(tool.NOTEBOOKS / f"{name}.ipynb", as_version=4).metadata["keras_gen"]["results"] for name in names
    )
    vae, autoencoder = two["codes_by_density"]["VAE"], two["codes_by_density"]["autoencoder"]
    in_02_lab = two_lab["feature_distance"]
    learned = [in_02_lab[f"conv, learned prior, seed {i}"] for i in (1, 2, 3)]
    in_lesson = {
        "a plain convolutional GAN (07)": seven["vanilla_feature_distance"],
        "autoencoder, N(0, I) (02)": autoencoder["prior"],
        "VAE, prior N(0, I) (02)": vae["prior"],
        "VAE, mixture of Gaussians (02)": vae["50 Gaussians"],
        "VAE, learned prior, best of three (02)": min(learned),
        "GAN, best of 30 runs (08)": min(min(runs) for runs in eight["feature_distance"].values()),
        "conditional GAN, ten epochs (04)": four["feature_distance"],
        "conditional GAN, shipped (04)": four["feature_distance_shipped"],
    }
    in_lab = {
        "autoencoder, N(0, I)": autoencoder["prior"],
        "autoencoder, fitted Gaussian": autoencoder["1 Gaussians"],
        "VAE, N(0, I)": vae["prior"],
        "VAE, fitted Gaussian": vae["1 Gaussians"],
        "VAE, fitted mixture": vae["50 Gaussians"],
        "VAE, convolutions, N(0, I)": in_02_lab["conv"],
        "VAE, dense, learned prior": in_02_lab["dense, learned prior"],
        "VAE, convolutions, learned prior": np.mean(learned),
        "07's": seven["vanilla_feature_distance"],
        "ten epochs": four["feature_distance"],
        "shipped": four["feature_distance_shipped"],
    } | {loss: np.mean(runs) for loss, runs in eight["feature_distance"].items()}
    for name, published in {"19_diffusion": in_lesson, "19_diffusion_lab": in_lab}.items():
        assert quoted_by(name) == {row: round(value, 1) for row, value in published.items()}

    lab = nbformat.read(tool.NOTEBOOKS / "19_diffusion_lab.ipynb", as_version=4)
    (faces,) = (cell.source for cell in lab.cells if cell.id == "super-text")
    for name, value in five["feature_distance"].items():
        assert name == "real images" or f"{value:.1f} ({name})" in faces


def quoted_by(name):
    """Others' numbers in the cell `others`: a line `* where: a name 1.2; another name 3.4.`"""
    notebook = nbformat.read(tool.NOTEBOOKS / f"{name}.ipynb", as_version=4)
    (source,) = (cell.source for cell in notebook.cells if cell.id == "others")
    rows = [row for line in source.splitlines() for row in line.split(": ", 1)[1].removesuffix(".").split("; ")]
    return {row.rsplit(" ", 1)[0]: float(row.rsplit(" ", 1)[1]) for row in rows}


def test_outputs_are_clean(notebook, path):
    cells = code_cells(notebook)
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1))
    assert any(cell.outputs for cell in cells)
    for cell in cells:
        for output in cell.outputs:
            assert output.output_type != "error", cell.id
            assert output.get("name") != "stderr", cell.id
            texts = [output.get("text", "")]
            texts += [str(value) for kind, value in output.get("data", {}).items() if not kind.startswith("image/")]
            for text in texts:
                assert not ABSOLUTE_PATH.search(re.sub(r"data:[\w/+;-]+,[\w+/=]*", "", text)), cell.id
    assert "widgets" not in notebook.metadata
    assert path.stat().st_size < 1.5e6
    nbformat.validate(notebook)


def test_ruff_on_notebooks(path):
    """By notebooks/ruff.toml, which has 88 columns; second editions have the 120 of the rest of the project."""
    width = ["--line-length", "120"] if path.stem in tool.SECOND_EDITIONS else []
    for task in (["check", *width], ["format", "--check", *width]):
        ruff = subprocess.run([sys.executable, "-m", "ruff", *task, path], capture_output=True, text=True)
        assert ruff.returncode == 0, ruff.stdout + ruff.stderr


# ---- the tools ----

PARAMETERS = 'import os\nQUICK = os.environ.get("KERAS_GEN_QUICK") == "1"\nDATASET = "dots"\nSEED = 7'
PICTURE = (
    "import base64\nfrom IPython.display import Image\n"
    "Image(base64.b64decode('R0lGODlhAQABAAAAACwAAAAAAQABAAA='), format='gif')"
)


def write(path, *sources):
    cells = [nbformat.v4.new_markdown_cell("# Tiny", id="title")]
    cells += [nbformat.v4.new_code_cell(source, id=f"cell-{index}") for index, source in enumerate(sources)]
    nbformat.write(nbformat.v4.new_notebook(cells=cells), path)
    return path


def changed(notebook, index, source):
    copy = nbformat.from_dict(notebook)
    copy.cells[index].source = source
    return copy


def test_publish_stores_outputs_and_stamp(tmp_path, monkeypatch):
    monkeypatch.setenv("KERAS_GEN_QUICK", "1")  # must not reach a full run
    monkeypatch.setattr(tool, "WAITING", ["tiny"])
    path = write(
        tmp_path / "tiny.ipynb",
        PARAMETERS,
        "import sys\nprint('QUICK', QUICK)\nprint('chatter', file=sys.stderr)",
        PICTURE,
        "import numpy as np\nRESULTS = {'score': np.float32(0.5), 'by_class': {'a': np.arange(2)}, 'lost': np.nan}",
    )
    notebook = nbformat.read(path, as_version=4)
    notebook.metadata.readme = {"result": "score {score}"}
    nbformat.write(notebook, path)
    told = []
    tool.publish(path, commit="abc1234", tell=told.append)
    notebook = nbformat.read(path, as_version=4)
    assert notebook.metadata.readme == {"result": "score {score}"}
    stamp = notebook.metadata.keras_gen
    assert list(stamp) and stamp.profile == "full" and stamp.data_set == "dots" and stamp.seed == 7
    assert stamp.commit == "abc1234" and stamp.code_hash == code_hash(notebook)
    assert stamp.results == {"score": 0.5, "by_class": {"a": [0, 1]}, "lost": None}
    assert stamp.seconds > 0 and "CPU core" in stamp.device and {"python", "numpy"} <= stamp.versions.keys()
    assert [cell.execution_count for cell in code_cells(notebook)] == [1, 2, 3, 4]
    assert notebook.cells[2].outputs == [{"name": "stdout", "output_type": "stream", "text": "QUICK False\n"}]
    assert len(notebook.cells) == 5 and not any("execution" in cell.metadata for cell in notebook.cells)
    assert "chatter" in "".join(told), "what is dropped from the notebook is shown to its author"
    assert "take tiny off WAITING" in "".join(told)
    assert " left" not in "".join(told)  # it never ran before


def test_publish_estimates_what_is_left_from_the_last_time(tmp_path, monkeypatch):
    path = write(tmp_path / "tiny.ipynb", PARAMETERS, "RESULTS = {'x': 1}")
    notebook = nbformat.read(path, as_version=4)
    notebook.metadata.keras_gen = {"seconds": 4000}
    nbformat.write(notebook, path)
    clock = iter((0, 155, 4088, 4200))
    monkeypatch.setattr(tool.time, "perf_counter", lambda: next(clock))

    def execute(notebook, path, quick, at_cell):
        for number, cell in enumerate(code_cells(notebook), start=1):
            at_cell(number, 2, cell)
        return {"results": {}}

    monkeypatch.setattr(tool, "execute", execute)
    told = []
    tool.publish(path, commit="abc1234", tell=told.append)
    assert "64:05 left" in told[0] and "left" not in told[1]


def test_log_lines_of_tensorflow_are_no_output():
    def stream(name, text):
        return nbformat.v4.new_output("stream", name=name, text=text)

    log = "WARNING:tensorflow:5 out of the last 9 calls triggered retracing. https://example.org\n"
    outputs = tool.without_chatter(
        [stream("stdout", f"before\nD: 1; {log}G: 2\n"), stream("stdout", log), stream("stderr", "x")]
    )
    assert [output.text for output in outputs] == ["before\nD: 1; G: 2\n"]


@pytest.mark.parametrize(("kind", "share"), [("png", 0.7), ("jpeg", 0.95)])
def test_published_figures_are_small_and_look_the_same(kind, share):
    figure, axes = plt.subplots(figsize=(4, 3))
    axes.plot(np.sin(np.linspace(0, 9, 100)))
    buffer = io.BytesIO()
    figure.savefig(buffer, format=kind)
    stored = base64.b64encode(buffer.getvalue()).decode()
    (output,) = tool.with_small_pictures([nbformat.v4.new_output("display_data", {f"image/{kind}": stored})])
    assert len(output.data[f"image/{kind}"]) < share * len(stored)
    before, after = (
        np.asarray(Image.open(io.BytesIO(base64.b64decode(data))).convert("RGB"), float)
        for data in (stored, output.data[f"image/{kind}"])
    )
    assert before.shape == after.shape and np.abs(before - after).mean() < 1


def test_only_large_jpegs_lose_quality(monkeypatch):
    noise, sizes = Image.effect_noise((100, 100), 50), []
    noise.save(buffer := io.BytesIO(), "jpeg", quality=95)
    stored = base64.b64encode(buffer.getvalue()).decode()
    for limit in (len(stored), len(stored) - 1):
        monkeypatch.setattr(tool, "LARGE_JPEG", limit)
        (output,) = tool.with_small_pictures([nbformat.v4.new_output("display_data", {"image/jpeg": stored})])
        sizes.append(len(output.data["image/jpeg"]))
    assert sizes[0] > 0.8 * len(stored) and sizes[1] < 0.65 * len(stored)


def test_publish_leaves_a_failing_notebook_alone(tmp_path, monkeypatch):
    monkeypatch.setattr(tool, "BUILD", tmp_path / "build")
    path = write(tmp_path / "tiny.ipynb", PARAMETERS, "print('so far')", "1 / 0", "RESULTS = {}")
    notebook = nbformat.read(path, as_version=4)
    notebook.cells.insert(1, nbformat.v4.new_markdown_cell("Prose", id="prose"))
    nbformat.write(notebook, path)
    before = path.read_bytes()
    with pytest.raises(tool.NotebookFailed, match=r"in cell 4:(.|\n)*1 / 0(.|\n)*ZeroDivisionError"):
        tool.publish(path, commit="abc1234", tell=lambda text: None)
    assert path.read_bytes() == before
    assert "so far" in (tmp_path / "build/unpublished_tiny.ipynb").read_text(encoding="utf-8")


def test_waiting_threads_of_a_kernel_sleep(monkeypatch):
    monkeypatch.delenv("OMP_WAIT_POLICY", raising=False)
    assert tool.kernel_environment(quick=False)["OMP_WAIT_POLICY"] == "PASSIVE"
    monkeypatch.setenv("OMP_WAIT_POLICY", "ACTIVE")
    assert tool.kernel_environment(quick=True)["OMP_WAIT_POLICY"] == "ACTIVE"


def test_a_kernel_sees_no_settings_for_other_projects(monkeypatch, tmp_path):
    """In the real thing: a module that shadows NumPy, a start-up file, and Keras's own file of settings."""
    (tmp_path / "numpy.py").write_text("raise ImportError('foreign')")
    startup, settings = tmp_path / "profile_default" / "startup", tmp_path / ".keras"
    for folder in (startup, settings):
        folder.mkdir(parents=True)
    (startup / "mine.py").write_text("SEED = 'foreign'")
    (settings / "keras.json").write_text('{"backend": "nowhere", "image_data_format": "channels_first"}')
    monkeypatch.delenv("KERAS_BACKEND", raising=False)
    for name in ("PYTHONPATH", "IPYTHONDIR", "KERAS_HOME"):
        monkeypatch.setenv(name, str(settings if name == "KERAS_HOME" else tmp_path))
    (tmp_path / "notebooks").mkdir()
    path = write(
        tmp_path / "notebooks" / "tiny.ipynb",
        f"known = sorted(name for name in globals() if name == 'SEED')\n{PARAMETERS}\nimport keras",
        "RESULTS = {'known': known, 'backend': keras.config.backend(), 'format': keras.config.image_data_format()}",
    )
    results = tool.execute(nbformat.read(path, as_version=4), path, quick=True)["results"]
    assert results == {"known": [], "backend": "tensorflow", "format": "channels_last"}


def test_a_kernel_has_the_backend_that_the_environment_names(monkeypatch):
    monkeypatch.setenv("KERAS_BACKEND", "jax")
    assert tool.kernel_environment(quick=True)["KERAS_BACKEND"] == "jax"
    monkeypatch.delenv("KERAS_BACKEND")
    assert tool.kernel_environment(quick=False)["KERAS_BACKEND"] == "tensorflow"  # not keras.json's
    monkeypatch.setenv("KERAS_HOME", "/mine")
    assert tool.kernel_environment(quick=False)["KERAS_HOME"] == "/mine"  # a full run finds the user's data sets


def test_a_kernel_that_does_not_start_is_named(tmp_path, monkeypatch):
    def silent(client, **options):
        raise RuntimeError("Kernel didn't respond in 60 seconds")

    monkeypatch.setattr(tool.NotebookClient, "setup_kernel", silent)
    path = write(tmp_path / "tiny.ipynb", PARAMETERS, "RESULTS = {}")
    with pytest.raises(tool.NotebookFailed, match=r"did not start.*60 seconds"):
        tool.execute(nbformat.read(path, as_version=4), path, quick=True)


def test_a_dead_kernel_is_named(tmp_path):
    path = write(tmp_path / "tiny.ipynb", PARAMETERS, "os._exit(1)", "RESULTS = {}")
    notebook = nbformat.read(path, as_version=4)
    with pytest.raises(tool.NotebookFailed, match=r"the kernel died .* in cell 2:\nos._exit"):
        tool.execute(notebook, path, quick=True)
    assert len(notebook.cells) == 4


def test_a_cell_that_hangs_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr(tool, "CELL_SECONDS", 1)
    path = write(tmp_path / "tiny.ipynb", PARAMETERS, "import time\ntime.sleep(60)", "RESULTS = {}")
    with pytest.raises(tool.NotebookFailed, match=r"cell 2 was not done after 1 s:\nimport time"):
        tool.execute(nbformat.read(path, as_version=4), path, quick=True)


def test_publish_asks_for_the_stamp_before_it_runs(tmp_path, monkeypatch):
    monkeypatch.setattr(tool, "BUILD", tmp_path / "build")
    path = write(tmp_path / "tiny.ipynb", PARAMETERS)
    with pytest.raises(tool.NotebookFailed, match="no cell assigns RESULTS"):
        tool.publish(path, commit="abc1234")


def test_publish_keeps_prose_that_was_edited_meanwhile_and_refuses_other_code(tmp_path, monkeypatch):
    monkeypatch.setattr(tool, "BUILD", tmp_path / "build")
    path = write(tmp_path / "tiny.ipynb", PARAMETERS, "RESULTS = {'x': 1}")
    original = nbformat.read(path, as_version=4)
    tool.BUILD.mkdir()

    def run_while_editing(index, source):
        def execute(notebook, path, quick, tell):
            nbformat.write(changed(original, index, source), path)
            return {"results": {}}

        monkeypatch.setattr(tool, "execute", execute)
        tool.publish(path, commit="abc1234", tell=lambda text: None)

    run_while_editing(0, "# A better title")
    published = nbformat.read(path, as_version=4)
    assert published.cells[0].source == "# A better title" and "keras_gen" in published.metadata
    with pytest.raises(tool.NotebookFailed, match="the code changed"):
        run_while_editing(2, "RESULTS = {'x': 2}")
    assert "keras_gen" not in nbformat.read(path, as_version=4).metadata


def test_demo_runs_quickly_goes_on_after_a_failure_and_extracts_pictures(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("KERAS_GEN_DATA", "/nowhere")
    good = write(
        tmp_path / "02_good.ipynb",
        PARAMETERS,
        PICTURE,
        "RESULTS = {'quick': QUICK, 'data': os.environ.get('KERAS_GEN_DATA'), 'accuracy': 0.98765}",
    )
    bad = write(tmp_path / "01_bad.ipynb", PARAMETERS, "undefined_name", "RESULTS = {}")
    before = good.read_bytes()
    assert tool.demo([bad, good], tmp_path / "demo") == 1
    out = capsys.readouterr().out
    assert "undefined_name" in out and "NameError" in out and "\x1b" not in out and "\r" not in out
    assert "quick True, data None, accuracy 0.988" in out and "1 of 2" in out
    assert (tmp_path / "demo/02_good/01-cell-1.gif").read_bytes().startswith(b"GIF89a")
    assert code_cells(nbformat.read(tmp_path / "demo/02_good.ipynb", as_version=4))[1].outputs
    assert good.read_bytes() == before


def test_a_demo_replaces_its_own_pictures_and_no_others(tmp_path):
    """Another demo may run at the same time."""
    folder = tmp_path / "demo"
    for name in ("02_other", "03_tiny"):
        (folder / name).mkdir(parents=True)
        (folder / name / "01-old.gif").touch()
    assert tool.demo([write(tmp_path / "03_tiny.ipynb", PARAMETERS, PICTURE, "RESULTS = {'x': 1}")], folder) == 0
    assert [path.name for path in (folder / "03_tiny").iterdir()] == ["01-cell-1.gif"]
    assert [path.name for path in (folder / "02_other").iterdir()] == ["01-old.gif"]


def test_a_demo_that_cannot_write_says_where(tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setattr(tool, "BUILD", tmp_path / "file" / "build")
    assert str(tmp_path / "file" / "build") in tool.main(["demo", "03"])


def test_demo_shows_on_a_terminal_where_it_is(tmp_path, monkeypatch, capsys):
    def execute(notebook, path, quick, at_cell):
        at_cell(2, 3, None)
        time.sleep(1.5)  # what is shown on the line is renewed every second
        return {"results": {"x": 1}}

    path = write(tmp_path / "03_slow.ipynb", PARAMETERS)
    monkeypatch.setattr(tool, "execute", execute)
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    assert tool.demo([path], tmp_path / "demo") == 0
    running, done = capsys.readouterr().out.split("x 1")
    assert "03_slow cell 2 of 3" in running
    assert " cell " not in done, "it is done and no longer shown as running"


def test_demo_runs_the_notebooks_that_are_named():
    names = ("01_autoencoders", "03_dcgan", "03_dcgan_lab", "04_conditional")
    first, third, lab, fourth = notebooks = [Path(f"notebooks/{name}.ipynb") for name in names]
    assert tool.chosen([], notebooks) == notebooks
    assert tool.chosen(["04", "01_autoencoders"], notebooks) == [first, fourth]
    assert tool.chosen(["3"], notebooks) == tool.chosen(["003"], notebooks) == [third]
    assert tool.chosen(["03_lab"], notebooks) == tool.chosen(["3_lab"], notebooks) == [lab]
    assert tool.chosen(["03_dc"], notebooks) == [third, lab]
    assert tool.chosen(["/elsewhere/notebooks/04_conditional.ipynb"], notebooks) == [fourth]
    for wrong in (["03", "7"], ["04_lab"]):
        with pytest.raises(SystemExit, match=f"no notebook {wrong[-1]}; there are: 01_autoencoders, 03_dcgan"):
            tool.chosen(wrong, notebooks)


def test_hash_follows_the_code_and_nothing_else(tmp_path):
    code = "def f(x):\n    return f'{x:{3}}' + \"a\"\n\n%matplotlib inline"
    notebook = nbformat.read(write(tmp_path / "tiny.ipynb", PARAMETERS, code), as_version=4)
    same = "def f( x ):  # why\n\n  return (f\"{x:{3}}\" + 'a')\n%matplotlib inline"
    assert code_hash(changed(notebook, 2, same)) == code_hash(notebook)
    assert code_hash(changed(notebook, 0, "# Other words")) == code_hash(notebook)
    for other in (code.replace("{3}", "{4}"), code.replace('"a"', '""'), code.replace("inline", "widget")):
        assert code_hash(changed(notebook, 2, other)) != code_hash(notebook), other
    # one value for all Pythons: computed on 3.11, 3.12 and 3.13
    assert code_hash(notebook) == "c3359c6810b97c94"


@pytest.mark.parametrize("name", ["colab", "docs", "readme", "student"])
def test_a_tool_without_arguments_refuses_them(name, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", [f"{name}.py", "--x"])
    with pytest.raises(SystemExit):
        runpy.run_path(str(tool.ROOT / "tools" / f"{name}.py"), run_name="__main__")
    assert "unrecognized arguments: --x" in capsys.readouterr().err
