"""Builds the site: `python run.py docs` puts the pages into build/site/html/, to be opened from the disk.

The pages are what the repository holds: README, notebooks with their committed outputs, docs/, the API from the
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
PAGES = ["docs/lectures", "docs/errata", "docs/keras2", "docs/devices", "docs/results", "docs/api"]
MORE = ["data/README", "CONTRIBUTING"]
TREE = """
```{{toctree}}
:hidden:
:caption: {caption}

{pages}
```
"""


def tree(caption, pages):
    return TREE.format(caption=caption, pages="\n".join(pages))


def write_source(folder):
    """The site's source: the repository's own pages, in the same places, so that their links hold."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    for name in ("docs", "notebooks", "pictures", "examples"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns(".*", "runs", "*.toml"))
    (folder / "data").mkdir()
    for page in ("data/README.md", "CONTRIBUTING.md", "CITATION.cff"):
        shutil.copy(ROOT / page, folder / page)
    (folder / "docs" / "conf.py").replace(folder / "conf.py")
    for path in (folder / "notebooks").glob("*.ipynb"):
        badge = colab.badge(path.name)  # a picture of another host, and the site makes no request to one
        text = path.read_text(encoding="utf-8")
        path.write_text(text.replace(badge, re.sub(r"\[!\[.*?\]\(.*?\)\]", "[Open in Colab]", badge)), encoding="utf-8")
    notebooks = sorted(f"notebooks/{path.stem}" for path in (ROOT / "notebooks").glob("*.ipynb"))
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    trees = tree("The course", notebooks) + tree("Beside the course", PAGES + MORE)
    (folder / "index.md").write_text(readme + trees, encoding="utf-8")


if __name__ == "__main__":
    argparse.ArgumentParser(description="Build the site into build/site/html/.").parse_args()
    write_source(SITE / "source")
    shutil.rmtree(SITE / "html", ignore_errors=True)
    status = sphinx_build(["-q", "-W", "--keep-going", "-b", "html", str(SITE / "source"), str(SITE / "html")])
    if not status:
        print(f"The site is in {SITE / 'html' / 'index.html'}")
    sys.exit(status)
