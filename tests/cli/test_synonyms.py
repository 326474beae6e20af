"""The field's spellings of options: taken where they mean the same, else suggested."""

import re
from functools import cache
from pathlib import Path

import pytest
from raised import raises

import lookonce
from lookonce.cli.app import app_of
from lookonce.cli.main import run_verb
from lookonce.cli.options import Options, options_of
from lookonce.cli.verbs import VERBS
from lookonce.errors import SettingsError
from lookonce.settings.names import NEAR, SAME, VERBS_WITH, suggestion
from lookonce.settings.schema import Settings

# Typed after a verb -> the option that is set.
TAKEN = """
train --conf=.1 score-threshold      | train --conf-thres=.1 score-threshold  | train --confidence=.1 score-threshold
train --imgsz=64 image-size          | train --img-size=64 image-size         | train --nms-iou=.5 iou-threshold
train --iou-thres=.5 iou-threshold   | train --num-epochs=3 epochs            | train --batch=2 batch-size
train --lr0=.1 lr                    | train --learning-rate=.1 lr            | train --early-stopping=3 patience
train --max-grad-norm=1 clip-norm    | train --clip-grad=1 clip-norm          | train --checkpoint=w weights
train --ckpt=w weights               | train --model=w weights                | train --dataset=d data
train --num-workers=2 workers        | train --warmup=1 warmup-epochs         | train --scheduler=linear schedule
train --max-det=9 max-detections     | train --wd=.1 weight-decay             | train --random-seed=1 seed
train --agnostic-nms agnostic        | train --resume-from=r resume           | train --threshold=.1 score-threshold
predict --conf=.1 threshold          | predict --confidence=.1 threshold      | predict --conf-thres=.1 threshold
predict --score-threshold=.1 threshold | predict --iou=.5 iou-threshold       | predict --iou-thres=.5 iou-threshold
predict --nms-iou=.5 iou-threshold   | predict --model=w weights              | predict --checkpoint=w weights
predict --input=a.jpg source         | predict --out-dir=o output             | predict --agnostic-nms agnostic
predict --max-det=9 max-detections   | predict --source=a.jpg source          | predict --classes=cat classes
eval --conf=.1 score-threshold       | eval --nms-iou=.5 iou-threshold        | eval --iou=.3 iou
eval --imgsz=64 image-size           | eval --batch=2 batch-size              | eval --ckpt=w weights
eval --dataset=d data                | eval --img-dir=i images                | eval --max-dets=9 max-detections
export --imgsz=64 image-size         | export --format=onnx to                | export --model=w weights
bench --batch-size=2 batch           | bench --weights=w files                | bench --imgsz=64 image-size
predict --imgsz=64 image-size        | predict --resolution=64 image-size     | info --imgsz=64 image-size
convert-data --output=o destination   | train --img=64 image-size              | train --img-shape=64 image-size
train --initial-lr=.1 lr             | train --load-from=w weights            | train --nc=3 num-classes
predict --nms-thr=.5 iou-threshold   | predict --nms-thresh=.5 iou-threshold  | predict --input-size=64 image-size
eval --iou-thresholds=.5 iou         | eval --predictions=p results           | eval --subset=test split
info --nc=3 num-classes              | info --width-multiple=.5 width         | bench --duration=2 seconds
train --gradient-clip=1 clip-norm    | check --ignore=tiny-box skip           | page --force overwrite
train --tsize=64 image-size          | predict --confthre=.1 threshold        | eval --confthre=.1 score-threshold
predict --nmsthre=.5 iou-threshold   | eval --tsize=64 image-size             | predict --view-img show
train --num-machines=2 nnodes        | train --machine-rank=1 node-rank       | train --dist-url=a:1 rdzv-endpoint
export --calib-data=d calibration    | predict --tile-size=640 tile           | predict --thresh=.1 threshold
serve --bind=0.0.0.0 host            | serve --address=0.0.0.0 host           | predict --address=0.0.0.0 address
"""
# Typed after a verb -> the option that does the same in another way.
SUGGESTED = """
train --amp precision=auto           | train --half precision=fp16            | train --fp16 precision=fp16
train --gpu=0 device=cuda            | train --gpus=2 devices                 | train --project=p runs
train --output=o runs                | train --freeze=3 freeze_stages         | train --cos-lr schedule=cosine
predict --project=p output           | predict --name=n output                | predict --save-txt save=yolo
predict --nosave images=false        | export --half precision=fp16           | export --int8 precision=int8
export --dynamic dynamic_size        | eval --project=p output                | convert-data --single-cls rename
train --work-dir=w runs              | train --logdir=l runs                  | train --keep-checkpoint-max=3 keep
train --save-interval=3 save_every   | train --checkpoint-every=3 save_every  | train --total-batch-size=8 batch_size
train --val val_split                | train --no-val eval_every=0            | predict --nms iou_threshold
serve --name=n model_names           | eval --task=test split                 | check --output=o html
check --report html                  | export --target=onnx to                | export --dtype=fp16 precision
export --quantize precision=int8     | export --no-nms outputs=decoded        | export --raw outputs=raw
check --include=boxes only           | export --include=onnx to
train --experiment-name=n name
predict --data=d source              | export --data=d calibration            | convert-data --data=d source
predict --camid=0 source             | predict --path=p source                | predict --save-csv save=csv
predict --tracker=t track            | predict --dnn runtime=opencv           | train --map eval_every
predict --overlap-ratio=.1 tile_overlap | predict --out-filename=o output
export --dynamic-batch batch=0       | train --learning-rat=1 lr              | train --wieghts=w weights
"""
# Typed after a verb -> what does the same, although the verb has no option for it.
ELSEWHERE = """
train --single-cls convert-data      | train --classes=cat convert-data       | serve --token=t LOOKONCE_TOKEN
predict --dont-show --show           | predict --ext-output csv               | predict --save-result --no-images
predict --half export                | eval --fp16 export                     | eval --save-json results.json
eval --save-txt predict              | eval --single-cls convert-data         | eval --classes=cat convert-data
train --plots report                 | export --conf-thres=.1 stored          | export --nmsthre=.1 stored
verify --conf-thres=.1 --score-threshold | bench --iou-thres=.5 --iou-threshold  | predict --batch=2 --batch-size
train --cfg=yolov3-tiny.yaml YOLOv3-Tiny | train --exp-file=e.py YOLOv3-Tiny | train --hyp=h.yaml config
train --fl-gamma=1.5 focal           | train --amp=False precision=fp32
serve --api-key=t LOOKONCE_TOKEN     | serve --iou=.5 request                 | serve --conf=.5 request
"""
# What lookonce does not have, and what a verb does not: no option of a similar spelling does it.
NOWHERE = """
train --copy-paste | train --translate | train --compile  | train --evolve      | train --image-weights
train --nosave     | eval --nosave     | check --nosave   | bench --nosave      | predict --line-width=2
train --mode=train | train --flipud    | train --cutmix   | predict --half      | predict --hide-labels
eval --plots       | serve --workers=2 | export --topk=9  | export --fraction=1 | convert --classes=3
verify --limit=3   | verify --imgsz=64 | check --imgsz=64 | diagnose --imgsz=64 | train --token=t
"""


@cache
def options(verb: str) -> Options:
    _, function = app_of(verb, VERBS[verb])
    return options_of(function, verb)


def cases(table: str) -> list[tuple[str, ...]]:
    return [tuple(row.split()) for line in table.strip().splitlines() for row in line.split("|")]


@pytest.mark.parametrize(("verb", "typed", "option"), cases(TAKEN))
def test_a_spelling_of_the_same_meaning_is_taken(verb: str, typed: str, option: str) -> None:
    (normalised,) = options(verb).normalised([typed])
    assert normalised == f"--{option}{typed[typed.index('=') :] if '=' in typed else ''}"


@pytest.mark.parametrize(("verb", "typed", "option"), cases(SUGGESTED))
def test_a_spelling_of_another_kind_leads_to_the_option(verb: str, typed: str, option: str) -> None:
    with raises(SettingsError, f" {option}?"):
        options(verb).normalised([typed])


@pytest.mark.parametrize(("verb", "typed", "way"), cases(ELSEWHERE))
def test_where_there_is_no_option_the_message_says_the_way(verb: str, typed: str, way: str) -> None:
    with raises(SettingsError, way):
        options(verb).normalised([typed])


@pytest.mark.parametrize(("verb", "typed"), cases(NOWHERE))
def test_what_there_is_not_gets_no_suggestion(verb: str, typed: str) -> None:
    with raises(SettingsError) as caught:
        options(verb).normalised([typed])
    assert not str(caught.value).endswith("?")


def test_the_verbs_that_are_named_have_the_option() -> None:
    for words in VERBS_WITH.values():
        for verbs, option in re.findall(r"([\w, ]+) \(--([\w-]+)\)", words):
            for verb in re.split(r", | and ", verbs.removeprefix(" and ")):
                known = options(verb).names | (Settings.model_fields.keys() if verb == "train" else set())
                assert option.replace("-", "_") in known, words


@pytest.mark.parametrize(
    ("verb", "typed", "told"),
    [
        ("predict", "a.jpg -thresh 0.3", "two hyphens: --thresh"),
        ("predict", "a.jpg -dont_show", "--show"),
        ("train", "-gpus 0,1", "mean devices?"),
        ("train", "-data=d", "hyphens: --data"),
        ("train", "-b 64", "train --help"),
        ("eval", "-c x.pth", "eval --help"),
    ],
)
def test_options_with_one_hyphen_lead_to_ours(verb: str, typed: str, told: str) -> None:
    with raises(SettingsError, told):
        options(verb).normalised(typed.split())


def test_a_file_whose_name_begins_with_a_hyphen_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("-x").touch()
    for words in (["-x"], ["-"], ["-y.jpg"], ["--", "-z"]):
        assert options("predict").normalised(words) == words


@pytest.mark.parametrize(
    ("verb", "typed", "told"),
    [
        ("predict", "a.jpg --confidence 30", "confidence (threshold): 30"),
        ("predict", "a.jpg --threshold 30", "threshold: 30"),
        ("predict", "a.jpg --nms-thres 30", "unknown setting"),
        ("predict", "a.jpg --iou-thres 30", "iou_thres (iou_threshold): 30"),
        ("predict", "a.jpg --max-det 0", "max_det (max_detections): 0"),
        ("eval", "--data d --weights w --threshold 30", "threshold (score_threshold): 30"),
        ("eval", "--data d --weights w --batch x", "batch (batch_size): x"),
        ("config", "--imgsz 100", "imgsz (image_size): 100"),
        ("config", "--batch x", "batch (batch_size): x"),
        ("bench", "--weights ", "weights (files): empty"),
    ],
)
def test_an_error_names_the_spelling_that_was_typed(verb: str, typed: str, told: str) -> None:
    with pytest.raises(SettingsError) as caught:
        run_verb(verb, VERBS[verb], typed.split(" "))
    assert str(caught.value).startswith(told)


def test_an_error_names_the_spelling_of_a_python_program() -> None:
    with raises(SettingsError, "conf (threshold): 30", setting="threshold") as caught:
        lookonce.predict("a.jpg", conf=30)
    assert caught.value.__cause__ is None  # not itself: a chain without an end
    with raises(SettingsError, "imgsz (image_size): 100", setting="image_size"):
        lookonce.config(imgsz=100)


def test_files_without_an_option_can_be_typed_with_one() -> None:
    assert options("convert").normalised(["--cfg", "a.cfg", "--output=o", "--weights=b.weights"]) == [
        *("a.cfg", "--output=o", "b.weights")
    ]


def test_two_spellings_of_one_option_are_refused() -> None:
    with raises(SettingsError, setting="threshold"):
        options("predict").normalised(["--conf=.1", "--threshold=.2"])


def test_every_row_names_a_verb_or_an_option_of_some_verb() -> None:
    known = {"file", *VERBS, *Settings.model_fields}.union(*(options(verb).names for verb in VERBS))
    for words in (*SAME.values(), *NEAR.values()):
        assert known.issuperset(word.partition("=")[0] for word in words.split()), words


@pytest.mark.parametrize(("typed", "verb"), [("val", "eval"), ("detect", "predict"), ("compare", "report")])
def test_a_verb_of_another_program_leads_to_ours(typed: str, verb: str) -> None:
    assert suggestion(typed, VERBS).endswith(f" {verb}?")


def test_in_a_file_or_from_python_a_synonym_comes_before_a_similar_name() -> None:
    assert suggestion("conf_thres", ["nms_thresh", "score_threshold"]).endswith(" score_threshold?")
    assert suggestion("score_threshold", ["ignore_threshold", "threshold"]).endswith(" threshold?")
