"""A bucket in a store that speaks S3: Amazon's own, MinIO, Cloudflare R2. All does I/O and is for a thread.

boto3 takes 0.4 s to import, so it is imported with the first upload. It finds the credentials: in the environment, in its files,
in the machine's role; they never pass through here.
"""

from __future__ import annotations

from collections.abc import Callable
from io import FileIO
from pathlib import Path
from typing import TYPE_CHECKING

from attrs import define, field

from trio_voice.errors import TrioVoiceError

if TYPE_CHECKING:
    from botocore.exceptions import ClientError
    from mypy_boto3_s3.client import S3Client

CONNECT_LIMIT_S = 5.0
READ_LIMIT_S = 20.0
"""So long a store may let us wait for a byte, or for room for one."""
_WRONG_CREDENTIALS = {"InvalidAccessKeyId", "SignatureDoesNotMatch", "ExpiredToken", "InvalidToken", "AuthFailure"}


class UploadError(TrioVoiceError):
    """The store did not take a file; the text says why, without secrets."""


class _Body(FileIO):
    """A file that may say, each time it is read, that nobody wants it any more."""

    __slots__ = ("_check",)

    def __init__(self, path: Path, check: Callable[[], None]) -> None:
        super().__init__(path)
        self._check = check

    def read(self, size: int | None = -1) -> bytes:
        self._check()
        return super().read(-1 if size is None else size)


@define(eq=False)
class Bucket:
    """Where files go. A client that failed is not used again: the next one sees new credentials."""

    name: str
    prefix: str = ""
    """What the names in the bucket begin with, without / at either end."""
    endpoint: str | None = None
    """The store's address; None: Amazon's, or what boto3 finds."""
    _client: S3Client | None = field(default=None, init=False)

    def put(self, path: Path, name: str, check: Callable[[], None] = lambda: None) -> None:
        """Store a file, whole or not at all. What `check` raises breaks it off. Raises UploadError."""
        from botocore.exceptions import BotoCoreError, ClientError  # noqa: PLC0415 - an extra, and slow to import
        from botocore.parsers import ResponseParserError  # noqa: PLC0415 - an extra, and slow to import

        key = f"{self.prefix}/{name}" if self.prefix else name
        done = False
        try:
            if self._client is None:
                self._client = self._new_client()
            with _Body(path, check) as body:
                self._client.put_object(Bucket=self.name, Key=key, Body=body, ContentType="audio/wav")
            done = True
        except ClientError as error:
            raise UploadError(self._in_words(error)) from None
        except (BotoCoreError, ResponseParserError, ValueError) as error:
            raise UploadError(str(error)) from None
        except OSError as error:
            raise UploadError(error.strerror or str(error)) from None
        finally:
            if not done:
                self.close()

    def close(self) -> None:
        """Close the connections."""
        if self._client is not None:
            client, self._client = self._client, None
            client.close()

    def _new_client(self) -> S3Client:
        import boto3  # noqa: PLC0415 - an extra, and slow to import
        from botocore.config import Config  # noqa: PLC0415 - an extra, and slow to import

        config = Config(
            connect_timeout=CONNECT_LIMIT_S,
            read_timeout=READ_LIMIT_S,
            retries={"total_max_attempts": 1},  # whoever calls tries again
            request_checksum_calculation="when_required",  # other stores than Amazon's do not know the newer ones
            s3=None if self.endpoint is None else {"addressing_style": "path"},
        )
        client: S3Client = boto3.Session().client("s3", endpoint_url=self.endpoint, config=config)
        return client

    def _in_words(self, error: ClientError) -> str:
        problem = error.response.get("Error", {})
        code = problem.get("Code", "no code")
        if code == "NoSuchBucket":
            return f"there is no bucket {self.name!r}: make it, or correct recording.s3_url"
        if code in _WRONG_CREDENTIALS:
            return f"the store does not take the credentials that boto3 finds ({code})"
        return f"the store refuses ({code}): {problem.get('Message', 'it does not say why')}"
