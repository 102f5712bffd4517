"""Lines by model, order by arrival, and the pace at which they move."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from runner.scheduler.meters import Journey, Meters
from runner.scheduler.pace import Pace
from runner.scheduler.queue import Queue
from runner.scheduler.ticket import Priority, Ticket
from tests.fakes.scheduling import Heard, want


def ticket(number: int, model: str = "a", client: str = "", priority: Priority = "interactive") -> Ticket:
    wanted = want(model, client=client, priority=priority)
    return Ticket(number, wanted, Heard(wanted), float(number), Journey.of(Meters(), wanted.work, 0.0))


def queued(*tickets: Ticket) -> Queue:
    queue = Queue()
    for each in tickets:
        queue.add(each)
    return queue


def served(queue: Queue, key: str = "a") -> list[int]:
    """The ids of all who wait for this worker, in the order in which they are served."""
    order = []
    while line := queue.line(key):
        queue.serve(line[0])
        order.append(line[0].id)
    return order


def test_lines_keep_the_order_of_arrival() -> None:
    queue = Queue()
    tickets = [ticket(1), ticket(2, "b"), ticket(3)]
    for each in tickets:
        queue.add(each)
    assert len(queue) == 3
    assert queue.line("a") == (tickets[0], tickets[2])
    assert queue.heads({"a": 2}) == ((tickets[0], tickets[2]), (tickets[1],))
    assert queue.heads({}) == ((tickets[0],), (tickets[1],))


def test_one_who_comes_back_stands_where_it_stood() -> None:
    queue = Queue()
    tickets = [ticket(number) for number in range(1, 6)]
    for each in tickets:
        queue.add(each)
    for each in tickets[:3]:
        queue.serve(each)
    newcomer = ticket(6)
    queue.add(newcomer)
    queue.add(tickets[0])
    queue.add(tickets[2])
    assert queue.line("a") == (tickets[0], *tickets[2:], newcomer)


def test_one_who_comes_back_to_a_line_that_began_anew() -> None:
    before = [ticket(number) for number in range(1, 9)]
    queue = queued(*before)
    assert served(queue) == list(range(1, 9))
    queue.add(ticket(20, client="x"))
    queue.add(before[7])
    queue.add(before[6])
    assert served(queue) == [7, 8, 20]


def test_clients_take_turns() -> None:
    queue = queued(*(ticket(number, client="x") for number in range(1, 1001)))
    queue.add(ticket(2001, client="y"))
    queue.add(ticket(2002, client="y"))
    queue.add(ticket(2003, client="z"))
    assert served(queue)[:7] == [1, 2001, 2003, 2, 2002, 3, 4]


def test_a_share_counts_from_when_a_client_comes() -> None:
    """Nobody saves up turns, and nobody is owed for what went on before others came."""
    queue = queued(*(ticket(number, client="x") for number in range(1, 10)))
    for each in queue.line("a")[:5]:
        queue.serve(each)
    for number in range(11, 14):
        queue.add(ticket(number, client="y"))
    assert served(queue) == [11, 6, 12, 7, 13, 8, 9]


def test_who_withdraws_does_not_keep_his_own_others_back() -> None:
    tickets = [ticket(number, client="x") for number in range(1, 101)]
    queue = queued(*tickets)
    for each in tickets[1:99]:
        queue.remove(each)
    for number in range(200, 204):
        queue.add(ticket(number, client="y"))
    assert served(queue) == [1, 200, 100, 201, 202, 203]


def test_the_batch_goes_behind_until_it_has_waited_long_enough() -> None:
    queue = queued(ticket(1, priority="batch"), ticket(2, priority="batch"), ticket(3), ticket(4))
    assert [each.id for each in queue.line("a")] == [3, 4, 1, 2]
    queue.promote(1.5)
    assert [each.id for each in queue.line("a")] == [3, 4, 1, 2]
    queue.add(ticket(5))
    assert served(queue) == [3, 4, 1, 5, 2]


def test_loads_are_shared_out_across_lines() -> None:
    first, second, other = ticket(1, "a", "x"), ticket(2, "b", "x"), ticket(3, "c", "y")
    queue = queued(first, second, other)
    assert queue.share(second) == queue.share(other)
    queue.load_begins(first)
    assert queue.share(second) > queue.share(other)


def test_the_queue_is_full_of_the_one_with_most() -> None:
    tickets = [ticket(number, client="x") for number in range(1, 5)]
    queue = queued(*tickets, ticket(5, client="y"))
    assert queue.excess("x") is None
    assert queue.excess("y") is tickets[3]


def test_overdue() -> None:
    tickets = [ticket(number) for number in range(1, 5)]
    queue = queued(*tickets)
    queue.serve(tickets[0])
    assert queue.oldest() == 2.0
    assert queue.overdue(3.0) == (tickets[1], tickets[2])
    assert queue.overdue(3.0) == ()


_MOVES = st.lists(st.tuples(st.sampled_from("asw"), st.sampled_from("xyz"), st.integers(0, 99)), max_size=80)


@given(_MOVES)
def test_a_line_is_fair_and_first_come_first_within_a_client(moves: list[tuple[str, str, int]]) -> None:
    """Of two clients who both wait throughout, neither gets two turns more than the other."""
    queue, number, turns = Queue(), 0, dict.fromkeys("xyz", 0)
    since: dict[str, dict[str, int]] = {}  # for each who waits: the turns that all had had when it began to
    for what, client, which in moves:
        line = queue.line("a")
        if what == "a":
            number += 1
            queue.add(ticket(number, client=client))
            since.setdefault(client, dict(turns))
        elif line and what == "s":
            mine = line[0].want.client
            assert line[0].id == min(each.id for each in line if each.want.client == mine)
            queue.serve(line[0])
            turns[mine] += 1
        elif line:
            queue.remove(line[which % len(line)])
        present = {each.want.client for each in queue.line("a")}
        for one in [one for one in since if one not in present]:
            del since[one]
        for one, before in since.items():
            for other in present - {one}:
                shared = {each: max(before[each], since[other][each]) for each in (one, other)}
                assert turns[other] - shared[other] <= turns[one] - shared[one] + 2


def test_remove() -> None:
    queue = Queue()
    tickets = [ticket(1), ticket(2)]
    for each in tickets:
        queue.add(each)
    queue.remove(tickets[0])
    assert tickets[0] not in queue
    assert tickets[1] in queue
    assert queue.waiting("a") == 1
    queue.remove(tickets[1])
    assert len(queue) == 0
    assert list(queue) == []
    assert queue.heads({}) == ()


def test_pace() -> None:
    pace = Pace()
    assert pace.seconds_for(100, now=0.0) == 5
    for second in range(10):
        pace.ended(float(second))
    assert pace.seconds_for(20, now=10.0) == 20
    assert pace.seconds_for(0, now=10.0) == 1
    assert pace.seconds_for(10**6, now=10.0) == 60
