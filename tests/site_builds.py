"""The site, which takes a minute: `python run.py test tests/site_builds.py`. browser.py looks at its pages."""

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def test_site_builds_without_a_warning_and_asks_no_other_host():
    built = subprocess.run([sys.executable, "tools/docs.py"], cwd=ROOT, capture_output=True, text=True)
    assert built.returncode == 0, built.stderr
    pages = list((ROOT / "build/site/html").rglob("*.html"))
    assert len(pages) > len(list((ROOT / "notebooks").glob("*.ipynb"))) + 3
    loads = re.compile(r"<(?:script|img|link|iframe)\b[^>]*?(?:src|href)=\"(?:https?:)?//[^\"]*")
    found = {page.name: loads.findall(page.read_text(encoding="utf-8")) for page in pages}
    assert {name: links for name, links in found.items() if links} == {}
