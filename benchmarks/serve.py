"""Load on `lookonce serve` over loopback: requests/s relative to the network alone, latency, and too much load.

    python benchmarks/serve.py [WEIGHTS IMAGES] [--threshold 0.25] [--rounds 3] [--seconds 10]

Default WEIGHTS and IMAGES as in benchmarks/predict.py. The server is a process of its own; the clients are threads of
this one, and take part of the same processors. Each round measures the network alone (as `lookonce bench` does: inputs
ready in memory, with decoding of boxes and NMS), reading and detecting files as `lookonce predict` does, and the server
with 16 clients that ask without pause. Ratios are computed within a round.

Then 60 % of that rate, paced, must be answered without an error; 200 clients without pause may get 429 and 503;
afterwards one client must get its answers as before. The server's memory before and after all this is compared.
"""

import argparse
import os
import re
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.client import HTTPConnection, HTTPException
from pathlib import Path

import numpy as np
import predict as of_predict
import standard

from lookonce.letterbox import fit
from lookonce.prediction.predictor import predict
from lookonce.prediction.sources import find_images
from lookonce.runtimes.detector import Detector
from lookonce.runtimes.registry import load_runtime

NUM_CLIENTS, TOO_MANY = 16, 200
SHARE_OF_CAPACITY = 0.6


@dataclass
class Load:
    """What clients got: status -> number, 0 for a connection that broke; seconds of each answer with status 200."""

    statuses: Counter[int] = field(default_factory=Counter)
    latencies: list[float] = field(default_factory=list)
    seconds: float = 0.0

    @property
    def rate(self) -> float:
        return self.statuses[200] / self.seconds

    def __str__(self) -> str:
        median, high = np.percentile(self.latencies, [50, 99]) * 1000 if self.latencies else (0, 0)
        statuses = ", ".join(f"{status}: {count}" for status, count in sorted(self.statuses.items()))
        return f"{self.rate:6.1f}/s, median {median:.0f} ms, p99 {high:.0f} ms; statuses {statuses}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("weights", type=Path, nargs="?")
    parser.add_argument("images", nargs="?")
    parser.add_argument("--threshold", type=float)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=10)
    parser.add_argument("--folder", type=Path, default=Path("build/benchmark"), help="folder of the generated files")
    arguments = parser.parse_args()
    weights, images = arguments.weights, arguments.images
    if weights is None or images is None:
        images, _, weights = standard.make(arguments.folder)
    runtime, sources = load_runtime(weights), find_images(images)
    canvases = np.stack(
        [fit(one.read(), runtime.record.image_size, runtime.record.preprocessing)[0] for one in sources]
    )
    threshold = arguments.threshold or standard.usual_threshold(runtime, canvases)
    detector = Detector(runtime, score_threshold=threshold)
    of_predict.seconds_alone(runtime, canvases[: of_predict.BATCH], detector)  # warms up
    contents = [one.path.read_bytes() for one in sources if one.path]
    with server(weights) as (process, port):
        path = f"/detect?threshold={threshold}"
        asked = Asked(port=port, path=path, contents=contents)
        asked.load(1, 1)
        memory = memory_of(process.pid)
        idle, ratios, rate = asked.load(1, arguments.seconds / 2), [], 0.0
        print(f"one client      {idle}")
        for _ in range(arguments.rounds):
            alone = len(canvases) / of_predict.seconds_alone(runtime, canvases, detector)
            started = time.perf_counter()
            num_files = sum(1 for _ in predict(detector, sources))
            files = num_files / (time.perf_counter() - started)
            full = asked.load(NUM_CLIENTS, arguments.seconds)
            rate = full.rate
            ratios.append((rate / alone, rate / files))
            print(f"{NUM_CLIENTS} clients      {full}")
            print(f"  network alone {alone:.1f}/s, ratio {ratios[-1][0]:.3f}; files {files:.1f}/s, {ratios[-1][1]:.3f}")
        paced = asked.load(NUM_CLIENTS, arguments.seconds, rate=SHARE_OF_CAPACITY * rate)
        print(f"{SHARE_OF_CAPACITY:.0%} of that     {paced}")
        print(f"{TOO_MANY} clients     {asked.load(TOO_MANY, arguments.seconds)}")
        print(f"one client      {asked.load(1, arguments.seconds / 2)}")
        grown = (memory_of(process.pid) - memory) / 1e6
        print(f"memory: {memory / 1e6:.0f} MB after the first second, {grown:+.0f} MB after all")
    median = [statistics.median(column) for column in zip(*ratios, strict=True)]
    print(f"median ratio: {median[0]:.3f} of the network alone, {median[1]:.3f} of predict")
    print(f"the server ended with status {process.returncode}")


@contextmanager
def server(weights: Path) -> Iterator[tuple[subprocess.Popen[bytes], int]]:
    """A server process and its port; it is stopped by SIGTERM at the end of the block."""
    with tempfile.TemporaryFile() as log:
        command = [sys.executable, "-m", "lookonce", "serve", str(weights), "--port", "0"]
        process = subprocess.Popen(command, stderr=log, stdout=log)
        try:
            while not (found := re.search(rb"http://127\.0\.0\.1:(\d+)/", read(log))):
                if process.poll() is not None:
                    sys.exit(read(log).decode())
                time.sleep(0.1)
            yield process, int(found[1])
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait()


def read(log: object) -> bytes:
    return os.pread(log.fileno(), 1 << 20, 0)  # type: ignore[attr-defined]


@dataclass(frozen=True, kw_only=True)
class Asked:
    port: int
    path: str
    contents: Sequence[bytes]

    def load(self, num_clients: int, seconds: float, rate: float | None = None) -> Load:
        """What so many clients get in these seconds; rate: requests/s of all together, None: without pause."""
        loads = [Load() for _ in range(num_clients)]
        end = time.monotonic() + seconds
        pause = num_clients / rate if rate else 0.0
        threads = [
            threading.Thread(target=self._client, args=(number, load, end, pause)) for number, load in enumerate(loads)
        ]
        started = time.monotonic()
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return Load(
            statuses=sum((one.statuses for one in loads), Counter()),
            latencies=[value for one in loads for value in one.latencies],
            seconds=time.monotonic() - started,
        )

    def _client(self, number: int, load: Load, end: float, pause: float) -> None:
        connection, due = HTTPConnection("127.0.0.1", self.port, timeout=60), time.monotonic() + pause * number / 16
        while (now := time.monotonic()) < end:
            if due > now and pause:
                time.sleep(min(due - now, end - now))
                continue
            due += pause
            started = time.monotonic()
            try:
                connection.request(
                    "POST", self.path, self.contents[(number + len(load.latencies)) % len(self.contents)]
                )
                response = connection.getresponse()
                response.read()
                load.statuses[response.status] += 1
                if response.status == 200:
                    load.latencies.append(time.monotonic() - started)
                else:
                    time.sleep(0.2)  # clients of real life wait longer: Retry-After is a second or more
            except (OSError, HTTPException):
                load.statuses[0] += 1
                connection.close()
        connection.close()


def memory_of(pid: int) -> int:
    """Bytes in memory of a process (Linux)."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


if __name__ == "__main__":
    main()
