import subprocess
import sys

import pytest

import run
import trainings.judges as judges
from keras_gen import pretrained
from trainings.__main__ import find_trainings, main


@pytest.fixture
def done(monkeypatch):
    done = []
    monkeypatch.setattr(judges, "train", lambda: done.append("train"))
    monkeypatch.setattr(judges, "score", lambda: done.append("score"))
    return done


def test_a_name_trains_and_then_scores_or_only_scores(done):
    main(["judges"])
    assert done == ["train", "score"]
    main(["--score", "judges"])
    assert done == ["train", "score", "score"]


@pytest.mark.parametrize("arguments", [[], ["--score"], ["cats"], ["common"], ["judges", "faces_vae"]])
def test_without_a_name_of_a_training_it_says_which_there_are(arguments, done, capsys):
    with pytest.raises(SystemExit) as stopped:
        main(arguments)
    assert stopped.value.code == 2 and not done
    said = capsys.readouterr().err
    if len(arguments) < 2:
        for name, about in find_trainings().items():
            assert f"  {name} " in said and about in said


def test_each_training_says_how_long_it_takes():
    for about in find_trainings().values():
        assert about.endswith(("minutes on two CPU cores.", "hour on two CPU cores.", "half on two CPU cores."))


def test_every_model_that_comes_along_has_its_training():
    trainings = set(find_trainings())
    there = {path.stem for path in pretrained.FOLDER.glob("*.npz")}
    judges_there = {f"judge_{name}" for name in judges.NAMES}
    assert there == trainings - {"judges"} | judges_there | {"zebra2horse"}


def test_run_py_calls_it():
    done = subprocess.run([sys.executable, *run.TASKS["pretrain"]], cwd=run.ROOT, capture_output=True, text=True)
    assert done.returncode == 2 and "faces_vae" in done.stderr
