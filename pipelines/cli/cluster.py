"""`cippus cluster`: the nodes of a Qdrant cluster and their replicas, and the steps that restore what is missing."""

from typing import TYPE_CHECKING, Annotated

import typer

from pipelines.cli.terminal import Json, err, out, print_json, shown

if TYPE_CHECKING:
    from resources.vectors.server.replicas import ClusterState, Step


def cluster(
    gone: Annotated[
        list[int] | None,
        typer.Option("--gone", help="Id of a peer that does not answer and will not come back. It can be repeated."),
    ] = None,
    apply: Annotated[bool, typer.Option("--apply", help="Take the steps. Without it nothing is changed.")] = False,
    as_json: Json = False,
) -> None:
    """Show the nodes of a Qdrant cluster, and restore the replicas that shards lack. A dry run, without --apply."""
    from resources.vectors.server.replicas import plan
    from resources.wiring import resources, with_secrets

    qdrant, peers = with_secrets(resources().qdrant), gone or []
    with qdrant.repair() as repair:
        state = repair.state()
        repair.require_gone(state, peers)
        steps = plan(state, peers, qdrant.replicas)
        if not as_json:
            _show(state, steps, is_dry=not apply)
        if apply:
            for number, step in enumerate(steps, start=1):
                err.print(shown(f"{number} of {len(steps)}: {step.said()}"), highlight=False, soft_wrap=True)
                repair.take(step)
            state = repair.state()
    if as_json:
        print_json({**state.to_json(), "steps": [step.said() for step in steps], "applied": apply})
    elif apply:
        out.print("Done." if steps else "Nothing to do.", highlight=False)
    for found in state.collections:
        if lost := found.lost():
            what = "shard " + ", ".join(map(str, lost))
            text = f"{found.collection} has lost {what}: no replica is active. If its node is gone for good, "
            text += "`cippus reconcile --rebuild` fills a new generation from the lake."
            err.print(shown(text), style="red", highlight=False, soft_wrap=True)


def _show(state: "ClusterState", steps: "list[Step]", *, is_dry: bool) -> None:
    for peer, address in sorted(state.peers.items()):
        reached = "does not answer the others" if peer in state.unreachable else "is reached"
        out.print(shown(f"peer {peer} at {address} {reached}"), highlight=False, soft_wrap=True)
    for found in state.collections:
        out.print(shown(f"{found.collection}: {found.wanted} replicas of each shard"), highlight=False, soft_wrap=True)
        for shard, states in sorted(found.states.items()):
            replicas = ", ".join(f"{state} on peer {peer}" for peer, state in sorted(states.items())) or "no replica"
            out.print(shown(f"  shard {shard}: {replicas}"), highlight=False, soft_wrap=True)
    if not is_dry:
        return
    for number, step in enumerate(steps, start=1):
        out.print(shown(f"{number}. {step.said()}"), highlight=False, soft_wrap=True)
    told = "Nothing was changed; --apply takes these steps." if steps else "No step is needed."
    out.print(told, highlight=False)
