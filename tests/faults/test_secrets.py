"""Credentials in the environment, in addresses and in URLs stand in nothing that lookonce writes or prints."""

import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from lookonce.cli.main import main
from lookonce.remote.objects import ObjectStore
from lookonce.shown import without_secrets
from lookonce.workflows.doctor import as_text, doctor

SECRET, PASSWORD = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYplanted", "hunter2-planted"
NOWHERE = "127.0.0.1:1"  # refuses connections
ENVIRONMENT = {
    "AWS_ACCESS_KEY_ID": "AKIAPLANTEDPLANTED00",
    "AWS_SECRET_ACCESS_KEY": SECRET,
    "AWS_ENDPOINT_URL": f"http://user:{PASSWORD}@{NOWHERE}",
    "HTTPS_PROXY": "",
    "LOOKONCE_TRACEBACK": "1",
}
URL = f"http://user:{PASSWORD}@{NOWHERE}/a.jpg"
OPTIONS = ("--epochs=1", "--batch-size=2", "--image-size=64", "--width=0.0625", "--device=cpu")
COMMANDS = {
    "train": ("train", "--data=data", "--run=run", *OPTIONS),
    "train from a URL": ("train", f"--data={URL}", "--run=url", *OPTIONS),
    "train from object storage": ("train", f"--data=s3://user:{SECRET}@bucket/data", "--run=s3", *OPTIONS),
    "a setting of a secret name": ("train", f"--password={PASSWORD}"),
    "predict": ("predict", URL, "--weights={run}", "--output=predicted"),
    "weights from a URL": ("eval", f"--weights={URL}", "--data=data"),
    "eval": ("eval", "--weights={run}", "--data=data", "--output=evaluation"),
    "config": ("config", f"data={URL}"),
    "job": ("job", f"--data_url={URL}", "--train_url=out", "--data_path=staged", "--output_path=made"),
    "doctor": ("doctor",),
}


def planted(text: bytes) -> Iterator[bytes]:
    for secret in (SECRET, PASSWORD, ENVIRONMENT["AWS_ACCESS_KEY_ID"]):
        if secret.encode() in text:
            yield secret.encode()


@pytest.mark.parametrize("name", COMMANDS)
def test_no_secret_is_printed_or_written(
    name: str,
    run: Path,
    data: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfdbinary: pytest.CaptureFixture[bytes],
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(ObjectStore.__init__.__kwdefaults__, "patience_seconds", 0.0)
    (tmp_path / "data").symlink_to(data)
    for variable, value in ENVIRONMENT.items():
        monkeypatch.setenv(variable, value)
    main([token.format(run=run) for token in COMMANDS[name]])
    printed = capfdbinary.readouterr()
    assert printed.out + printed.err
    assert not list(planted(printed.out + printed.err)), printed
    for path in tmp_path.rglob("*"):
        if path.is_file() and "data" not in path.relative_to(tmp_path).parts[:1]:
            assert not list(planted(path.read_bytes())), path


def test_a_bundle_holds_the_run_without_its_secrets(run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
    for name in ("settings.yaml", "log.txt"):
        with (run / name).open("a") as file:
            file.write(f"\n# {URL} {SECRET}\n")
    health = doctor(bundle=tmp_path / "bundle.zip", run=run)
    assert list(as_text(health))[-1] == f"written: {tmp_path / 'bundle.zip'}"
    with zipfile.ZipFile(tmp_path / "bundle.zip") as archive:
        held = {entry: archive.read(entry) for entry in archive.namelist()}
    assert held.keys() == {"doctor.txt", "packages.txt", "run/settings.yaml", "run/log.txt"}
    assert b"user:***@" in held["run/log.txt"]
    assert not list(planted(b"".join(held.values())))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("http://a.org/x@2x.png", "http://a.org/x@2x.png"),
        ("at rtsp://me:pass@cam:554/live, lost", "at rtsp://me:***@cam:554/live, lost"),
        ("s3://KEY:a/b+c@bucket/k", "s3://KEY:***@bucket/k"),
        ("https://h/x?a=1&X-Amz-Signature=f00&b=2", "https://h/x?a=1&X-Amz-Signature=***&b=2"),
        ("host:8080 and me@home", "host:8080 and me@home"),
    ],
)
def test_passwords_of_urls_are_hidden_and_the_rest_stays(text: str, expected: str) -> None:
    assert without_secrets(text) == expected
