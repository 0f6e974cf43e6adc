"""Real servers on this machine for the tests of remote shards: the web, and S3."""

import os
import threading
from collections.abc import Callable, Iterator
from http.server import ThreadingHTTPServer

import pytest
from shard_servers import WebServer, handler_of

for name in ("NO_PROXY", "no_proxy"):  # where the machine reaches the web through a proxy
    os.environ[name] = ",".join(filter(None, [os.environ.get(name), "127.0.0.1"]))


@pytest.fixture
def web() -> Iterator[WebServer]:
    """A web server of one test."""
    server = WebServer()
    with ThreadingHTTPServer(("127.0.0.1", 0), handler_of(server)) as http:
        http.daemon_threads = True
        http.block_on_close = False  # connections that are kept alive would be waited for
        server.url = f"http://127.0.0.1:{http.server_address[1]}"
        thread = threading.Thread(target=http.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        yield server
        server.released.set()
        http.shutdown()
        thread.join()


@pytest.fixture(scope="session")
def s3() -> Iterator[Callable[[str, bytes], str]]:
    """`put(key, data) -> url` into a bucket of an S3 server, to which this process's environment points."""
    pytest.importorskip("moto", reason="moto, which the dev extra brings, is not installed")
    import boto3
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_ENDPOINT_URL", f"http://{host}:{port}")
        patch.setenv("AWS_ACCESS_KEY_ID", "test")
        patch.setenv("AWS_SECRET_ACCESS_KEY", "test")
        patch.setenv("AWS_DEFAULT_REGION", "us-east-1")
        client = boto3.client("s3")
        client.create_bucket(Bucket="shards")

        def put(key: str, data: bytes) -> str:
            client.put_object(Bucket="shards", Key=key, Body=data)
            return f"s3://shards/{key}"

        yield put
    server.stop()


@pytest.fixture
def sleeps() -> list[float]:
    """The pauses between tries; its `append` stands for sleeping."""
    return []
