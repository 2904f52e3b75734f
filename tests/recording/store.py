"""A store that speaks S3, in a thread: moto's server, with the credentials that boto3 finds for it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.request import Request, urlopen

import boto3
import pytest
from moto.server import ThreadedMotoServer

if TYPE_CHECKING:
    from mypy_boto3_s3.client import S3Client

KEY = "AKIDEXAMPLE"
SECRET = "hunter2-hunter2-hunter2"


def set_credentials(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    """Credentials in the environment, and none from this machine."""
    forget_credentials(monkeypatch, folder)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", KEY)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)


def forget_credentials(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    """Nothing that boto3 might find."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_PROFILE", "AWS_ENDPOINT_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(folder / "no-credentials"))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(folder / "no-config"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")


@contextmanager
def s3_store(port: int = 0) -> Iterator[str]:
    """Run a store for the time of the block; yields its address."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=port, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    try:
        yield f"http://{host}:{port}"
    finally:
        server.stop()
        assert server._server is not None
        server._server.server_close()


@cache
def session() -> boto3.Session:
    """The tests' own. A new one reads the descriptions of all services again, which takes 0.07 s, and a hundred are wanted."""
    return boto3.Session(aws_access_key_id=KEY, aws_secret_access_key=SECRET)


def client_of(endpoint: str) -> S3Client:
    """A client of the tests' own, to look into the store."""
    client: S3Client = session().client("s3", endpoint_url=endpoint, region_name="us-east-1")
    return client


def make_bucket(endpoint: str, name: str) -> None:
    client = client_of(endpoint)
    client.create_bucket(Bucket=name)
    client.close()


def stored(endpoint: str, bucket: str) -> dict[str, bytes]:
    """Everything in a bucket."""
    client = client_of(endpoint)
    names = [each["Key"] for each in client.list_objects_v2(Bucket=bucket).get("Contents", [])]
    found = {name: client.get_object(Bucket=bucket, Key=name)["Body"].read() for name in names}
    client.close()
    return found


def user_who_may_nothing(endpoint: str) -> tuple[str, str]:
    """Make a user of the store without any rights; returns the key's name and its secret."""
    iam = session().client("iam", endpoint_url=endpoint, region_name="us-east-1")
    iam.create_user(UserName="nobody")
    key = iam.create_access_key(UserName="nobody")["AccessKey"]
    iam.close()
    return key["AccessKeyId"], key["SecretAccessKey"]


def check_keys(endpoint: str, allowed_before: str) -> None:
    """From so many requests on the store checks who asks; "inf": it never does."""
    headers = {"Content-Type": "text/plain"}
    with urlopen(Request(f"{endpoint}/moto-api/reset-auth", allowed_before.encode(), headers, method="POST")) as answer:
        assert answer.status == 200
