"""Every notebook runs from its first cell to its last, quickly: two at a time, by the executor that publishes them."""

from concurrent.futures import ThreadPoolExecutor

import nbformat
import pytest

import notebooks as tool


@pytest.fixture(scope="module")
def runs(request):
    """A run of each notebook that the tests of this session ask for."""
    tests = [item for item in request.session.items if item.function is test_notebook_runs_quickly]
    pool = ThreadPoolExecutor(2)  # such small networks keep little more than one processor core busy
    paths = [item.callspec.params["path"] for item in tests]
    yield {path: pool.submit(tool.execute, nbformat.read(path, as_version=4), path, quick=True) for path in paths}
    pool.shutdown(cancel_futures=True)


@pytest.mark.as_on_gpu
@pytest.mark.parametrize("path", sorted(tool.NOTEBOOKS.glob("*.ipynb")), ids=lambda path: path.stem)
def test_notebook_runs_quickly(path, runs):
    assert runs[path].result()["results"]
