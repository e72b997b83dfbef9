"""Memory for kept bodies: never more than the budget, first come, first served, nothing lost by who goes away."""

import asyncio

from hypothesis import given
from hypothesis import strategies as st

from resources.s3.governor.budget import Budget

LIMIT = 100
steps = st.lists(st.tuples(st.integers(1, 150), st.booleans(), st.integers(0, 9)), max_size=40)


@given(steps)
def test_the_budget_holds_and_everybody_gets_a_turn(steps: list[tuple[int, bool, int]]) -> None:
    """Each step asks for a size; some go away while they wait, and some that hold give back."""

    async def play() -> None:
        budget, held, served = Budget(LIMIT), [], []

        async def hold(number: int, size: int) -> None:
            await budget.take(size)
            served.append(number)
            held.append(min(size, LIMIT))

        tasks: dict[int, asyncio.Task[None]] = {}
        gone = set()
        for number, (size, leaves, back) in enumerate(steps):
            tasks[number] = asyncio.create_task(hold(number, size))
            await asyncio.sleep(0)
            if leaves and not tasks[number].done():
                tasks[number].cancel()
                gone.add(number)
            if back > 5 and held:
                budget.give(held.pop(0))
            await asyncio.sleep(0)
            assert sum(held) <= LIMIT
        while held:
            budget.give(held.pop(0))
            for _ in range(3):
                await asyncio.sleep(0)
            assert sum(held) <= LIMIT
        await asyncio.gather(*tasks.values(), return_exceptions=True)
        assert served == [number for number in tasks if number not in gone]

    asyncio.run(play())


def test_one_who_leaves_at_the_very_moment_of_its_turn_gives_it_back() -> None:
    async def play() -> None:
        budget = Budget(LIMIT)
        await budget.take(LIMIT)
        waiting = asyncio.create_task(budget.take(LIMIT))
        await asyncio.sleep(0)
        budget.give(LIMIT)
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
        async with asyncio.timeout(1):
            await budget.take(LIMIT)

    asyncio.run(play())
