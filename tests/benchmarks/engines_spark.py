"""Spark as a judge: the process `python -m tests.benchmarks.engines_spark`, and how the bench asks it."""

import json
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from resources.errors import PermanentFailure
from tests.benchmarks.engines_figures import REFUSED, Answer

_DELTA = "io.delta:delta-spark_2.12:3.3.2"


class SparkError(PermanentFailure):
    """Spark's process failed. The message has its last lines."""


def missing() -> str:
    """Return what Spark needs and this machine does not have; blank if nothing."""
    if find_spec("pyspark") is None:
        return "Spark is left out: `make peers` installs pyspark 3.5."
    return "" if shutil.which("java") else "Spark is left out: it needs Java 17 on the PATH."


def ask(tables: Mapping[str, Path], feeds: Mapping[str, tuple[Path, int]], queries: Sequence[str]) -> list[Answer]:
    """Return Spark's answers. ``tables``: view → folder. ``feeds``: view → folder and first version of the feed."""
    asked = {
        "tables": {name: str(folder) for name, folder in tables.items()},
        "feeds": {name: [str(folder), first] for name, (folder, first) in feeds.items()},
        "queries": list(queries),
    }
    program = [sys.executable, "-m", "tests.benchmarks.engines_spark"]
    done = subprocess.run(program, input=json.dumps(asked), capture_output=True, text=True, check=False)
    if done.returncode:
        raise SparkError("Spark failed: " + "\n".join(done.stderr.splitlines()[-20:]))
    answers: list[Answer] = json.loads(done.stdout.splitlines()[-1])
    return answers


def main() -> None:
    """Answer the queries of stdin on stdout. The jars are fetched by Spark's own resolver, and kept by it."""
    from pyspark.sql import SparkSession

    asked: dict[str, Any] = json.load(sys.stdin)
    settings = {
        "spark.jars.packages": _DELTA,
        "spark.sql.extensions": "io.delta.sql.DeltaSparkSessionExtension",
        "spark.sql.catalog.spark_catalog": "org.apache.spark.sql.delta.catalog.DeltaCatalog",
        "spark.sql.session.timeZone": "UTC",
        "spark.sql.shuffle.partitions": "1",
        "spark.ui.enabled": "false",
        "spark.ui.showConsoleProgress": "false",
        "spark.driver.bindAddress": "127.0.0.1",
        "spark.driver.host": "127.0.0.1",
    }
    builder = SparkSession.builder.master("local[2]").appName("cippus-engines")
    for name, value in settings.items():
        builder = builder.config(name, value)
    session = builder.getOrCreate()
    for name, folder in asked["tables"].items():
        session.read.format("delta").load(folder).createOrReplaceTempView(name)
    for name, (folder, first) in asked["feeds"].items():
        feed = session.read.format("delta").option("readChangeFeed", "true").option("startingVersion", first)
        feed.load(folder).createOrReplaceTempView(name)
    answers = [_answer(session, query) for query in asked["queries"]]
    print(json.dumps(answers))  # noqa: T201 - the parent reads it
    session.stop()


def _answer(session: Any, query: str) -> list[list[str | None]]:
    """Return the rows of a query as text, or the reason why there are none."""
    from pyspark.errors import PySparkException

    try:
        return [[None if value is None else str(value) for value in row] for row in session.sql(query).collect()]
    except PySparkException as error:
        return [[REFUSED, str(error).splitlines()[0]]]


if __name__ == "__main__":
    main()
