"""Synchronised BatchNorm: statistics over the images of all ranks, as one process computes with the whole batch.

PyTorch's SyncBatchNorm does not support the CPU ("SyncBatchNorm expected input tensor to be on GPU"), so the CPU gets
an implementation in plain operations. It is slower, but tests can compare several processes with a single one.
"""

from typing import Any

import torch
from torch import Tensor, nn

from lookonce.distributed import all_reduce_sum


def synchronise_batchnorm(model: nn.Module, device: torch.device) -> nn.Module:
    """The same model, with the same parameter names, in which every BatchNorm is synchronised over the ranks."""
    if device.type != "cpu":
        converted: nn.Module = nn.SyncBatchNorm.convert_sync_batchnorm(model)  # type: ignore[no-untyped-call]
        return converted
    for parent in list(model.modules()):
        for name, child in parent.named_children():
            if isinstance(child, nn.BatchNorm2d):
                synced = SyncedBatchNorm2d(child.num_features, eps=child.eps, momentum=child.momentum)
                for own, tensor in (*child.named_parameters(), *child.named_buffers()):
                    setattr(synced, own, tensor)  # the same objects: an optimizer may hold them already
                setattr(parent, name, synced.train(child.training))
    return model


class SyncedBatchNorm2d(nn.BatchNorm2d):
    """(B, C, H, W) -> the same shape; in training, mean and variance are over the images of all ranks."""

    def forward(self, x: Tensor) -> Tensor:
        if not self.training:
            return super().forward(x)
        pixels = x.float()
        count = all_reduce_sum(pixels.new_full((), pixels.numel() // pixels.shape[1]))
        mean = _sum_over_ranks(pixels.sum((0, 2, 3))) / count  # (C,)
        centred = pixels - mean.view(1, -1, 1, 1)
        variance = _sum_over_ranks(centred.square().sum((0, 2, 3))) / count  # (C,)
        self._keep_statistics(mean.detach(), variance.detach() * count / (count - 1))
        scale = self.weight * torch.rsqrt(variance + self.eps)
        return (centred * scale.view(1, -1, 1, 1) + self.bias.view(1, -1, 1, 1)).to(x.dtype)

    @torch.no_grad()
    def _keep_statistics(self, mean: Tensor, variance: Tensor) -> None:
        assert self.running_mean is not None
        assert self.running_var is not None
        assert self.num_batches_tracked is not None
        assert self.momentum is not None
        self.num_batches_tracked += 1
        self.running_mean.lerp_(mean, self.momentum)
        self.running_var.lerp_(variance, self.momentum)


class _SumOverRanks(torch.autograd.Function):
    """All-reduce with a gradient: each rank's output depends on all inputs, so the gradients are summed over ranks."""

    @staticmethod
    def forward(_context: Any, values: Tensor) -> Tensor:
        return all_reduce_sum(values.clone())

    @staticmethod
    def backward(_context: Any, gradient: Tensor) -> Tensor:
        return all_reduce_sum(gradient.clone())


def _sum_over_ranks(values: Tensor) -> Tensor:
    result: Tensor = _SumOverRanks.apply(values)
    return result
