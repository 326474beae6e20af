"""uint8 images -> the numbers that the network sees."""

import torch

from lookonce.model.normalise import to_network_input
from lookonce.settings.record import Preprocessing


def test_network_input_is_channels_last_and_normalised():
    images = torch.tensor([[[[255, 0, 51]]]], dtype=torch.uint8)
    plain = to_network_input(images, Preprocessing())
    assert plain.shape == (1, 3, 1, 1)
    assert plain.flatten().tolist() == [1, 0, torch.tensor(0.2).item()]
    wide = to_network_input(torch.zeros((1, 4, 6, 3), dtype=torch.uint8), Preprocessing())
    assert wide.is_contiguous(memory_format=torch.channels_last)
    shifted = to_network_input(images, Preprocessing(mean=(0.5, 0.5, 0.2), std=(0.25, 0.5, 1.0), color_order="RGB"))
    torch.testing.assert_close(shifted.flatten(), torch.tensor([2.0, -1.0, 0.0]))
