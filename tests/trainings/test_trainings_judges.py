import re

import judges as judges_of_tests
import pytest

import keras_gen as kg
from trainings import judges as training

cache = judges_of_tests.cache  # trained judges are kept in a folder of the tests' own


def test_a_judge_is_trained_kept_and_counted_again(folder, monkeypatch, capsys):
    monkeypatch.setattr(training, "NAMES", ("digits",))
    monkeypatch.setitem(training.EPOCHS, "digits", 1)
    before = kg.load_judge("digits").test_accuracy
    training.train()
    kept = kg.load_judge("digits").test_accuracy
    assert 0.15 < kept < before - 0.02
    capsys.readouterr()
    training.score()
    said, counted = (float(number) for number in re.findall(r"[\d.]+(?=%)", capsys.readouterr().out))
    assert said == pytest.approx(100 * kept, abs=0.01)
    assert counted == pytest.approx(100 * kept, abs=0.6)  # two of 360: it was float32, and is float16


def test_all_judges_that_come_along_are_made_here():
    for name in training.NAMES:
        assert kg.load_judge(name).name == name
    assert training.EPOCHS.keys() >= set(training.NAMES)
