"""Delta writers that race through a governor over an S3 that fails: every append is exactly one commit."""

import json
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import polars as pl
import pytest
from deltalake import CommitProperties, write_deltalake

from resources.s3.governor.process import Governor
from resources.s3.write_verifier import start
from tests.benchmarks.limited_s3 import Faults, Settings, running
from tests.worlds.governor import governor, write_token
from tests.worlds.governor_clients import BUCKET, Way, boto

WRITERS, APPENDS = 2, 8
TABLE = f"s3://{BUCKET}/race/table"


def _append(way: Way, writer: int, appends: int) -> None:
    options = {**way.options(), "max_retries": "3"}
    for n in range(appends):
        told = CommitProperties(custom_metadata={"append": f"{writer}-{n}"}, max_commit_retries=100)
        rows = pl.DataFrame({"a": [100 * writer + n]})
        write_deltalake(TABLE, rows, mode="append", storage_options=options, commit_properties=told)


@pytest.mark.parametrize("resets", [0.005, 0.05])
def test_every_append_of_racing_writers_is_one_commit(tmp_path: Path, resets: float) -> None:
    faults = Faults(errors=0.01, resets=resets, slow=0.01, slow_seconds=0.5)
    token = write_token(tmp_path, "token")
    with running(seed=3) as server, governor(server.url, "--token-file", token, token="token") as found:
        way = Way(f"http://writer:token@127.0.0.1:{found.port}")
        start(Governor(tmp_path, found.process.pid, found.port, server.url, "token"), lambda: boto(way))
        _append(way, 99, 1)
        server.change(faults=Settings(faults=faults).to_json()["faults"])
        with ThreadPoolExecutor(WRITERS) as writers:
            for writing in [writers.submit(_append, way, n, APPENDS) for n in range(WRITERS)]:
                writing.result()
        server.change(faults=Settings().to_json()["faults"])
        s3 = boto(way)
        names = [at["Key"] for at in s3.list_objects_v2(Bucket=BUCKET, Prefix="race/table/_delta_log/")["Contents"]]
        commits = Counter(
            json.loads(line)["commitInfo"]["append"]
            for name in names if name.endswith(".json")
            for line in s3.get_object(Bucket=BUCKET, Key=name)["Body"].read().splitlines()
            if b'"commitInfo"' in line
        )  # fmt: skip
        twice = server.stats()["written_twice"]
    expected = [f"{writer}-{n}" for writer in range(WRITERS) for n in range(APPENDS)]
    assert commits == Counter(["99-0", *expected])
    assert [name for name in twice if name.endswith(".json")] == []
