"""`export --for` writes one folder for a client. DeepStream's is the quickest: Darknet's files, nothing is traced."""

from functools import partial
from pathlib import Path

import numpy as np
import pytest
from raised import raises
from untrained import save_untrained

import lookonce
from lookonce.cli.main import main
from lookonce.errors import LookonceError, SettingsError
from lookonce.exporters.base import textured_canvases
from lookonce.exporters.clients import CLIENTS
from lookonce.workflows.export import as_text, export


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("weights") / "cells"
    save_untrained(folder, ("Blatt", "叶子"), (7, 3))
    return folder


def test_the_folder_lies_beside_the_weights_and_holds_all_files(weights, capfd):
    assert main(["export", str(weights), "--for", "deepstream"]) == 0
    folder = weights.parent / "deepstream"
    names = {"config_infer_primary.txt", "labels.txt", "model.cfg", "model.weights"}
    assert names <= {path.name for path in folder.iterdir()}
    assert (folder / "labels.txt").read_text(encoding="utf-8") == "Blatt\n叶子\n"
    assert lookonce.load(folder / "model.weights").class_names == ("Blatt", "叶子")
    assert str(folder / "config_infer_primary.txt") in capfd.readouterr().out  # its first lines say how to use it


def test_an_earlier_version_is_replaced_only_if_asked(weights, tmp_path):
    folder = tmp_path / "for"
    assert export(weights, for_="deepstream", output=folder).for_client.folder == folder
    with raises(LookonceError, "--overwrite", path=folder):
        export(weights, for_="deepstream", output=folder)
    export(weights, for_="deepstream", output=folder, overwrite=True)


def test_a_folder_of_others_is_never_replaced(weights, tmp_path):
    (tmp_path / "mine.txt").write_text("mine")
    with raises(LookonceError, path=tmp_path):
        export(weights, for_="deepstream", output=tmp_path, overwrite=True)
    assert (tmp_path / "mine.txt").read_text() == "mine"


def test_a_checkpoint_is_never_replaced(weights):
    for verb in (partial(export, for_="deepstream"), lookonce.page):
        with raises(LookonceError, path=weights):
            verb(weights, output=weights, overwrite=True)
    assert lookonce.load(weights).class_names == ("Blatt", "叶子")


def test_an_unknown_client_is_named_with_a_suggestion(weights):
    with raises(SettingsError, "frigate", setting="for", value="frigat"):
        export(weights, for_="frigat")


@pytest.mark.parametrize(
    "option",
    [{"batch": 2}, {"outputs": "raw"}, {"preprocess": False}, {"to": "ncnn"}, {"check": True}, {"precision": "fp16"}],
)
def test_an_option_that_the_client_decides_is_refused(weights, option):
    with raises(SettingsError, "deepstream", setting=next(iter(option))):
        export(weights, for_="deepstream", **option)


def test_the_list_names_every_client_and_how_it_is_checked():
    text = " ".join(" ".join(as_text(export(list_formats=True))).split())
    for name, client in CLIENTS.items():
        assert f"{name} {' '.join(client.checked_by.split())}" in text


@pytest.mark.slow
@pytest.mark.parametrize("client", [name for name, row in CLIENTS.items() if row.to == "onnx"])
def test_the_model_of_a_client_detects_what_the_weights_detect(weights, client, tmp_path):
    exports = export(weights, for_=client, output=tmp_path / client)
    (one,) = exports.files
    assert one.path == tmp_path / client / CLIENTS[client].model
    assert one.path.is_file()
    assert one.parity.passed
    assert one.parity.num_detections > 0
    if not CLIENTS[client].output_suffix:  # whose outputs have names of the client
        image = textured_canvases(1, (64, 64))[0]
        found, wanted = (lookonce.load(path).detect([image])[0] for path in (one.path, weights))
        np.testing.assert_array_equal(found.labels, wanted.labels)
        np.testing.assert_allclose(found.boxes_xyxy, wanted.boxes_xyxy, atol=0.01)
