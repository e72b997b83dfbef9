"""Make small worlds: an empty one, and one in which the lineage ran once."""

import atexit
import hashlib
import shutil
import tempfile
from dataclasses import replace
from functools import cache
from pathlib import Path

from resources.local_stack import EmbeddedStack
from tests.worlds.governor_launcher import governor_config
from tests.worlds.lineage import World, make_database
from tests.worlds.lineage_rows import FIRST_AUDIENCE, FIRST_JUDGEMENTS, LABELLED, first_labels, seed


@cache
def loaded_world(stack: EmbeddedStack) -> World:
    """A world in which the lineage ran once, behind a request governor as users have it.

    It is made once a test process, to be cloned and not to be changed.
    """
    made = empty_world(stack, "loaded", Path(tempfile.mkdtemp(prefix="cippus-test-")))
    world = replace(made, governor=governor_config())
    atexit.register(shutil.rmtree, world.folder, ignore_errors=True)
    world.run_well()
    return world


def world_name(node_id: str) -> str:
    """A name for a test's world: unique in the process, the same on every run, fit for Postgres and S3."""
    return f"world_{hashlib.blake2b(node_id.encode(), digest_size=8).hexdigest()}"


def empty_world(stack: EmbeddedStack, name: str, folder: Path) -> World:
    """A world whose source is seeded and whose lineage never ran."""
    world = World(name, folder, stack)
    make_database(stack, name, template="creators")
    world.s3.client.create_bucket(Bucket=world.s3.bucket)
    with world.source() as connection:
        connection.execute("TRUNCATE accounts, posts, testimonials")
        seed(connection)
    world.drop_labels("first", first_labels(LABELLED))
    world.drop_judgements("first", FIRST_JUDGEMENTS)
    world.drop_audience("first-2026-03-01", FIRST_AUDIENCE)
    return world
