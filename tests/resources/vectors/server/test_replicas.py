"""Plans that give shards their replicas again, for any state of a cluster."""

from collections import Counter
from collections.abc import Mapping, Sequence

from hypothesis import given, settings
from hypothesis import strategies as st

from resources.vectors.server.replicas import ACTIVE, ClusterState, Copy, Factor, Removal, Shards, Step, plan

STATES = st.sampled_from([ACTIVE, ACTIVE, ACTIVE, "Dead", "Partial"])
Held = dict[int, dict[int, str]]


@st.composite
def clusters(draw: st.DrawFn) -> ClusterState:
    """A cluster of up to five peers, some of which nobody reaches."""
    peers = range(1, draw(st.integers(1, 5)) + 1)
    shards = {
        shard: draw(st.dictionaries(st.sampled_from(peers), STATES, max_size=len(peers)))
        for shard in range(draw(st.integers(1, 4)))
    }
    unreachable = draw(st.sets(st.sampled_from(peers), max_size=len(peers) - 1))
    collection = Shards("cippus_text_v1", draw(st.integers(1, 3)), shards)
    return ClusterState({peer: f"http://node-{peer}:6335" for peer in peers}, frozenset(unreachable), (collection,))


def taken(before: Mapping[int, Mapping[int, str]], steps: Sequence[Step]) -> Held:
    """Take the steps as a cluster would; each must be one that it can take."""
    held = {shard: dict(replicas) for shard, replicas in before.items()}
    for step in steps:
        if isinstance(step, Removal):
            for replicas in held.values():
                replicas.pop(step.peer, None)
        elif isinstance(step, Copy):
            replicas = held[step.shard]
            assert replicas[step.source] == ACTIVE, "a copy is made from an active replica"
            assert step.target not in replicas, "a peer has at most one replica of a shard"
            replicas[step.target] = ACTIVE
            if step.is_move:
                del replicas[step.source]
    return held


@settings(max_examples=200, deadline=None)
@given(clusters(), st.booleans(), st.integers(0, 3))
def test_after_a_plan_every_shard_has_its_replicas(state: ClusterState, is_gone: bool, replicas: int) -> None:
    [before], gone = state.collections, sorted(state.unreachable) if is_gone else []
    steps = plan(state, gone, replicas)
    after, wanted = taken(before.states, steps), replicas or before.wanted
    reached = set(state.peers) - state.unreachable
    assert [step.replicas for step in steps if isinstance(step, Factor)] == [replicas] * (wanted != before.wanted)
    for shard, held in after.items():
        could_be_copied = any(state == ACTIVE for peer, state in before.states[shard].items() if peer in reached)
        if could_be_copied:
            assert len(held) >= min(wanted, len(set(held) | reached))
        assert len(held) <= max(wanted, len(before.states[shard]))
    assert plan(ClusterState({p: a for p, a in state.peers.items() if p not in gone}, state.unreachable - set(gone),
                             (Shards(before.collection, wanted, after),)), (), replicas) == []  # fmt: skip


def test_a_node_that_joined_gets_its_share_by_moves() -> None:
    full = {shard: {1 + shard % 3: ACTIVE, 1 + (shard + 1) % 3: ACTIVE} for shard in range(4)}
    state = ClusterState({peer: f"node-{peer}" for peer in (1, 2, 3, 4)}, frozenset(), (Shards("v1", 2, full),))
    steps = plan(state)
    assert all(isinstance(step, Copy) and step.is_move and step.target == 4 for step in steps)
    load = Counter(peer for held in taken(full, steps).values() for peer in held)
    assert max(load.values()) - min(load.values()) <= 1
    assert steps[0].said() == "Move shard 0 of v1 from peer 1 to peer 4."


def test_a_peer_that_is_gone_is_removed_first_and_its_replicas_are_copied_from_the_others() -> None:
    held = {0: {1: ACTIVE, 3: "Dead"}, 1: {3: "Dead"}, 2: {1: ACTIVE, 2: ACTIVE}}
    state = ClusterState({1: "a", 2: "b", 3: "c"}, frozenset({3}), (Shards("v1", 2, held),))
    assert plan(state) == [], "a dead replica recovers once its node is back"
    removal, copy = plan(state, [3])
    assert removal.said() == "Remove peer 3 (c), which will not come back, with its replicas."
    assert copy == Copy("v1", 0, 1, 2)
    assert state.collections[0].lost() == [1], "no other replica: it cannot be copied"
