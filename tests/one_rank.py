"""One of the ranks that the fixture `in_ranks` starts; run by runpy with the names below as globals.

SENDER (a pipe), RANK, NUM_RANKS, PORT, FUNCTION (itself, or its file and name), ARGUMENTS.
"""

import importlib.util
import os

import torch

from lookonce.distributed import process_group


def load(file, name):
    """A function of a test file, which is no module that could be imported."""
    spec = importlib.util.spec_from_file_location("tested", file)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return getattr(module, name)


def run(sender, rank, num_ranks, port, function, arguments):
    names = ("RANK", "LOCAL_RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")
    os.environ.update(zip(names, map(str, (rank, rank, num_ranks, num_ranks, "127.0.0.1", port)), strict=True))
    torch.set_num_threads(1)
    try:
        with process_group(torch.device("cpu"), timeout_seconds=30):
            sender.send((function if callable(function) else load(*function))(*arguments))
    except BaseException as error:  # noqa: BLE001 - raised by whoever started the ranks
        sender.send(error)


run(SENDER, RANK, NUM_RANKS, PORT, FUNCTION, ARGUMENTS)  # noqa: F821
