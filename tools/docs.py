"""Builds the site: `python run.py docs` puts the pages into build/site/html/, to be opened from the disk.

The pages are what the repository holds: README, notebooks with their committed outputs, errata, the API from the
docstrings. Formulas are drawn by MathJax from the site itself; no page asks another host for anything.
"""

import argparse
import re
import shutil
import sys
from pathlib import Path

import colab
from sphinx.cmd.build import main as sphinx_build

ROOT = Path(__file__).resolve().parent.parent
SITE = ROOT / "build" / "site"
MATHS = "mathjax/tex-svg.js"  # put there by sphinx-mathjax-offline

CONF = f"""
project = "keras_gen"
copyright = "the authors, MIT licence"
extensions = ["myst_nb", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx.ext.mathjax", "sphinx-mathjax-offline"]
html_theme = "sphinx_book_theme"
html_theme_options = {{"show_toc_level": 2, "navbar_persistent": []}}
html_title = "keras_gen"
html_context = {{"default_mode": "auto"}}
nb_execution_mode = "off"
nb_merge_streams = True
myst_enable_extensions = ["dollarmath", "amsmath"]
myst_heading_anchors = 3
autodoc_member_order = "bysource"
autodoc_inherit_docstrings = False
mathjax_path = "{MATHS}"
"""

TREE = """
```{{toctree}}
:hidden:
:caption: {caption}

{pages}
```
"""


def section(page, title):
    """A page's section with this heading."""
    return re.search(rf"^## {title}\n.*?(?=^## |\Z)", page, re.MULTILINE | re.DOTALL)[0]


def tree(caption, pages):
    return TREE.format(caption=caption, pages="\n".join(pages))


def write_pages(folder):
    """The site's source: the repository's own pages, in the same places, so that their links hold."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    for name in ("notebooks", "pictures", "examples"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns(".*", "runs"))
    (folder / "data").mkdir()
    shutil.copy(ROOT / "data" / "README.md", folder / "data")
    shutil.copy(ROOT / "CONTRIBUTING.md", folder)
    (folder / "conf.py").write_text(CONF, encoding="utf-8")

    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    notebooks = sorted(path.stem for path in (ROOT / "notebooks").glob("*.ipynb"))
    for path in (folder / "notebooks").glob("*.ipynb"):
        badge = colab.badge(path.name)  # a picture of another host, and the site makes no request to one
        text = path.read_text(encoding="utf-8")
        path.write_text(text.replace(badge, re.sub(r"\[!\[.*?\]\(.*?\)\]", "[Open in Colab]", badge)), encoding="utf-8")
    trees = tree("The course", [f"notebooks/{name}" for name in notebooks])
    trees += tree("Reference", ["errata", "api", "data/README", "CONTRIBUTING"])
    (folder / "index.md").write_text(readme + trees, encoding="utf-8")
    errata = section(readme, "Errata to the lectures").replace("## ", "# ", 1)
    (folder / "errata.md").write_text(errata, encoding="utf-8")

    files = re.findall(r"`([\w/]+)\.py`", section(readme, "The module"))  # README's reading order
    modules = [file.replace("/", ".") for file in files]
    parts = [
        f"## keras_gen.{name}\n\n```{{eval-rst}}\n.. automodule:: keras_gen.{name}\n   :members:\n```\n"
        for name in modules
    ]
    (folder / "api.md").write_text("# The module\n\n" + "\n".join(parts), encoding="utf-8")


if __name__ == "__main__":
    argparse.ArgumentParser(description="Build the site into build/site/html/.").parse_args()
    write_pages(SITE / "source")
    shutil.rmtree(SITE / "html", ignore_errors=True)
    status = sphinx_build(["-q", "-W", "--keep-going", "-b", "html", str(SITE / "source"), str(SITE / "html")])
    if not status:
        print(f"The site is in {SITE / 'html' / 'index.html'}")
    sys.exit(status)
