"""Against a real S3 protocol server, behind a proxy that enforces OBS's rule about signed bodies."""

import threading
import time
from pathlib import Path

import boto3
import numpy as np
import pytest
from raised import raises
from s3_server import ObsLikeProxy

from lookonce.remote import objects
from lookonce.remote.objects import Entry, Location, ObjectStore, RemoteAway, RemoteError, etag_of, is_remote


@pytest.fixture
def big_file(tmp_path: Path) -> Path:
    """20 MiB that no two parts share: three parts of an upload."""
    path = tmp_path / "big.bin"
    path.write_bytes(np.random.default_rng(0).bytes(20 << 20))
    return path


def only_entry(store: ObjectStore, location: Location) -> Entry:
    (entry,) = store.entries(location)
    return entry


def test_addresses_of_both_schemes_name_bucket_and_key() -> None:
    assert Location.parse("obs://bucket/a/b/") == Location(bucket="bucket", key="a/b")
    assert str(Location.parse("S3://bucket") / "x.zip") == "s3://bucket/x.zip"
    assert is_remote("s3://b/k")
    assert Location.parse(str(Path("obs://b/k/l"))) == Location(bucket="b", key="k/l")
    assert not is_remote("data/s3")


@pytest.mark.parametrize("url", ["s3://", "http://bucket/key", "bucket/key"])
def test_other_addresses_are_refused_by_name(url: str) -> None:
    with raises(RemoteError, path=url):
        Location.parse(url)


def test_the_proxy_refuses_a_client_with_boto3s_own_settings(s3: ObsLikeProxy) -> None:
    client = boto3.client("s3", endpoint_url=s3.endpoint, region_name="us-east-1")
    with pytest.raises(Exception, match="AccessDenied"):
        client.put_object(Bucket="bucket", Key="a", Body=b"a")


def test_small_and_large_files_come_back_as_they_went(s3: ObsLikeProxy, tmp_path: Path, big_file: Path) -> None:
    store = ObjectStore()
    small = tmp_path / "small.txt"
    small.write_bytes("ä small file".encode())
    for file in (small, big_file):
        place = Location(bucket="bucket", key="run ü") / file.name
        assert store.upload(file, place) == etag_of(file)
        copy = tmp_path / "copies" / file.name
        store.download(only_entry(store, place), copy)
        assert copy.read_bytes() == file.read_bytes()
    assert [entry.name for entry in store.entries(Location.parse("s3://bucket/run ü"))] == ["big.bin", "small.txt"]
    assert sorted(path.name for path in (tmp_path / "copies").iterdir()) == ["big.bin", "small.txt"]
    assert not s3.refused


def test_an_empty_object_becomes_an_empty_file(s3: ObsLikeProxy, tmp_path: Path) -> None:
    store, place = ObjectStore(), Location.parse("s3://bucket/empty")
    (tmp_path / "empty").touch()
    store.upload(tmp_path / "empty", place)
    store.download(only_entry(store, place), tmp_path / "copy")
    assert (tmp_path / "copy").read_bytes() == b""


def test_a_prefix_does_not_reach_into_a_neighbour_whose_name_begins_alike(s3: ObsLikeProxy) -> None:
    store = ObjectStore()
    store.put_text("1", Location.parse("s3://bucket/data/a"))
    store.put_text("2", Location.parse("s3://bucket/data2/b"))
    assert [entry.name for entry in store.entries(Location.parse("s3://bucket/data"))] == ["a"]


def test_bodies_that_end_half_way_and_errors_of_the_service_are_tried_again(
    s3: ObsLikeProxy, tmp_path: Path, big_file: Path
) -> None:
    store, place = ObjectStore(), Location.parse("s3://bucket/big")
    store.upload(big_file, place)
    entry = only_entry(store, place)
    s3.faults = ["cut", 500, 503, "cut"]
    store.download(entry, tmp_path / "copy")
    assert (tmp_path / "copy").read_bytes() == big_file.read_bytes()
    assert s3.faults == []


def test_a_download_that_was_killed_fetches_only_the_rest(s3: ObsLikeProxy, tmp_path: Path, big_file: Path) -> None:
    store, place = ObjectStore(), Location.parse("s3://bucket/big")
    store.upload(big_file, place)
    entry = only_entry(store, place)
    came: list[int] = []

    def killed(num_bytes: int) -> None:
        came.append(num_bytes)
        if sum(came) > 5 << 20:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        store.download(entry, tmp_path / "copy", killed)
    assert not (tmp_path / "copy").exists()
    again: list[int] = []
    store.download(entry, tmp_path / "copy", again.append)
    assert (tmp_path / "copy").read_bytes() == big_file.read_bytes()
    assert again[0] > 5 << 20  # was there already
    assert sum(again) == 20 << 20


def test_an_upload_that_broke_off_sends_only_the_parts_that_are_missing(
    s3: ObsLikeProxy, tmp_path: Path, big_file: Path
) -> None:
    place = Location.parse("s3://bucket/big")
    s3.faults = [None, None, None, 403]
    with pytest.raises(RemoteError):
        ObjectStore().upload(big_file, place)
    assert ObjectStore().entries(place) == []  # nothing half is visible
    s3.requests.clear()
    ObjectStore().upload(big_file, place)
    assert sum("partNumber=" in request for request in s3.requests) == 2
    store = ObjectStore()
    store.download(only_entry(store, place), tmp_path / "copy")
    assert (tmp_path / "copy").read_bytes() == big_file.read_bytes()


def test_the_last_word_of_an_upload_may_be_lost(s3: ObsLikeProxy, big_file: Path) -> None:
    """Completed, but the answer never came; asked again, the service does not know the upload any more."""
    place = Location.parse("s3://bucket/big")
    s3.faults = [*[None] * 5, "lost", (404, "NoSuchUpload")]
    etag = ObjectStore().upload(big_file, place)
    assert s3.faults == []
    assert only_entry(ObjectStore(), place).etag == etag == etag_of(big_file)


def test_a_broken_off_upload_of_other_bytes_is_not_gone_on_with(
    s3: ObsLikeProxy, tmp_path: Path, big_file: Path
) -> None:
    place = Location.parse("s3://bucket/big")
    s3.faults = [None, None, None, 403]
    with pytest.raises(RemoteError):
        ObjectStore().upload(big_file, place)
    big_file.write_bytes(big_file.read_bytes()[::-1])
    ObjectStore().upload(big_file, place)
    store = ObjectStore()
    store.download(only_entry(store, place), tmp_path / "copy")
    assert (tmp_path / "copy").read_bytes() == big_file.read_bytes()


def test_an_outage_is_waited_for(s3: ObsLikeProxy, tmp_path: Path) -> None:
    (tmp_path / "a").write_text("a")
    s3.down()
    threading.Timer(1.5, s3.up).start()
    started = time.monotonic()
    ObjectStore().upload(tmp_path / "a", Location.parse("s3://bucket/a"))
    assert time.monotonic() - started > 1
    assert ObjectStore().get_text(Location.parse("s3://bucket/a")) == "a"


def test_an_unreachable_service_is_reported_once(
    s3: ObsLikeProxy, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A wrong endpoint would otherwise look like five minutes of nothing."""
    monkeypatch.setattr(objects, "WARN_AFTER_SECONDS", 0.0)
    s3.down()
    with pytest.raises(RemoteAway):
        ObjectStore(patience_seconds=3).entries(Location.parse("s3://bucket/a"))
    (message,) = [record.getMessage() for record in caplog.records if "retrying" in record.getMessage()]
    assert message.startswith("s3://bucket/a: ")
    assert message.endswith("more seconds")


def test_patience_ends(s3: ObsLikeProxy, tmp_path: Path) -> None:
    s3.down()
    with raises(RemoteError, path="s3://bucket/a"):
        ObjectStore(patience_seconds=1).entries(Location.parse("s3://bucket/a"))


def test_what_will_not_pass_is_told_at_once(s3: ObsLikeProxy) -> None:
    started = time.monotonic()
    with raises(RemoteError, "NoSuchBucket", path="s3://nothere/a"):
        ObjectStore().entries(Location.parse("s3://nothere/a"))
    assert time.monotonic() - started < 5


def test_an_object_that_changed_since_the_listing_is_not_mixed_with_the_old_one(
    s3: ObsLikeProxy, tmp_path: Path
) -> None:
    store, place = ObjectStore(), Location.parse("s3://bucket/a")
    store.put_text("first", place)
    entry = only_entry(store, place)
    store.put_text("other", place)
    with raises(RemoteError, "PreconditionFailed", path="s3://bucket/a"):
        store.download(entry, tmp_path / "copy")
    assert not (tmp_path / "copy").exists()


def test_clouds_own_names_of_endpoint_and_credentials_are_understood(s3: ObsLikeProxy) -> None:
    environment = {
        "S3_ENDPOINT": s3.endpoint.removeprefix("http://"),
        "ACCESS_KEY_ID": "someone",
        "SECRET_ACCESS_KEY": "secret",
    }
    assert ObjectStore(environment)._client.meta.endpoint_url == f"https://127.0.0.1:{s3.port}"
    environment["S3_ENDPOINT"] = s3.endpoint
    store = ObjectStore(environment)
    store.put_text("here", Location.parse("obs://bucket/a"))
    assert store.get_text(Location.parse("obs://bucket/a")) == "here"


def test_a_range_of_an_object_is_read(s3: ObsLikeProxy) -> None:
    store, place = ObjectStore(), Location.parse("s3://bucket/a")
    store.put_text("0123456789", place)
    assert store.read(place, 3, 4) == b"3456"
