"""Every option of the model zoo's document: its name, ours, its default, and the difference; `aliases` reads the table.

A program of the document; below it `its name | our name, - without one | its default`, then words on how it is used:
training only: other verbs have our option too, but this one does not map to it there. default holds: its default in a
configuration file applies too, unless another source sets the option. noted: no value has an effect, and any but the
default is noted. harmless: values that are accepted beside the default of an option without an equivalent. in its file:
the default in the document's configuration file, where that differs. After -- or indented below: the difference from
the model zoo, for docs and errors.
"""

OPTIONS = """\
train
  data_dir | data | /cache/data/coco2017/ | default holds -- no default; also reads VOC and YOLO data
  device_target | device | Ascend
    Ascend -> npu, GPU -> cuda, CPU -> cpu; default `auto` picks an accelerator if there is one
  device_id | device | 0 -- the number of the device, with device_target: `cuda:1`
  ckpt_path | runs | outputs/ | default holds
    parent folder: each run creates a new folder in it and never overwrites one
  ckpt_interval | save_every | -1
    -1: after each epoch; otherwise save_steps, in batches; `last` is replaced, keep=N keeps N epoch checkpoints
  is_save_on_master | save_on | 1 -- 1 -> main, 0 -> all: rank R writes into checkpoints/rank-R
  log_interval | log_interval | 100 -- batches
  pretrained_backbone | backbone_weights | "" -- a .ckpt file or a checkpoint
  resume_yolo | weights | "" | training only
    as pretrained_backbone; add names=FILE for a .ckpt without class names beside it
  resume_epoch | start_epoch | 0 -- to resume a stopped run use resume=true
  finetune | - | 0 | harmless: 1 true false
    no switch: the classes are always the data set's; classes with the same name keep their weights, or all classes
    in order if the weights have no names and the number agrees
  finetune_path | weights | "" | training only -- as resume_yolo
  per_batch_size | batch_size | 32 -- on each device
  max_epoch | epochs | 300
  lr_scheduler | schedule | cosine_annealing -- also `cosine`, `linear` and `constant`, updated at every step
  lr | lr | 0.001
  lr_epochs | lr_epochs | 220,250
  lr_gamma | lr_gamma | 0.1
  eta_min | lr_floor | 0
  t_max | t_max | 300 -- 0 means epochs; values below epochs count as epochs
  warmup_epochs | warmup_epochs | 4 -- may be a fraction
  weight_decay | weight_decay | 0.016 -- convolution weights only, as in the model zoo
  momentum | momentum | 0.9
  loss_scale | loss_scale | 1024 -- applies to precision fp16; 0 uses dynamic loss scaling
  label_smooth | label_smoothing | 0 -- one number: label_smooth 1 -> the value of label_smooth_factor, 0 -> 0
  label_smooth_factor | label_smoothing | 0.1 -- applies only with label_smooth=1; alone, only 0.1 is accepted
  coord_scale | box_weight | 4
  large_scale | stride32_weight | 4
  ignore_threshold | ignore_iou | 0.7
  assignment IoU threshold | assign_iou | 0.213 -- a constant in the model zoo's code
  anchor_scales | anchors | (10,14) (23,27) (37,58) (81,82) (135,169) (344,319)
    any six; the first three for stride 16, the last three for stride 32, as in the model zoo
  num_classes | - | 80 | noted -- no effect; the number of classes is read from the data set
  out_channel | - | 255 | noted -- no effect; it follows from the number of classes: 3 x (5 + classes)
  training_shape | image_size | 640 | training only
    empty or 0 -> multi_scale with the document's sizes; otherwise multi_scale is off
  multi_scale | multi_scale | 320,352,384,416,448,480,512,544,576,608
    applies whenever training_shape is not given; empty: fixed size; also accepts [[320,320],[352,352]]
  resize_rate | resize_every | 10 -- batches
  num_parallel_workers | workers | 8 -- threads; `auto` fits the machine; the number does not change the samples
  max_box | max_boxes | 90
  jitter | aspect_jitter | 0.3
  hue | hue | 0.015 -- fraction of the colour circle
  saturation | saturation | 1.5 -- maximum factor, the minimum is its inverse; values below 1 are inverted
  value | brightness | 0.4 -- maximum factor, the minimum is its inverse; values below 1 are inverted: 0.4 -> 2.5
  nms_thresh | iou_threshold | 0.5 -- box sizes without the model zoo's extra pixel
  eval_ignore_threshold | score_threshold | 0.001
  multi_label | multi_label | True
  multi_label_thresh | - | 0.15 | noted -- no effect; classes are filtered by score_threshold alone
  is_distributed | - | 0 | in its file: 1 -- use `--devices N` (group_size in the model zoo)
  rank | - | 0 -- set by the launcher for each process: `lookonce train --devices N`, or torchrun; remove it
  group_size | devices | 1 -- starts the processes; for several nodes add nnodes and rdzv_endpoint
  need_profiler | profile | 0 -- stops after ten steps, as in the model zoo
eval
  predict_path | - | "" -- `lookonce predict IMAGES --weights W` predicts and draws
  pretrained | weights | ""
  log_path | output | outputs/
  ann_file | data | "" -- with img_path as --images
  img_path | images | ""
  result_path | results | "" -- detections in COCO results format, not raw network outputs
  testing_shape | image_size | 640 -- default: the size stored with the weights
  test_img_shape | image_size | [640, 640] -- a square size, as testing_shape
export
  ckpt_file | weights | ""
  file_name | file_name | yolov3_tiny | default holds -- in the current folder, as in the model zoo
  file_format | to | MINDIR | default holds -- default onnx; AIR needs Ascend hardware
  keep_detect | outputs | True | default holds
    True -> decoded, False -> raw; default: `detections`, with NMS, but decoded for MINDIR
  batch_size | batch | 1 | default holds -- export only: in the other verbs batch_size is lookonce's own setting
  input_file | - | "" -- empty in the model zoo's file, and not explained in the document; remove it
  output_file | - | "" -- empty in the model zoo's file, and not explained in the document; remove it
job
  enable_modelarts | - | False | harmless: 0
    `lookonce train` and `lookonce eval` with this option run `lookonce job`; pass a file with it to `lookonce job
    --file`
  data_url | data_url | "" -- s3://, obs:// or a path; or the environment variable of this name; likewise the next two
  train_url | train_url | "" -- results are uploaded during the run
  checkpoint_url | checkpoint_url | "" -- a file, or a folder with the file that `pretrained` names
  data_path | data_path | /cache/data -- ./cache/data if there is no /cache
  output_path | output_path | /cache/train -- ./cache/train if there is no /cache
  load_path | load_path | /cache/checkpoint_path -- ./cache/checkpoint_path if there is no /cache
  need_modelarts_dataset_unzip | - | True | noted -- applies to cloud jobs only (lookonce job)
  modelarts_dataset_unzip_name | - | coco2017 | noted -- applies to cloud jobs only, if there are several .zip files
"""
