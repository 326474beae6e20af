"""lookonce: the complete YOLOv3-Tiny object detector."""

__version__ = "0.1.0"
