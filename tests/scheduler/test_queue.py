"""Lines by model, order by arrival, and the pace at which they move."""

from __future__ import annotations

from runner.scheduler.meters import Journey, Meters
from runner.scheduler.queue import Pace, Queue
from runner.scheduler.ticket import Ticket
from tests.fakes.scheduling import Heard, want


def ticket(number: int, model: str = "a") -> Ticket:
    wanted = want(model)
    return Ticket(number, wanted, Heard(wanted), 0.0, Journey.of(Meters(), wanted.work, 0.0))


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
    for each in (tickets[1], tickets[3], tickets[4]):
        queue.add(each)
    queue.add(tickets[0])
    queue.add(tickets[2])
    assert queue.line("a") == tuple(tickets)


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
