"""What only a browser can tell: `python run.py test --browser`. Needs Chromium (Debian: `apt install chromium`)."""

import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

import nbformat
import pytest
from playwright.sync_api import expect, sync_playwright

from notebooks import code_cells

ROOT = Path(__file__).resolve().parent.parent
NOTEBOOKS = sorted(path.name for path in (ROOT / "notebooks").glob("*.ipynb"))
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium here; Debian has it as the package chromium")


@pytest.fixture
def page():
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser.new_page(viewport={"width": 1300, "height": 1000})
        browser.close()


@pytest.fixture
def lab(tmp_path):
    """The address of a JupyterLab on a copy of the notebooks, without their outputs."""
    (tmp_path / "notebooks").mkdir()
    for name in NOTEBOOKS:
        notebook = nbformat.read(ROOT / "notebooks" / name, as_version=4)
        for cell in code_cells(notebook):
            cell.outputs, cell.execution_count = [], None
        nbformat.write(notebook, tmp_path / "notebooks" / name)
    environment = os.environ | {"JUPYTER_CONFIG_DIR": str(tmp_path), "JUPYTERLAB_SETTINGS_DIR": str(tmp_path)}
    command = [sys.executable, "-m", "jupyterlab", "--no-browser", "--port=0", "--allow-root"]
    command += ["--ServerApp.root_dir=notebooks", "--IdentityProvider.token="]
    log = tmp_path / "lab.log"  # a file and no pipe, which would fill up and stop the server
    with log.open("w") as stderr, subprocess.Popen(command, cwd=tmp_path, env=environment, stderr=stderr) as server:
        while not (address := re.search(r"http://(127\.0\.0\.1|localhost):\d+", log.read_text())):
            assert server.poll() is None, log.read_text()
            time.sleep(0.2)
        yield address[0]
        server.terminate()


def run_all_cells(page, lab, name):
    page.goto(f"{lab}/lab/tree/{name}")
    page.get_by_text("(ipykernel) | Idle").wait_for(timeout=60_000)  # before, the menu's command would be lost
    page.get_by_text("Run", exact=True).first.click()
    page.get_by_text("Run All Cells", exact=True).click()


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_notebook_runs_from_top_to_bottom(page, lab, tmp_path, name):
    run_all_cells(page, lab, name)
    for _ in range(200):
        time.sleep(3)
        page.keyboard.press("Control+s")
        cells = code_cells(nbformat.read(tmp_path / "notebooks" / name, as_version=4))
        outputs = [output for cell in cells for output in cell.outputs]
        assert [output for output in outputs if output.output_type == "error"] == []
        if cells[-1].execution_count:
            break
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1))
    assert [output.text for output in outputs if output.get("name") == "stderr"] == []


def test_a_slider_changes_the_face(page, lab):
    run_all_cells(page, lab, "05_latent_space_lab.ipynb")
    slider = page.locator(".widget-slider .noUi-handle").first
    slider.wait_for(timeout=400_000)  # the notebook runs
    face = page.locator("img.widget-image")
    before = face.get_attribute("src")
    slider.focus()
    for _ in range(5):
        page.keyboard.press("ArrowRight")
    expect(face).not_to_have_attribute("src", before, timeout=20_000)


def test_site_shows_every_picture_and_formula(page):
    subprocess.run([sys.executable, "tools/docs.py"], cwd=ROOT, check=True)
    html = ROOT / "build" / "site" / "html"
    troubles, formulas = [], 0
    page.on("console", lambda message: troubles.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: troubles.append(str(error)))
    page.on("requestfailed", lambda request: troubles.append(request.url))
    page.on("request", lambda request: troubles.append(request.url) if request.url.startswith("http") else None)
    for path in sorted(set(html.rglob("*.html")) - set((html / "_static").rglob("*"))):  # there: the theme's templates
        page.goto(path.as_uri())
        n_formulas = page.locator(".math").count()
        if n_formulas:
            page.wait_for_function("n => document.querySelectorAll('mjx-container').length >= n", arg=n_formulas)
            assert page.locator("[data-mml-node=merror], mjx-merror").count() == 0, path.name
        formulas += n_formulas
        broken = page.evaluate("[...document.images].filter(i => !(i.complete && i.naturalWidth)).map(i => i.src)")
        troubles += [f"{path.name}: {picture[:80]}" for picture in broken]
    assert troubles == []
    assert formulas > 20
