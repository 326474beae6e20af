"""Entry points of `torch.hub.load("OWNER/lookonce", NAME)`; with source="local" and a checkout's folder, offline."""

import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

dependencies = ["torch", "numpy", "cv2", "pydantic", "safetensors"]

if find_spec("lookonce") is None:  # not installed: use this checkout
    sys.path.insert(0, str(Path(__file__).resolve().parent / "src"))


def yolov3_tiny(num_classes: int = 80, width: float = 1.0) -> Any:
    """An untrained network: images (B, 3, H, W) -> raw heads of stride 32 and 16. width: factor on all channels."""
    from lookonce.model.yolov3_tiny import YoloV3Tiny, scaled_channels

    return YoloV3Tiny(num_classes, channels=scaled_channels(width))


def detector(weights: str, device: str = "auto", names: str | None = None) -> Any:
    """`lookonce.load(weights)`: a checkpoint folder, a run folder or an exported file, ready to `detect`.

    names: file with the class names, one per line, for weights of another program.
    """
    import lookonce

    return lookonce.load(weights, names=names, device=device)
