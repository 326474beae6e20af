"""Configurations of clients hold the record's values, and can be parsed whatever the classes are called."""

import ast
import configparser
import json
import os
import subprocess
from importlib import resources
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
import yaml
from raised import raises

from lookonce.errors import WeightsError
from lookonce.exporters.clients import CLIENTS, LABELS, client_files, require_decodable
from lookonce.settings.dialects import DIALECTS
from lookonce.settings.record import ModelRecord, Preprocessing, Thresholds

NAMES = ('2 wheels: "fast" & <new>', "O'Brien, # $5", "叶子 🍃", "\\ back")


@pytest.fixture(scope="module")
def files() -> dict[str, dict[str, str]]:
    """client -> file name -> content."""
    record = ModelRecord(
        dialect=DIALECTS["darknet"],
        class_names=NAMES,
        category_ids=(1, 2, 3, 4),
        image_size=(96, 160),
        preprocessing=Preprocessing(resize="stretch", mean=(0.5, 0.25, 0), std=(1, 0.5, 1)),
        thresholds=Thresholds(score=0.3, iou=0.45, max_detections=50),
    )
    return {name: client_files(name, record) for name in CLIENTS}


def test_every_folder_of_templates_is_a_client():
    folders = {path.name for path in (resources.files("lookonce.exporters") / "client_files").iterdir()}
    assert folders <= CLIENTS.keys()
    assert CLIENTS.keys() - folders == {"web"}


@pytest.mark.parametrize("client", CLIENTS)
def test_each_file_is_valid_in_its_language(files, client):
    parsers = {
        ".py": ast.parse,
        ".json": json.loads,
        ".yml": yaml.safe_load,
        ".yaml": yaml.safe_load,
        ".xml": ET.fromstring,
        ".sh": str,
        ".pbtxt": str,
    }
    for name, content in files[client].items():
        if name.startswith("config_infer"):
            configparser.ConfigParser().read_string(content)
        elif name != LABELS:
            parsers[name[name.rindex(".") :]](content)


def test_the_script_of_tensorrt_finds_its_model_from_any_folder(files, tmp_path):
    folder = tmp_path / "for us"
    folder.mkdir()
    (folder / "build.sh").write_text(files["tensorrt"]["build.sh"])
    (tmp_path / "trtexec").write_text("#!/bin/sh\npwd\n")
    (tmp_path / "trtexec").chmod(0o755)
    path = {"PATH": f"{tmp_path}:{os.environ['PATH']}"}
    done = subprocess.run(
        ["sh", folder / "build.sh"], cwd=tmp_path, env=path, capture_output=True, text=True, check=True
    )
    assert Path(done.stdout.strip()) == folder


def test_labels_have_one_line_per_class(files):
    assert files["triton"][LABELS].splitlines() == list(NAMES)
    assert files["frigate"][LABELS].splitlines() == [f"{number} {name}" for number, name in enumerate(NAMES)]


def test_names_survive_quoting(files):
    assert yaml.safe_load(files["frigate"]["config.yml"])["objects"]["track"] == list(NAMES)
    (entry,) = yaml.safe_load(files["home-assistant"]["configuration.yaml"])["image_processing"]
    assert [target["target"] for target in entry["targets"]] == [name.lower() for name in NAMES]
    labels = ET.fromstring(files["label-studio"]["label_config.xml"]).iter("Label")
    assert [label.get("value") for label in labels] == list(NAMES)


def test_numbers_are_those_of_the_record(files):
    model = yaml.safe_load(files["frigate"]["config.yml"])["model"]
    assert (model["height"], model["width"]) == (96, 160)
    config = configparser.ConfigParser()
    config.read_string(files["deepstream"]["config_infer_primary.txt"])
    assert config.getint("property", "maintain-aspect-ratio") == 0
    assert config.getfloat("class-attrs-all", "nms-iou-threshold") == 0.45
    assert "mean, std = np.float32([0.5, 0.25, 0.0]), np.float32([1.0, 0.5, 1.0])" in files["litert"]["convert.py"]
    assert "(160, 96)" in files["litert"]["convert.py"]
    assert "mean_values=[[127.5, 63.75, 0.0]], std_values=[[255.0, 127.5, 255.0]]" in files["rknn"]["convert.py"]


def test_the_heads_of_an_oak_archive_are_sorted_by_stride(files):
    model = json.loads(files["oak"]["config.json"])["model"]
    assert [(one["name"], one["shape"]) for one in model["outputs"]] == [
        ("raw_stride16_yolo", [1, 27, 6, 10]),  # 3 * (5 + 4)
        ("raw_stride32_yolo", [1, 27, 3, 5]),
    ]
    assert model["heads"][0]["metadata"]["anchors"][0] == [[10, 14], [23, 27], [37, 58]]


def test_a_client_that_decodes_as_darknet_refuses_other_dialects():
    others = {"mindspore", "ultralytics"} & DIALECTS.keys()
    assert others
    for name in others:
        record = ModelRecord(dialect=DIALECTS[name], class_names=("a",), category_ids=(1,))
        with raises(WeightsError, name):
            require_decodable(CLIENTS["oak"], record)
        require_decodable(CLIENTS["rknn"], record)
