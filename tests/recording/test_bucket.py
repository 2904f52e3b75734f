"""A bucket takes files whole, or says why not."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pytest

from trio_voice.recording.bucket import Bucket, UploadError

pytest.importorskip("moto", reason="moto is not installed")

from tests.recording.store import (
    SECRET,
    check_keys,
    forget_credentials,
    make_bucket,
    s3_store,
    set_credentials,
    stored,
    user_who_may_nothing,
)


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    with s3_store() as address:
        yield address


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    set_credentials(monkeypatch, tmp_path)
    path = tmp_path / "recording.wav"
    path.write_bytes(bytes(range(256)) * 1000)
    return path


@pytest.fixture
def name(endpoint: str, file: Path) -> str:
    """A bucket's name."""
    name = f"calls-{uuid4().hex}"
    make_bucket(endpoint, name)
    return name


@pytest.mark.parametrize(("prefix", "key"), [("", "a/b.wav"), ("tel/north", "tel/north/a/b.wav")])
def test_a_file_is_stored_under_its_name(endpoint: str, file: Path, name: str, prefix: str, key: str) -> None:
    bucket = Bucket(name, prefix, endpoint)
    bucket.put(file, "a/b.wav")
    bucket.put(file, "a/b.wav")  # again, with the same client
    bucket.close()
    assert stored(endpoint, name) == {key: file.read_bytes()}


def problem_of(bucket: Bucket, path: Path) -> str:
    with pytest.raises(UploadError) as caught:
        bucket.put(path, "a.wav")
    assert SECRET not in str(caught.value)
    return str(caught.value)


def test_a_bucket_that_is_not_there(endpoint: str, file: Path) -> None:
    assert problem_of(Bucket("nowhere", "", endpoint), file) == (
        "there is no bucket 'nowhere': make it, or correct recording.s3_url"
    )


def test_credentials_that_the_store_does_not_take(endpoint: str, file: Path, name: str) -> None:
    check_keys(endpoint, "0")
    try:
        problem = problem_of(Bucket(name, "", endpoint), file)
    finally:
        check_keys(endpoint, "inf")
    assert problem == "the store does not take the credentials that boto3 finds (InvalidAccessKeyId)"


def test_no_credentials_and_then_some(
    endpoint: str, file: Path, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bucket = Bucket(name, "", endpoint)
    forget_credentials(monkeypatch, tmp_path)
    assert problem_of(bucket, file) == "Unable to locate credentials"
    set_credentials(monkeypatch, tmp_path)
    bucket.put(file, "a.wav")
    bucket.close()
    assert list(stored(endpoint, name)) == ["a.wav"]


def test_a_user_who_may_not(endpoint: str, file: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    key, secret = user_who_may_nothing(endpoint)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", key)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", secret)
    check_keys(endpoint, "0")
    try:
        problem = problem_of(Bucket(name, "", endpoint), file)
    finally:
        check_keys(endpoint, "inf")
    assert problem == "the store refuses (AccessDenied): Access Denied"
    assert secret not in problem


def test_a_store_that_is_gone(file: Path) -> None:
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        endpoint = f"http://127.0.0.1:{nobody.getsockname()[1]}"
        assert problem_of(Bucket("calls", "", endpoint), file).startswith("Could not connect to the endpoint URL")


def test_a_file_that_is_not_there(endpoint: str, name: str, tmp_path: Path) -> None:
    assert problem_of(Bucket(name, "", endpoint), tmp_path / "none.wav") == "No such file or directory"


def test_an_upload_is_broken_off_in_its_midst(endpoint: str, file: Path, name: str) -> None:
    file.write_bytes(bytes(2_000_000))
    asked = 0

    def check() -> None:
        nonlocal asked
        asked += 1
        if asked == 8:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Bucket(name, "", endpoint).put(file, "a.wav", check)
    assert stored(endpoint, name) == {}
