"""Reports in Python are those of the verbs."""

import json

import pytest
import sluice
from conftest import GRAPHS


def test_explain_predicts_without_running(click):
    report = click.explain(batch=16)
    told = report.to_dict()
    assert told["schema"] == "sluice.report/1" and told["timing"] == "predicted"
    assert told["sizes"] == [[16, 10], [16, 3]]
    assert "largest losses" in str(report)


def test_profile_measures_and_shows_a_page(click, tmp_path):
    report = click.profile(batch=4, runs=3)
    told = report.to_dict()
    assert told["timing"] == "measured" and told["runs"] == 3 and told["total"]["us"] > 0
    assert report.to_html().startswith("<!DOCTYPE html>")
    assert "<script" not in report._repr_html_()  # escaped inside the frame
    report.save(tmp_path / "report.html")
    report.save(tmp_path / "report.json")
    assert json.loads((tmp_path / "report.json").read_text())["schema"] == told["schema"]
    with pytest.raises(ValueError, match="runs is 0"):
        click.profile(runs=0)


def test_sizes_may_be_named():
    model = sluice.Model(GRAPHS / "bert_encoder_ts15.onnx")
    told = model.explain(dims={"batch": 3, "sequence": 12}, length=8, mean_length=4).to_dict()
    assert told["sizes"][0] == [3, 12]
    with pytest.raises(sluice.InvalidArgumentError):
        model.explain(dims={"batch": -1})


def test_the_version_is_the_engines():
    assert sluice.__version__.count(".") == 2
