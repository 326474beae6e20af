"""What is typed, in all its spellings, becomes one."""

import inspect
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args

import pytest
from raised import raises

from lookonce.cli.app import app_of
from lookonce.cli.main import run_verb
from lookonce.cli.options import Options, options_of
from lookonce.cli.signatures import command_of, placeholder_of, unwrapped
from lookonce.cli.verbs import VERBS
from lookonce.errors import SettingsError
from lookonce.on_ranks import RanksRequest
from lookonce.request import takes


def train(**flags: Any) -> dict[str, Any]:
    return flags


def evaluate(*, weights: Path, data: str, batch_size: int = 8, decode: bool = True) -> None: ...


def export(weights: Path, *, to: str = "onnx", outputs: str = "detections", batch: int = 1) -> None: ...


def of_predict() -> Options:
    return options_of(app_of("predict", VERBS["predict"])[1], "predict")


@pytest.fixture(scope="module")
def of_train() -> Options:
    return options_of(command_of(train, {}), "train")


@pytest.fixture(scope="module")
def of_eval() -> Options:
    return options_of(command_of(evaluate, {}), "eval")


@pytest.fixture(scope="module")
def of_export() -> Options:
    return options_of(command_of(export, {}), "export")


@pytest.mark.parametrize(
    "typed",
    ["--batch-size 32", "--batch_size 32", "--batch-size=32", "--batch_size=32", "batch_size=32", "batch-size=32"],
)
def test_all_spellings_are_one(of_train: Options, of_eval: Options, typed: str):
    assert of_train.normalised(typed.split()) == ["--batch-size=32"]
    assert " ".join(of_eval.normalised(typed.split())) in {"--batch-size 32", "--batch-size=32"}


@pytest.mark.parametrize("typed", ["--per_batch_size 32", "--per-batch-size=32", "per_batch_size=32"])
def test_old_names_stay_as_they_are_in_train_and_are_translated_elsewhere(
    of_train: Options, of_eval: Options, typed: str
):
    assert of_train.normalised(typed.split()) == ["--per-batch-size=32"]
    assert " ".join(of_eval.normalised(typed.split())) in {"--batch-size 32", "--batch-size=32"}


def test_values_that_look_like_options(of_train: Options):
    assert of_train.normalised(["--ckpt_interval", "-1"]) == ["--ckpt-interval=-1"]
    assert of_train.normalised(["--name", "a=b"]) == ["--name=a=b"]
    assert of_train.normalised(["--data", "", "lr=1"]) == ["--data=", "--lr=1"]


def test_switches_take_a_word_only_if_it_says_yes_or_no(of_train: Options, of_eval: Options):
    assert of_train.normalised(["--freeze_bn", "lr=1"]) == ["--freeze-bn", "--lr=1"]
    assert of_train.normalised(["--freeze_bn", "false"]) == ["--freeze-bn=false"]
    assert of_train.normalised(["--no-nesterov"]) == ["--no-nesterov"]
    assert of_eval.normalised(["--decode", "1"]) == ["--decode=1"]


def test_resume_may_stand_alone(of_train: Options):
    assert of_train.normalised(["--resume"]) == ["--resume=true"]
    assert of_train.normalised(["--resume", "--lr", "1"]) == ["--resume=true", "--lr=1"]
    assert of_train.normalised(["--resume", "runs/a-1"]) == ["--resume=runs/a-1"]


def test_unknown_names_are_refused_with_a_suggestion(of_train: Options, of_eval: Options):
    with raises(SettingsError, " lr?", setting="learning_rat"):
        of_train.normalised(["--learning_rat", "1"])
    with raises(SettingsError, " weights?", setting="weigths"):
        of_eval.normalised(["weigths=1"])
    with raises(SettingsError, "lookonce eval --help", setting="per_class"):
        of_eval.normalised(["--per-class"])


def test_a_setting_that_a_verb_lacks_is_that_of_training(of_eval: Options):
    for typed, option in (("--epochs", "--epochs"), ("--imgsz", "--image-size"), ("--warmup", "--warmup-epochs")):
        with raises(SettingsError, "train", option, setting=typed.removeprefix("--")):
            of_eval.normalised([typed, "3"])


def test_words_without_an_option_are_refused_where_there_is_no_place_for_them(of_train: Options, of_export: Options):
    with raises(SettingsError, value="photos"):
        of_train.normalised(["photos"])
    assert of_export.normalised(["runs/a-1"]) == ["runs/a-1"]


@pytest.mark.parametrize(
    ("tokens", "listed"),
    [
        (["a.jpg", "--classes", "dog", "cat"], "--classes dog,cat"),
        (["--classes=dog", "cat", "a.jpg"], "--classes dog,cat"),
        (["--classes", "0", "1", "2"], "--classes 0,1,2"),
        (["a.jpg", "--image-size", "416", "224"], "--image-size 416,224"),
    ],
)
def test_words_of_a_list_without_commas_are_told(tokens: list[str], listed: str) -> None:
    with raises(SettingsError, listed):
        of_predict().normalised(tokens)


@pytest.mark.parametrize(
    "tokens", [["--classes", "dog", "0"], ["--classes", "dog", "b.jpg", "c.jpg"], ["a.jpg", "--classes", "dog", "src"]]
)
def test_a_source_after_a_list_is_none_of_its_words(
    tokens: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "src").mkdir()
    assert of_predict().normalised(tokens) == tokens


@dataclass(frozen=True, kw_only=True)
class SomeRequest(RanksRequest):
    """Do it."""

    source: str = field(kw_only=False)
    image_size: int = 3


@takes(SomeRequest)
def some(request: SomeRequest) -> SomeRequest:
    return request


def test_a_request_gives_a_verb_its_signature_with_its_own_options_first() -> None:
    command = command_of(some, {})
    parameters = inspect.signature(command).parameters
    assert list(parameters)[:3] == ["source", "image_size", "devices"]
    assert parameters["image_size"].default == 3
    assert command.__doc__ == "Do it."
    assert some("street", image_size=4) == SomeRequest("street", image_size=4)
    assert command("street", devices="2").devices == "2"
    assert options_of(command, "eval").normalised(["street", "--group_size", "2"]) == ["street", "--devices=2"]


def test_a_file_may_be_called_like_an_option(of_export: Options, tmp_path: Path):
    (tmp_path / "a=b.jpg").touch()
    name = "a=b.jpg"
    assert of_export.normalised([f"{tmp_path}/{name}", "--", "to=x"]) == [f"{tmp_path}/{name}", "--", "to=x"]


def test_old_names_of_export_change_their_values_too(of_export: Options):
    assert of_export.normalised(["ckpt_file=a", "file_format=ONNX"]) == ["--weights=a", "--to=onnx"]
    assert of_export.normalised(["keep_detect=False", "batch_size=2"]) == ["--outputs=raw", "--batch=2"]
    assert of_export.normalised(["--keep_detect", "True"]) == ["--outputs=decoded"]
    with raises(SettingsError, setting="lr_gamma"):
        of_export.normalised(["lr_gamma=1"])


def test_old_names_that_mean_nothing_are_noted_once_at_their_default(
    of_export: Options, caplog: pytest.LogCaptureFixture
):
    assert of_export.normalised(["lr_gamma=0.1", "--max_epoch", "300", "ckpt_file=a"]) == ["--weights=a"]
    (note,) = caplog.messages
    assert "lr_gamma, max_epoch" in note


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "default_config.yaml"
    path.write_text(
        "max_epoch: 20\nckpt_file: a.ckpt\nfile_format: MINDIR\nfile_name: yolov3_tiny\nkeep_detect: False\n"
        "batch_size: 1\npretrained: b.ckpt\ndata_dir: /data\nper_batch_size: 32\ndevice_id: 0\nweights: start\n"
        "---\nmax_epoch: times\n"
    )
    return path


def test_a_file_gives_a_verb_its_options_and_what_is_typed_wins(of_export: Options, of_eval: Options, file: Path):
    assert of_export.normalised([f"--file={file}"]) == [
        *("--weights=a.ckpt", "--to=mindir", "--outputs=raw", "--batch=1"),
    ]
    typed = of_export.normalised(["--config_path", str(file), "runs/a-1", "file_format=ONNX", "--batch", "2"])
    assert typed == ["runs/a-1", "--batch", "2", "--outputs=raw", "--to=onnx"]
    assert of_eval.normalised([f"--file={file}", "batch_size=4"]) == [
        *("--batch-size=4", "--weights=b.ckpt", "--data=/data"),
    ]


def test_what_a_file_says_by_one_name_and_somebody_typed_by_another_is_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    def sized(*, image_size: int | None = None) -> None: ...

    path = tmp_path / "default_config.yaml"
    path.write_text("test_img_shape: [320, 320]\n")
    options = options_of(command_of(sized, {}), "eval")
    assert options.normalised([f"--file={path}", "testing_shape=416"]) == ["--image-size=416"]
    assert ["testing_shape=416" in note and "test_img_shape=[320, 320]" in note for note in caplog.messages] == [True]


def test_unknown_names_are_told_all_at_once(of_eval: Options, tmp_path: Path):
    with pytest.raises(SettingsError) as caught:
        of_eval.normalised(["weigths=1", "--no_such", "2"])
    assert [line.split()[2].strip(";") for line in str(caught.value).splitlines()] == ["weigths", "no_such"]
    path = tmp_path / "mine.yaml"
    path.write_text("weigths: 1\nepochs: 3\nno_such: 2\n")
    with pytest.raises(SettingsError) as caught:
        of_eval.normalised([f"--file={path}"])
    assert [str(path) in line for line in str(caught.value).splitlines()] == [True, True]


def test_a_function_gets_its_own_names_back_and_a_bar():
    seen: dict[str, Any] = {}

    def check(data: str, *, json_file: Path | None = None, on_progress: Any = None) -> None:
        on_progress(1, 2)
        seen.update(data=data, json_file=json_file)

    command = command_of(check, {"json_file": "json"})
    assert options_of(command, "check").names == {"data", "json"}
    command("d", json=Path("x"))
    assert seen == {"data": "d", "json_file": Path("x")}


def test_a_switch_that_is_off_by_default_has_no_opposite_and_a_table_says_what_a_signature_cannot() -> None:
    def write(*, check: bool = False, sizes: tuple[int, ...] = (), score: bool = True) -> None: ...

    command = command_of(write, {}, traits={"score": {"show_default": False}})
    check, sizes, score = (
        get_args(parameter.annotation) for parameter in inspect.signature(command).parameters.values()
    )
    assert check[0] is bool
    assert check[1].negative == ()
    assert [traits.show_default for _, traits in (check, sizes, score)] == [False, False, False]
    assert score[1].negative != ()


def test_a_docstrings_paragraphs_become_one_line_each_and_names_of_parameters_keep_theirs() -> None:
    docstring = """Find
    objects.

    More
    of it.

    Parameters
    ----------
    source
        A picture, or
        a folder.
    weights
        A file.
    """
    assert unwrapped(docstring).splitlines() == [
        "Find objects.",
        "",
        "More of it.",
        "",
        "Parameters",
        "----------",
        "source",
        "    A picture, or a folder.",
        "weights",
        "    A file.",
    ]


@pytest.mark.parametrize(
    ("typed", "normalised"),
    [
        ("--data_url s3://b/k a=b --verbose", ["--data-url=s3://b/k", "--a=b", "--verbose=true"]),
        ("--ckpt_interval -1 --no-nesterov --no_such", ["--ckpt_interval=-1", "--nesterov=false", "--no_such=true"]),
        ("--quiet lr=1", ["--quiet=true", "--lr=1"]),
    ],
)
def test_a_tolerant_verb_takes_options_of_any_name(typed: str, normalised: list[str]):
    def job(*, data_url: str | None = None, **flags: Any) -> None: ...

    options = options_of(command_of(job, {}, tolerant=True), "job")
    assert options.normalised(typed.split()) == normalised
    with raises(SettingsError, value="word"):
        options.normalised(["word"])


@pytest.mark.parametrize(
    "tokens",
    [["info", ""], ["train", "--data=d", "--weights="], ["eval", "--weights="], ["predict", "a.jpg", "--weights", ""]],
)
def test_an_empty_path_is_not_the_working_folder(tokens: list[str]):
    with raises(SettingsError, setting="weights", value=""):
        run_verb(tokens[0], VERBS[tokens[0]], tokens[1:])


@pytest.mark.parametrize(
    ("verb", "tokens", "setting"),
    [
        ("bench", [""], "files"),
        ("bench", ["a.onnx", ""], "files"),
        ("bench", ["a.onnx", "--names", ""], "names"),
        ("convert", ["a.weights", "", "--output", "o"], "files"),
        ("serve", [""], "weights"),
        ("check", [""], "data"),
        ("check", ["d", "--only", ""], "only"),
        ("predict", [""], "source"),
        ("predict", ["a.jpg", "--classes", ""], "classes"),
        ("export", ["coco", "--calibration", ""], "calibration"),
        ("export", ["coco", "--for="], "for"),
        ("export", ["coco", "--file-name="], "file_name"),
        ("train", ["--data", ""], "data"),
        ("train", ["--data=d", "--names", ""], "names"),
        ("config", ["--runs="], "runs"),
        ("config", ["--file="], "file"),
        ("eval", ["--data=d", "--weights=w", "--file="], "file"),
    ],
)
def test_an_empty_value_is_no_value(verb: str, tokens: list[str], setting: str):
    with raises(SettingsError, "empty", setting=setting, value=""):
        run_verb(verb, VERBS[verb], tokens)


@pytest.mark.parametrize(
    ("hint", "word"),
    [
        (int | None, "N"),
        (int | str | None, "N|TEXT"),
        (Path, "PATH"),
        (tuple[float, ...], "NUMBER..."),
        (list[str] | None, "TEXT..."),
        (Literal["fp32", "fp16"], "WORD"),
        (bool | None, ""),
    ],
)
def test_values_have_the_placeholders_of_settings(hint: Any, word: str) -> None:
    assert placeholder_of(hint) == word
