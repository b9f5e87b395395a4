"""docs/: every link leads to a file, and every cell stands in the section that the page names beside it."""

import json
import re
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
DOCS = ROOT / "docs"
LINK = re.compile(r"\[([^][]+)\]\(([^)\s]+)\)")
CELLS = re.compile(r"\[(\d\d), ([^][]+)\]\(\.\./notebooks/([^)\s]+)\) (`[\w-]+`(?:, `[\w-]+`)*)")
REST = re.compile(r"(not yet( \(\d\d\))?|\[[\w./]+\]\([\w./]+\)|; )*")  # what else may stand in the last column


def rows():
    lines = (DOCS / "lectures.md").read_text(encoding="utf-8").splitlines()
    table = [re.split(r"(?<!\\)\|", line)[1:-1] for line in lines if line.startswith("|")]
    return [row[-1].strip() for row in table if row[-1].strip() not in ("where", "---")]


@cache
def sections(notebook):
    """Of each cell, by its id: the headings in it, and the last one before it."""
    found, section, path = {}, [], ROOT / "notebooks" / notebook
    for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]:
        text = "".join(cell["source"]) if cell["cell_type"] == "markdown" else ""
        own = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
        found[cell["id"]] = section + own
        section = own[-1:] or section
    return found


def test_every_link_leads_to_a_file():
    for page in DOCS.glob("*.md"):
        links = LINK.findall(page.read_text(encoding="utf-8"))
        missing = [to for _, to in links if not to.startswith("https://") and not (DOCS / to).exists()]
        assert missing == [], page.name


def test_every_cell_stands_where_the_row_says():
    for row in rows():
        assert row and REST.fullmatch(CELLS.sub("", row)), f"neither cells nor 'not yet': {row}"
        for number, heading, notebook, cells in CELLS.findall(row):
            assert notebook.startswith(number) and (ROOT / "notebooks" / notebook).exists(), row
            for cell in re.findall(r"[\w-]+", cells):
                names = [re.sub(r"^\d+\. ", "", name) for name in sections(notebook).get(cell, [])]
                assert heading in names, f"{notebook}: {cell!r} is in {names or 'no section'}, not in {heading!r}"


def test_every_notebook_is_named():
    named = {found[2] for row in rows() for found in CELLS.findall(row)}
    assert named == {path.name for path in (ROOT / "notebooks").glob("*.ipynb")}


def test_every_section_of_the_errata_exists():
    for text, to in LINK.findall((DOCS / "errata.md").read_text(encoding="utf-8")):
        number, *wanted = re.findall(r"\d+", text)
        there = {heading.split(".")[0] for names in sections(Path(to).name).values() for heading in names}
        assert Path(to).name.startswith(number) and wanted and set(wanted) <= there, f"{text}: {to}"
