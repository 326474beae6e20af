"""Batch normalisations folded into the convolutions before them, as every exported file has them."""

import copy
from itertools import pairwise

import torch
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval


def fold_batchnorm(model: nn.Module) -> nn.Module:
    """A copy on the CPU, in evaluation mode, with batch normalisations folded into the convolutions before them.

    Its weights have the contiguous memory format, whatever the runtimes did to the model: files are reproducible, and
    ExecuTorch accepts no other format.
    """
    folded = copy.deepcopy(model).cpu().eval().requires_grad_(False)
    folded = folded.to(memory_format=torch.contiguous_format)
    for block in list(folded.modules()):
        children = list(block.named_children())
        for (conv_name, conv), (norm_name, norm) in pairwise(children):
            if isinstance(conv, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d):
                setattr(block, conv_name, fuse_conv_bn_eval(conv, norm))
                setattr(block, norm_name, nn.Identity())
    return folded
