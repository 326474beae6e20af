"""A data set for a plain DataLoader: the samples of lookonce's own loader, one at a time."""

import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from lookonce.data.augment import Augmentation
from lookonce.data.loader import Loader
from lookonce.data.synthetic import SceneOptions, write_synthetic
from lookonce.settings.record import Preprocessing
from lookonce.training.samples import Samples, collate

AUGMENTATION = Augmentation(scale_min=0.5, scale_max=1.5, flip=0.5, hue=0.1, mosaic=0.5)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    options = SceneOptions(sides=(40, 70), empty_share=0.3)
    return write_synthetic(tmp_path_factory.mktemp("samples") / "data", train=5, val=2, options=options)


def test_a_sample_is_that_of_the_training_loader(data: Path) -> None:
    samples = Samples(str(data), image_size=(64, 96), augmentation=AUGMENTATION, seed=3)
    samples.epoch = 2
    loader = Loader(
        samples.dataset,
        batch_size=5,
        image_sizes=[(64, 96)],
        preprocessing=Preprocessing(),
        augment=AUGMENTATION,
        seed=3,
    )
    (batch,) = loader.epoch(2)
    images, targets = collate([samples[position] for position in range(len(samples))])
    assert (images.shape, images.dtype) == ((5, 3, 64, 96), torch.float32)
    np.testing.assert_allclose(images.numpy(), batch.images.transpose(0, 3, 1, 2) / np.float32(255))
    is_box = targets.labels >= 0
    np.testing.assert_array_equal(targets.boxes_xyxy[is_box].numpy(), batch.boxes_xyxy)
    np.testing.assert_array_equal(targets.labels[is_box].numpy(), batch.labels)


def test_samples_depend_on_seed_epoch_and_position_alone(data: Path) -> None:
    def image(seed: int = 0, epoch: int = 0, position: int = 1) -> torch.Tensor:
        samples = Samples(data, image_size=64, augmentation=AUGMENTATION, seed=seed)
        samples.epoch = epoch
        return pickle.loads(pickle.dumps(samples))[position].image  # noqa: S301 - as a worker process gets it

    assert torch.equal(image(), image())
    for other in ({"seed": 1}, {"epoch": 1}, {"position": 2}):
        assert not torch.equal(image(), image(**other))


def test_without_augmentation_images_come_in_order_as_at_inference(data: Path) -> None:
    samples = Samples(data, "val", image_size=64)
    assert [len(sample.labels) for sample in samples] == np.diff(samples.dataset.box_offsets).tolist()  # type: ignore[attr-defined]
    with pytest.raises(IndexError):
        samples[2]
    images, targets = next(iter(DataLoader(samples, batch_size=2, collate_fn=collate)))
    assert images.shape == (2, 3, 64, 64)
    assert (targets.boxes_xyxy >= 0).all()
    assert (targets.boxes_xyxy <= 64).all()
