"""A small world for tests of the lineage: a database, an S3 bucket, an index folder and a counting embedder of its own.

Belongs here: making a world, editing its source, running the lineage in it, and snapshots to compare. Not here: tests.
"""

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import polars as pl
import psycopg
from dagster import (
    AssetsDefinition,
    ConfigurableResource,
    DagsterInstance,
    Definitions,
    in_process_executor,
)
from fake_embedder import CountingEmbedder, counting_embedder
from psycopg import sql

from assets import corpus, embeddings, labels, lake, marts, qdrant, raw, rds, summaries, verticals
from pipelines.definitions import defs
from pipelines.jobs import JOBS, all_buckets
from resources.embedded import EmbeddedStack
from resources.environments import bucket_count
from resources.lake import LakeResource, TableSpec
from resources.ledger import LedgerResource
from resources.qdrant import QdrantResource
from resources.quarantine import QuarantineResource
from resources.raw_store import RawStoreResource
from resources.rds import PostgresResource
from resources.s3 import S3Resource
