"""Linear branches that train the weights of 3x3 convolutions and fold into them: the network computed stays the same.

The weights are the sum of a 3x3, a 1x1, a 1x3 and a 3x1 branch, each with a factor per output channel. One convolution
computes them all, so a step costs no more activations, and no branch exists outside of training.
Sources: Ding et al. 2021 (RepVGG) and 2019 (ACNet), the branches; Hu et al. 2022 (OREPA), factors instead of BatchNorm.
"""

import copy

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lookonce.model.backbone import ConvBlock

# Kernel (height, width) of a branch -> its padding to 3x3: left, right, top, bottom.
BRANCHES = {(1, 1): (1, 1, 1, 1), (1, 3): (0, 0, 1, 1), (3, 1): (1, 1, 0, 0)}


class Branches(nn.Module):
    """weight (O, I, 3, 3) of the 3x3 branch -> weight of the convolution, the same shape.

    The 3x3 branch has factor 1 at the start and the others 0, so that given weights stay what they are.
    """

    def __init__(self, weight: Tensor, generator: torch.Generator) -> None:
        super().__init__()
        outputs, inputs = weight.shape[:2]
        self.factor = nn.Parameter(torch.ones(outputs))
        self.factors = nn.ParameterList(nn.Parameter(torch.zeros(outputs)) for _ in BRANCHES)
        self.weights = nn.ParameterList()
        for height, width in BRANCHES:
            branch = torch.empty(outputs, inputs, height, width)
            self.weights.append(branch.normal_(0, (2 / (inputs * height * width)) ** 0.5, generator=generator))

    def forward(self, weight: Tensor) -> Tensor:
        total = weight * _per_output(self.factor)
        for branch, factor, padding in zip(self.weights, self.factors, BRANCHES.values(), strict=True):
            total = total + F.pad(branch * _per_output(factor), padding)
        return total


def _per_output(factor: Tensor) -> Tensor:
    return factor.view(-1, 1, 1, 1)


def add_branches(model: nn.Module, generator: torch.Generator) -> None:
    """Give every 3x3 convolution of `model` its branches, drawn from `generator`."""
    for block in model.modules():
        if isinstance(block, ConvBlock) and block.conv.kernel_size == (3, 3):
            block.branches = Branches(block.conv.weight, generator)


def folded_state(model: nn.Module) -> dict[str, Tensor]:
    """The state of `model` with its branches folded, which has the names of the network without branches."""
    state = model.state_dict()
    for name, block in model.named_modules():
        if isinstance(block, ConvBlock) and block.branches is not None:
            state[f"{name}.conv.weight"] = block.branches(block.conv.weight).detach()
    return {name: array for name, array in state.items() if ".branches." not in name}


def folded(model: nn.Module) -> nn.Module:
    """A copy of `model` with its branches folded."""
    plain = copy.deepcopy(model)
    for block in plain.modules():
        if isinstance(block, ConvBlock):
            block.branches = None
    plain.load_state_dict(folded_state(model))
    return plain
