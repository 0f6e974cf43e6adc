"""Which failures are tried again, how often, and what is said in the end."""

import errno
import logging
import ssl

import aiohttp
import botocore.exceptions
import pytest
from aiohttp.client_reqrep import ConnectionKey
from botocore.exceptions import ClientError
from s3fs.errors import translate_boto_error
from yarl import URL

from mammut_clip.config.errors import InputError
from mammut_clip.data.shards.retries import MissingShardError, Retries, ShardReadError, is_transient


def answered(status: int) -> aiohttp.ClientResponseError:
    url = URL("http://host/a.tar")
    return aiohttp.ClientResponseError(aiohttp.RequestInfo(url, "GET", {}, url), (), status=status)  # type: ignore[arg-type]


def from_s3(code: str, status: int) -> BaseException:
    response = {"Error": {"Code": code, "Message": "m"}, "ResponseMetadata": {"HTTPStatusCode": status}}
    return translate_boto_error(ClientError(response, "GetObject"))  # type: ignore[arg-type]


def because(error: BaseException, cause: BaseException) -> BaseException:
    error.__cause__ = cause
    return error


KEY = ConnectionKey("host", 80, False, True, None, None, None)
UNTRUSTED = aiohttp.ClientConnectorCertificateError(KEY, ssl.SSLCertVerificationError("self-signed"))
LOST = aiohttp.ClientConnectorError(KEY, OSError(errno.ECONNREFUSED, "refused"))


@pytest.mark.parametrize(
    "error",
    [
        *[answered(status) for status in (408, 429, 500, 502, 503, 504)],
        *[OSError(code, "x") for code in (errno.EIO, errno.ESTALE, errno.ETIMEDOUT, errno.ECONNRESET)],
        TimeoutError(),
        ConnectionResetError(),
        LOST,
        aiohttp.ServerDisconnectedError(),
        aiohttp.ClientPayloadError("not enough"),
        aiohttp.ServerTimeoutError(),
        because(FileNotFoundError("http://host/a.tar"), LOST),
        because(FileNotFoundError("http://host/a.tar"), answered(503)),
        from_s3("SlowDown", 503),
        from_s3("InternalError", 500),
        from_s3("RequestTimeout", 400 + 8),
        from_s3("SomethingNew", 502),
        botocore.exceptions.EndpointConnectionError(endpoint_url="http://host"),
        botocore.exceptions.ReadTimeoutError(endpoint_url="http://host"),
        botocore.exceptions.IncompleteReadError(actual_bytes=1, expected_bytes=2),
    ],
    ids=repr,
)
def test_what_may_pass(error: BaseException) -> None:
    assert is_transient(error)


@pytest.mark.parametrize(
    "error",
    [
        *[answered(status) for status in (400, 401, 403, 404, 410, 416)],
        *[OSError(code, "x") for code in (errno.ENOENT, errno.EACCES, errno.EPERM, errno.EISDIR, errno.ENOTDIR)],
        because(FileNotFoundError("http://host/a.tar"), answered(404)),
        because(FileNotFoundError("http://host/a.tar"), answered(403)),
        UNTRUSTED,
        because(FileNotFoundError("http://host/a.tar"), UNTRUSTED),
        aiohttp.InvalidURL("http:///"),
        from_s3("NoSuchKey", 404),
        from_s3("NoSuchBucket", 404),
        from_s3("AccessDenied", 403),
        from_s3("InvalidAccessKeyId", 403),
        botocore.exceptions.NoCredentialsError(),
        botocore.exceptions.SSLError(endpoint_url="https://host", error="x"),
        ValueError("x"),
        TypeError("x"),
    ],
    ids=repr,
)
def test_what_stays(error: BaseException) -> None:
    assert not is_transient(error)


@pytest.mark.parametrize("failures", range(9))
def test_pauses_double_up_to_a_minute(failures: int, sleeps: list[float], caplog: pytest.LogCaptureFixture) -> None:
    left = [OSError(errno.EIO, "Input/output error")] * failures

    def attempt() -> str:
        if left:
            raise left.pop()
        return "done"

    with caplog.at_level(logging.WARNING):
        assert Retries(8, sleeps.append).run("a.tar", attempt) == "done"
    assert sleeps == [1, 2, 4, 8, 16, 32, 60, 60][:failures]
    assert len(caplog.messages) == failures
    for number, message in enumerate(caplog.messages):
        assert message.startswith("a.tar: Input/output error (OSError); trying again in")
        assert message.endswith(f"({number + 1} of 8)")


def test_after_the_last_try_shard_and_error_are_named(sleeps: list[float]) -> None:
    def attempt() -> None:
        raise OSError(errno.EIO, "Input/output error")

    with pytest.raises(
        ShardReadError, match=r"^a.tar: cannot be read: Input/output error \(OSError\), 4 times in a row$"
    ):
        Retries(3, sleeps.append).run("a.tar", attempt)
    assert sleeps == [1, 2, 4]
    with pytest.raises(ShardReadError, match=r"Input/output error \(OSError\)$"):
        Retries(0, sleeps.append).run("a.tar", attempt)


@pytest.mark.parametrize(
    ("error", "kind", "message"),
    [
        (FileNotFoundError(errno.ENOENT, "x"), MissingShardError, "a.tar: no such shard"),
        (answered(404), MissingShardError, "a.tar: no such shard"),
        (because(FileNotFoundError("a.tar"), answered(404)), MissingShardError, "a.tar: no such shard"),
        (because(FileNotFoundError("a.tar"), KeyError("a.tar")), MissingShardError, "a.tar: no such shard"),
        (because(FileNotFoundError("a.tar"), UNTRUSTED), ShardReadError, "a.tar: cannot be read: .*self-signed"),
        (from_s3("NoSuchKey", 404), MissingShardError, "a.tar: no such shard"),
        (
            PermissionError(errno.EACCES, "Permission denied"),
            ShardReadError,
            "a.tar: cannot be read: Permission denied",
        ),
        (InputError("as it was"), InputError, "^as it was$"),
    ],
)
def test_what_stays_is_said_at_once(error: Exception, kind: type[Exception], message: str, sleeps: list[float]) -> None:
    def attempt() -> None:
        raise error

    with pytest.raises(kind, match=message) as caught:
        Retries(3, sleeps.append).run("a.tar", attempt)
    assert type(caught.value) is kind
    assert sleeps == []
