"""README's tables of notebooks, its pictures, and docs/results.md, written from what the published notebooks hold.

What is said of a notebook's results stands in its metadata, under `readme`: `result`, a short line for README, and
`results`, the rows of its table in docs/results.md: what was measured, here, the reference, the reference's source;
`nats`, where there are some, the rows of README's table of likelihoods: the model, its nats. All are format strings
that the stamp's `results` fill in. `python run.py readme` calls this file; a test holds the
pages and the stamps together.
"""

import argparse
import base64
from pathlib import Path

import nbformat
import numpy as np
from PIL import Image

from keras_gen import draw_faces, load_pretrained, sample_face_attributes, save_gif, tile_images, to_uint8
from notebooks import NOTEBOOKS, WAITING, is_lab

ROOT = Path(__file__).resolve().parent.parent
PICTURES = ROOT / "pictures"
README = ROOT / "README.md"
RESULTS = ROOT / "docs" / "results.md"
BEGIN, END = "<!-- notebooks: written by `python run.py readme` -->\n", "<!-- end of notebooks -->\n"
# By the number of the notebook that a part begins with.
PARTS = {"01": "I. From autoencoders to CycleGAN", "07": "II. More of GANs", "13": "IV. Likelihood"}
HEAD = "| | notebook | a result of it | full run |\n|---|---|---|---|\n"
NATS_HEAD = """
### MNIST in nats

What a test digit costs, in nats (fewer are better): the mean of -log p(x) over the 10,000, each pixel drawn once as 0
or 1 with its grey level as the probability. A VAE's number is a bound from above.

| model | nats | where |
|---|---|---|
"""
NOTE = "† the code has changed since: to be published again."
RESULTS_HEAD = """\
# Results

What the published notebooks measured, beside reference values. Written by `python run.py readme` from the stamps in the
notebooks; where nothing else is said, a number is of one seed, at the last step of training. CIFAR-10 runs used the
first 25,000 training and 5,000 test images. † the code has changed since that run.

A *feature distance* is the Fréchet distance between features of real and of generated images, seen by a small
classifier that comes with the project ([cards](../data/README.md)). It is no FID: it compares runs on one data set,
between its two marks, real images against other real images and an untrained generator.
"""
RESULTS_TABLE = "| measured | here | reference | source |\n|---|---|---|---|\n"


def title_of(notebook):
    return notebook.cells[0].source.splitlines()[0].removeprefix("# ")


def mark(path):
    return " †" if path.stem in WAITING else ""


def filled(text, results):
    """A format string with a stamp's results in it."""
    return text.format(**by_number(results))


def by_number(results):
    """Results whose keys are numbers again where JSON made words of them: `{gap[50]}` looks for the number 50."""
    if not isinstance(results, dict):
        return results
    return {int(key) if key.isdigit() else key: by_number(value) for key, value in results.items()}


def row(path, labs):
    """README's line of a lesson, with a link to its lab where there is one."""
    notebook = nbformat.read(path, as_version=4)
    stamp, title = notebook.metadata.keras_gen, title_of(notebook)
    names = f"[{path.stem[:2]} {title}](notebooks/{path.name}){mark(path)}"
    for lab in labs:
        if lab.stem == f"{path.stem}_lab":
            names += f", [lab](notebooks/{lab.name}){mark(lab)}"
    result = filled(notebook.metadata.readme.result, stamp.results)
    picture = f"![{path.stem[:2]}](pictures/{path.stem}.jpg)"  # its name stands beside it
    return f"| {picture} | {names} | {result} | {stamp.seconds / 60:.0f} min |\n"


def nats(paths):
    """README's table of likelihoods, from the notebooks that have some; the likeliest last."""
    rows = []
    for path in paths:
        notebook = nbformat.read(path, as_version=4)
        for model, value in notebook.metadata.readme.get("nats", ()):
            text = filled(value, notebook.metadata.keras_gen.results)
            rows.append((float(text), f"| {model} | {text} | [{path.stem[:2]}](notebooks/{path.name}){mark(path)} |\n"))
    return NATS_HEAD + "".join(row for _, row in sorted(rows, reverse=True)) if rows else ""


def tables(paths):
    """README's tables of these notebooks, one a part, and that of likelihoods."""
    text, labs = "", [path for path in paths if is_lab(path)]
    for path in paths:
        if part := PARTS.get(path.stem[:2]) if not is_lab(path) else None:
            text += f"\n### {part}\n\n{HEAD}"
        if not is_lab(path):
            text += row(path, labs)
    text += nats(paths)
    note = f"\n{NOTE}\n" if any(path.stem in WAITING for path in paths) else ""
    return f"{text}{note}\n"


def with_tables(text, paths):
    """README's text with the tables of these notebooks between its two marks."""
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    return before + begin + tables(paths) + end + after


def results(paths):
    """The page of results: of each notebook its run, and its numbers beside the references."""
    text = RESULTS_HEAD
    for path in paths:
        notebook = nbformat.read(path, as_version=4)
        stamp = notebook.metadata.keras_gen
        kind = ", lab" if is_lab(path) else ""
        text += f"\n## [{path.stem[:2]}{kind}: {title_of(notebook)}](../notebooks/{path.name}){mark(path)}\n\n"
        versions = ", ".join(f"{name} {version}" for name, version in stamp.versions.items())
        text += (
            f"{stamp.data_set}, seed {stamp.seed}, {stamp.seconds / 60:.0f} minutes on {stamp.device}; {versions}\n\n"
        )
        text += RESULTS_TABLE
        for cells in notebook.metadata.readme.results:
            text += f"| {filled(' | '.join(cells), stamp.results)} |\n"
    return text


def write_pictures(paths):
    """Each lesson's picture, the last of its cell tagged `picture`, and the row of drawn faces above the title."""
    PICTURES.mkdir(exist_ok=True)
    for path in paths:
        if is_lab(path):
            continue
        notebook = nbformat.read(path, as_version=4)
        cell = next(cell for cell in notebook.cells if "picture" in cell.metadata.get("tags", []))
        *_, data = (output.data for output in cell.outputs if "image/jpeg" in output.get("data", {}))
        (PICTURES / f"{path.stem}.jpg").write_bytes(base64.b64decode(data["image/jpeg"]))
    faces = draw_faces(sample_face_attributes(24, seed=11), size=96)
    Image.fromarray(tile_images(faces, n_columns=12, gap=2)).save(PICTURES / "faces.png", optimize=True)
    save_gif(walks(n=12, n_frames=24), PICTURES / "walk.gif", seconds=0.15, hold=0.15)


def walks(n, n_frames):
    """Frames: a row of n faces, each on its way around a great circle in the latent space."""
    planes = np.linalg.qr(np.random.default_rng(5).normal(size=(n, 100, 2)))[0]  # two perpendicular unit vectors each
    angles = np.linspace(0, 2 * np.pi, n_frames, endpoint=False)
    generator = load_pretrained("faces_generator")
    points = [10 * planes @ (np.cos(angle), np.sin(angle)) for angle in angles]  # 10: the norm of 100 numbers
    return [tile_images(to_uint8(generator.predict_on_batch(z.astype("float32"))), n_columns=n) for z in points]


def write(paths):
    write_pictures(paths)
    README.write_text(with_tables(README.read_text(encoding="utf-8"), paths), encoding="utf-8")
    RESULTS.write_text(results(paths), encoding="utf-8")


if __name__ == "__main__":
    argparse.ArgumentParser(description="Write README's tables and pictures, and docs/results.md.").parse_args()
    write(sorted(NOTEBOOKS.glob("*.ipynb")))
