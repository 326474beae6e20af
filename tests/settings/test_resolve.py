"""Where values come from: the order of the sources, spellings, conflicts and messages."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from raised import raises

from lookonce.errors import SettingsError
from lookonce.settings.names import suggestion
from lookonce.settings.resolve import recipe_names, resolve
from lookonce.settings.schema import Settings
from lookonce.settings.yaml_file import to_yaml


def write(folder: Path, text: str) -> Path:
    path = folder / "mine.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def test_nothing_said_is_the_schema():
    resolved = resolve({})
    assert resolved.settings == Settings()
    assert set(resolved.origins) == set(Settings.model_fields)
    assert set(resolved.origins.values()) == {"default"}


def test_command_line_over_file_over_recipe_over_default(tmp_path: Path):
    file = write(tmp_path, "recipe: modelzoo\nlr: 0.5\n\nepochs: 7\n")
    resolved = resolve({"epochs": "9"}, file=file)
    assert (resolved.settings.epochs, resolved.settings.lr) == (9, 0.5)
    assert (resolved.settings.weight_decay, resolved.settings.seed) == (0.016, 0)
    assert resolved.origins["epochs"] == "command line"
    assert resolved.origins["lr"] == f"{file} line 2"
    assert resolved.origins["weight_decay"] == "recipe modelzoo"
    assert resolved.origins["seed"] == "default"
    assert resolved.origins["recipe"] == f"{file} line 1"


def test_a_recipe_on_the_command_line_beats_the_files(tmp_path: Path):
    file = write(tmp_path, "recipe: modelzoo\n")
    assert resolve({"recipe": "modern", "file": str(file)}).settings == Settings()
    assert resolve({"recipe": "modern"}, file=file).settings == Settings()


def test_another_optimizer_brings_the_rate_that_suits_it():
    resolved = resolve({"optimizer": "sgd"})
    given = resolved.settings
    assert (given.lr, given.momentum, given.weight_decay) == (0.02, 0.937, 0.0005)
    assert resolved.origins["lr"] == "optimizer sgd"
    assert resolve({"optimizer": "sgd", "lr": "0.1"}).settings.lr == 0.1
    assert resolve({"recipe": "modelzoo"}).settings.weight_decay == 0.016  # what a recipe says stays


def test_none_means_not_given():
    assert resolve({"epochs": None, "per_batch_size": None}).settings == Settings()


def test_the_fields_names_of_a_setting_are_taken():
    assert resolve({"imgsz": 320, "lr0": 0.01}).settings == resolve({"image_size": 320, "lr": 0.01}).settings
    for twice in ({"lr0": 0.01, "lr": 0.02}, {"lr0": 0.01, "learning-rate": 0.02}):
        with raises(SettingsError, setting="lr"):
            resolve(twice)
    with raises(SettingsError, "mean lr?"):
        resolve({"lrr": 0.01})


def test_dashes_and_underscores_are_one():
    assert resolve({"batch-size": "3"}).settings.batch_size == 3


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("lr_epochs", "220,250", (220.0, 250.0)),
        ("lr_epochs", "[1, 2.5]", (1.0, 2.5)),
        ("multi_scale", "320 352", (320, 352)),
        ("multi_scale", "320", (320,)),
        ("multi_scale", "none", ()),
        ("multi_scale", "[[320,320],[352,352]]", (320, 352)),
        ("multi_scale", " [ [320, 320], [352, 352] ] ", (320, 352)),
        ("multi_scale", "((320, 320), (352, 352))", (320, 352)),
        ("multi_scale", "(320,320),(352,352)", (320, 352)),
        ("multi_scale", "[[320,320]]", (320,)),
        ("multi_scale", "[320,352]", (320, 352)),
        ("multi_scale", [[320, 320], (352, 352)], (320, 352)),
        ("width", "0.5", 0.5),
        ("width", "16,32,64,128,256,512,1024,256,512,128,256", (16, 32, 64, 128, 256, 512, 1024, 256, 512, 128, 256)),
        ("anchors", "[[1,2],[3,4],[5,6],[7,8],[9,10],[11,12]]", ((1, 2), (3, 4), (5, 6), (7, 8), (9, 10), (11, 12))),
        ("anchors", "default", "default"),
        ("workers", "auto", "auto"),
        ("workers", "0", 0),
        ("weights", "", None),
        ("weights", "none", None),
        ("weights", "runs/a", Path("runs/a")),
        ("freeze_bn", "1", True),
        ("freeze_bn", "no", False),
        ("resume", "true", True),
        ("resume", "runs/a", Path("runs/a")),
        ("lr", "2e-1", 0.2),
        ("device", "cuda:1", "cuda:1"),
    ],
)
def test_text_becomes_a_value(name: str, text: str, value: object):
    assert getattr(resolve({name: text}).settings, name) == value


@pytest.mark.parametrize(
    ("flags", "setting", "told"),
    [
        ({"learning_rat": 1}, "learning_rat", " lr?"),
        ({"epocs": 1}, "epocs", " epochs?"),
        ({"per_batchsize": 1}, "per_batchsize", " per_batch_size?"),
        ({"pretrained": "coco"}, "pretrained", " weights?"),
        ({"testing_shape": 416}, "testing_shape", " image_size?"),
        ({"single_cls": True}, "single_cls", "convert-data"),
        ({"zzz": 1}, "zzz", "lookonce config"),
        ({"lr": "x"}, "lr", "at least 0"),
        ({"epochs": "-1"}, "epochs", "at least 0"),
        ({"masks": "[[3,4,6],[1,2,3]]"}, "masks", "0..5"),
        ({"masks": "[[3,4,5]]"}, "masks", "[[3,4,5],[0,1,2]]"),
        ({"ema_decay": "1"}, "ema_decay", "under 1"),
        ({"activation": "swish"}, "activation", "leaky"),
        ({"freeze_bn": "maybe"}, "freeze_bn", "true or false"),
        ({"workers": "-1"}, "workers", "256"),
        ({"recipe": "modren"}, "recipe", " modern?"),
        ({"file": "/nowhere/x.yaml"}, None, "/nowhere/x.yaml"),
        ({"lr": "0.00001", "lr_floor": "0.0001"}, None, "lr_floor: 0.0001"),
        ({"batch_size": 3, "per_batch_size": 4}, "batch_size", "per_batch_size=4"),
    ],
)
def test_a_refusal_says_what_was_seen_and_what_is_expected(flags: dict[str, object], setting: str | None, told: str):
    with raises(SettingsError, told, setting=setting):
        resolve(flags)


def test_two_spellings_may_say_the_same():
    assert resolve({"batch_size": "8", "per_batch_size": 8}).settings.batch_size == 8


def test_spellings_of_different_sources_do_not_conflict(tmp_path: Path):
    resolved = resolve({"batch_size": "8"}, file=write(tmp_path, "per_batch_size: 4"))
    assert resolved.settings.batch_size == 8


@pytest.mark.parametrize(
    ("text", "line", "setting"),
    [
        ("lr: 0.1\nbogus: 2\n", 2, "bogus"),
        ("lr: 0.1\nlr: 0.2\n", 2, "lr"),
        ("lr: [\n", 2, None),
        ("- a\n- b\n", 1, None),
        ("image_size: 100\n", 1, "image_size"),
        ("lr:\n", 1, "lr"),
        ("device_target: TPU\n", 1, "device_target"),
        ("\x00", None, None),
    ],
)
def test_a_file_is_refused_with_its_line(tmp_path: Path, text: str, line: int | None, setting: str | None):
    with raises(SettingsError, path="mine.yaml", line=line, setting=setting):
        resolve({}, file=write(tmp_path, text))


def test_a_file_may_be_empty_and_its_names_may_have_dashes(tmp_path: Path):
    assert resolve({}, file=write(tmp_path, "# nothing\n")).settings == Settings()
    assert resolve({}, file=write(tmp_path, "batch-size: 2\n")).settings.batch_size == 2


def test_a_file_that_is_no_text_is_refused(tmp_path: Path):
    path = tmp_path / "picture.jpg"
    path.write_bytes(b"\xff\xd8\xff")
    with raises(SettingsError, path=path):
        resolve({}, file=path)


@pytest.mark.parametrize("recipe", recipe_names())
def test_settings_come_back_from_yaml(recipe: str, tmp_path: Path):
    settings = resolve({"recipe": recipe, "name": "true", "weights": "a: b", "lr_epochs": "1,2"}).settings
    for comments in (False, True):
        assert resolve({}, file=write(tmp_path, to_yaml(settings, comments=comments))).settings == settings


@given(
    lr=st.floats(min_value=1e-3, max_value=10),
    epochs=st.integers(min_value=1, max_value=10**6),
    name=st.text(alphabet=st.characters(codec="utf-8", categories=("L", "N")), min_size=1),
    sizes=st.lists(st.integers(min_value=1, max_value=60).map(lambda n: n * 32), max_size=4),
)
def test_any_settings_come_back_from_yaml(lr: float, epochs: int, name: str, sizes: list[int], tmp_path_factory):
    settings = Settings(lr=lr, lr_floor=0, epochs=epochs, name=name, multi_scale=tuple(sizes))
    path = tmp_path_factory.mktemp("settings") / "settings.yaml"
    path.write_text(to_yaml(settings), encoding="utf-8")
    assert resolve({}, file=path).settings == settings


def test_suggestions_come_only_from_what_is_known():
    assert suggestion("learning_rate", ["lr", "epochs"]).endswith(" lr?")
    assert suggestion("learning_rate", ["weights"]) == ""
    assert suggestion("qqqq", ["lr"]) == ""
