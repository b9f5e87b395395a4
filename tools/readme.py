"""README's tables of notebooks and its pictures, written from what the published notebooks hold.

What README says of a notebook's results stands in its metadata, `readme.result`: a format string that is filled in with
the stamp's `results`. `python run.py readme` calls this file; a test holds README and stamps together.
"""

import base64
import re
from pathlib import Path

import nbformat
import numpy as np
from PIL import Image

from keras_gen import draw_faces, load_pretrained, sample_face_attributes, save_gif, tile_images, to_uint8
from notebooks import WAITING

ROOT = Path(__file__).resolve().parent.parent
PICTURES = ROOT / "pictures"
TABLE = re.compile(r"(<!-- results:.*?-->\n).*?(<!-- end of results -->)", re.DOTALL)
# By the number of the notebook that a part begins with.
PARTS = {"01": "I. From autoencoders to CycleGAN", "07": "II. More of GANs"}
HEAD = "| | notebook | result | full run |\n|---|---|---|---|\n"
NOTE = "† the code has changed since: to be published again."


def row(path):
    """The line of one published notebook; it needs a title, a stamp and its `readme.result`."""
    notebook = nbformat.read(path, as_version=4)
    stamp = notebook.metadata.keras_gen
    title = notebook.cells[0].source.splitlines()[0].removeprefix("# ")
    picture = f"[![{title}](pictures/{path.stem}.jpg)](notebooks/{path.name})"
    result = notebook.metadata.readme.result.format(**stamp.results)
    made = f"{stamp.data_set}, {stamp.seconds / 60:.0f} min on {stamp.device.split(' on ')[1]}"
    waits = " †" if path.stem in WAITING else ""
    return f"| {picture} | [{path.stem}](notebooks/{path.name})<br>{title} | {result} | {made}{waits} |"


def with_table(text, paths):
    """README's text with the tables of these notebooks, one a part."""
    lines = []
    for path in paths:
        if part := PARTS.get(path.stem[:2]):
            lines += [f"\n### {part}\n\n{HEAD}"]
        lines += [row(path) + "\n"]
    note = f"\n{NOTE}\n" if any(path.stem in WAITING for path in paths) else ""
    return TABLE.sub(lambda match: match[1] + "".join(lines) + note + "\n" + match[2], text)


def write_pictures(paths):
    """Each notebook's picture, the last of its cell tagged `picture`, and the row of drawn faces above the title."""
    PICTURES.mkdir(exist_ok=True)
    for path in paths:
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
    readme = ROOT / "README.md"
    readme.write_text(with_table(readme.read_text(encoding="utf-8"), paths), encoding="utf-8")
