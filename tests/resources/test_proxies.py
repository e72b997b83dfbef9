"""Loopback is never proxied: every client, in a process of its own, beside a proxy that records what reaches it."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest

from resources.proxies import exempt_loopback

ROOT = Path(__file__).parents[2]
CLIENTS = """
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
import pipelines  # as every entry point does first
import boto3, deltalake, grpc, httpx, obstore, polars, qdrant_client, s3fs, urllib.request
from botocore.config import Config

[at] = sys.argv[1:]
keys = {"aws_access_key_id": "a", "aws_secret_access_key": "b"}
aws = {**keys, "aws_endpoint_url": at, "aws_region": "us-east-1"}
options = {**aws, "aws_allow_http": "true"}

def with_boto3():
    config = Config(region_name="us-east-1", s3={"addressing_style": "path"})
    boto3.client("s3", endpoint_url=at, config=config, **keys).head_object(Bucket="boto3", Key="k")

def with_s3fs():
    s3fs.S3FileSystem(key="a", secret="b", endpoint_url=at, client_kwargs={"region_name": "us-east-1"}).info("s3fs/k")

def with_grpc():
    server = grpc.server(ThreadPoolExecutor(1))
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        grpc.channel_ready_future(channel).result(20)
    print("grpc")

calls = [
    with_boto3,
    with_s3fs,
    with_grpc,
    lambda: deltalake.DeltaTable("s3://deltalake/t", storage_options=options),
    lambda: polars.scan_parquet("s3://polars/k.parquet", storage_options=options).collect(),
    lambda: obstore.get(obstore.store.S3Store("obstore", config=aws, client_options={"allow_http": True}), "k"),
    lambda: httpx.get(f"{at}/httpx/k"),
    lambda: qdrant_client.QdrantClient(url=f"{at}", prefix="qdrant", check_compatibility=False).get_collections(),
    lambda: urllib.request.urlopen(f"{at}/urllib/k"),
    lambda: httpx.get("http://remote.invalid/httpx-remote/k"),
]
for call in calls:
    with suppress(Exception):
        call()
"""
LOCAL = {"boto3", "s3fs", "deltalake", "polars", "obstore", "httpx", "qdrant", "urllib"}
SPELLINGS = {
    "upper case": {"HTTP_PROXY": "{}", "HTTPS_PROXY": "{}", "ALL_PROXY": "{}"},
    "lower case, with odd exceptions": {
        "http_proxy": "{}",
        "https_proxy": "{}",
        "all_proxy": "{}",
        "grpc_proxy": "{}",
        "NO_PROXY": " .corp , ,[::2],10.0.0.0/8,",
        "no_grpc_proxy": "corp",
    },
}


@contextmanager
def recording() -> Iterator[tuple[str, list[str]]]:
    """Serve 404 for everything. Yield the address, and the lines of all requests."""
    lines: list[str] = []

    class Recorder(BaseHTTPRequestHandler):
        def handle_one_request(self) -> None:
            self.raw_requestline = self.rfile.readline(65537)
            self.close_connection = True
            if self.raw_requestline and self.parse_request():
                lines.append(self.requestline)
                self.wfile.write(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")

    with ThreadingHTTPServer(("127.0.0.1", 0), Recorder) as server:
        serving = Thread(target=server.serve_forever, args=(0.01,))
        serving.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}", lines
        finally:
            server.shutdown()
            serving.join()


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_no_client_sends_a_request_to_loopback_through_a_proxy(spelling: str) -> None:
    with recording() as (proxy, proxied), recording() as (at, direct):
        named = {name: value.format(proxy) for name, value in SPELLINGS[spelling].items()}
        variables = {"PATH": os.environ["PATH"], "HOME": os.environ["HOME"], **named}
        command = [sys.executable, "-c", CLIENTS, at]
        done = subprocess.run(command, cwd=ROOT, env=variables, capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == ("grpc\n", "")
    assert [line.split()[1] for line in proxied] == ["http://remote.invalid/httpx-remote/k"]
    assert {line.split()[1].split("/")[1].partition("?")[0] for line in direct} == LOCAL


LOOPBACK = "localhost,127.0.0.1,127.0.0.0/8,::1"


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({}, {"NO_PROXY": LOOPBACK, "no_proxy": LOOPBACK}),
        ({"NO_PROXY": "corp"}, {"NO_PROXY": f"corp,{LOOPBACK}", "no_proxy": f"corp,{LOOPBACK}"}),
        ({"no_proxy": "a", "NO_PROXY": "b"}, {"NO_PROXY": f"b,{LOOPBACK}", "no_proxy": f"a,{LOOPBACK}"}),
        ({"no_proxy": "", "NO_PROXY": "b"}, {"NO_PROXY": f"b,{LOOPBACK}", "no_proxy": f"b,{LOOPBACK}"}),
        ({"no_proxy": "*"}, {"NO_PROXY": "*", "no_proxy": "*"}),
        ({"NO_PROXY": " , [::1] ,x, *"}, {"NO_PROXY": "*", "no_proxy": "*"}),
        (
            {"NO_PROXY": "[fd00::1], 127.0.0.1"},
            {
                "NO_PROXY": "fd00::1,127.0.0.1,localhost,127.0.0.0/8,::1",
                "no_proxy": "fd00::1,127.0.0.1,localhost,127.0.0.0/8,::1",
            },
        ),
    ],
)
def test_the_exceptions_of_the_user_stay_in_both_spellings(given: dict[str, str], expected: dict[str, str]) -> None:
    exempt_loopback(given)
    assert given == expected
    exempt_loopback(given)
    assert given == expected
