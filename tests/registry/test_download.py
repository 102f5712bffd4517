"""Downloads in parts: what is fetched, by how many, what a journal is worth, and what no sender may do."""

from __future__ import annotations

import random
import threading
import zlib
from collections.abc import Callable
from contextlib import AbstractContextManager, suppress
from dataclasses import replace
from itertools import count
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from registry.digests import digest_of
from registry.disk import Disk
from registry.errors import BadGGUF, Cancelled, NoSpace, StorageFault, Unreachable
from registry.ingest import Ingest
from registry.transfer.download import Manner, download
from registry.transfer.incoming import Incoming
from registry.transfer.journal import Journal
from registry.transfer.pace import LONGEST, Pace, Patience
from registry.transfer.parts import MIB, Extent, Parts, Shape
from tests.registry.faulty_disk import FaultyDisk, Killed
from tests.registry.senders import CHUNK, LosingDisk, Sender

PART = 64 << 10
MANNER = Manner(waits=(0.0,) * 5, connections=4, shape=Shape.cut(PART))
DATA = random.Random(5).randbytes(10 * PART + 777)


def fetch(
    folder: Path,
    sender: Sender,
    *,
    manner: Manner = MANNER,
    disk: Disk | None = None,
    cancelled: Callable[[], bool] = lambda: False,
    arrived: Callable[[int], None] = lambda done: None,
    grown: Callable[[int], None] | None = None,
    certain: bool = True,
) -> Ingest:
    """Download into `folder`, going on with what is there; the ingest, closed."""
    ingest = Ingest.resume(disk or Disk(), folder / "x.part")
    try:
        download(
            sender.open_at,
            ingest,
            len(DATA),
            arrived,
            cancelled,
            manner,
            journal=folder / "x.journal",
            grown=grown,
            certain=certain,
        )
    finally:
        ingest.keep()
    return ingest


def whole(ingest: Ingest) -> bool:
    """Whether the file is there and was hashed right."""
    return ingest.path.read_bytes() == DATA and ingest.digest() == digest_of(DATA)


def until(count: int, error: Exception) -> Callable[[int], None]:
    """For `arrived`: raises once so many bytes are there."""

    def arrived(done: int) -> None:
        if done >= count:
            raise error

    return arrived


def test_parts_come_over_several_connections_and_each_once(tmp_path: Path) -> None:
    together = threading.Barrier(4)
    met = threading.Event()

    def before(at: int) -> None:
        if at and at % PART == 0 and not met.is_set():
            together.wait(10)  # passes only if four parts are under way at once
            met.set()

    sender = Sender(DATA, before=before)
    seen: list[int] = []
    assert whole(fetch(tmp_path, sender, arrived=seen.append))
    assert sorted(sender.asked) == [(at, min(at + PART, len(DATA))) for at in range(0, len(DATA), PART)]
    assert sender.sent_twice() == 0
    assert seen == sorted(seen)
    assert (seen[0], seen[-1]) == (0, len(DATA))


def test_the_first_answer_shows_whether_more_connections_make_sense(tmp_path: Path) -> None:
    sender = Sender(DATA, ranges=False)
    assert whole(fetch(tmp_path, sender))
    assert sender.asked == [(0, PART)]
    assert sender.sent == len(DATA)


def test_a_sender_that_forgets_ranges_costs_time_but_not_the_file(tmp_path: Path) -> None:
    sender = Sender(DATA)

    def before(at: int) -> None:
        if at > 3 * PART:
            sender.ranges = False

    sender.before = before
    assert whole(fetch(tmp_path, sender))


def test_connections_that_are_hung_up_for_one_stream_are_no_trouble(tmp_path: Path) -> None:
    whole_file = threading.Event()
    turn = count()
    plain = Sender(DATA, ranges=False, before=lambda at: whole_file.set())

    def before(at: int) -> None:
        if at % PART == CHUNK:
            assert whole_file.wait(10)  # the first two are in the middle of a part when the third hangs them up

    class Forgetting(Sender):
        def open_at(self, start: int, stop: int | None) -> AbstractContextManager[Incoming]:
            return super().open_at(start, stop) if next(turn) < 2 else plain.open_at(start, stop)

    sender = Forgetting(DATA, before=before)
    assert whole(fetch(tmp_path, sender, manner=replace(MANNER, waits=(), connections=3)))
    assert plain.sent == len(DATA)


def test_a_size_below_zero_is_refused_at_once(tmp_path: Path) -> None:
    ingest = Ingest.create(Disk(), tmp_path / "x.part")
    with pytest.raises(ValueError, match="-1 bytes"):
        download(Sender(DATA).open_at, ingest, -1, lambda done: None, lambda: False, MANNER)
    ingest.abandon()


@pytest.mark.parametrize("size", [0, 1, PART - 1, PART, PART + 1])
def test_any_size_will_do(tmp_path: Path, size: int) -> None:
    ingest = Ingest.create(Disk(), tmp_path / "x.part")
    sender = Sender(DATA[:size])
    download(sender.open_at, ingest, size, lambda done: None, lambda: False, MANNER, journal=tmp_path / "x.journal")
    ingest.keep()
    assert ingest.path.read_bytes() == DATA[:size]
    assert ingest.digest() == digest_of(DATA[:size])


class TestGoingOn:
    def test_what_had_arrived_when_it_stopped_is_not_fetched_again(self, tmp_path: Path) -> None:
        sender = Sender(DATA)
        with pytest.raises(BadGGUF):
            fetch(tmp_path, sender, arrived=until(5 * PART, BadGGUF("stop")))
        before = sender.sent
        assert whole(fetch(tmp_path, sender))
        # What four connections had sent and nobody had taken yet.
        assert sender.sent_twice() <= 4 * CHUNK
        assert sender.sent - before < len(DATA) - 4 * PART

    @pytest.mark.parametrize("torn", [False, True], ids=["between", "torn"])
    def test_death_at_any_step_costs_less_than_a_part(self, tmp_path: Path, torn: bool) -> None:
        steps = FaultyDisk()
        fetch(tmp_path, Sender(DATA), disk=steps)
        most = 0
        for at in range(1, steps.count, steps.count // 30):
            folder = tmp_path / f"{at}"
            folder.mkdir()
            sender = Sender(DATA)
            with suppress(Killed):  # it may have been all there before that step
                fetch(folder, sender, disk=FaultyDisk(at, torn=torn))
            assert whole(fetch(folder, sender))
            most = max(most, sender.sent_twice())
        assert most <= PART

    @pytest.mark.parametrize("seed", range(12))
    def test_a_power_cut_costs_no_more_than_a_part(self, tmp_path: Path, seed: int) -> None:
        chance = random.Random(seed)
        sender = Sender(DATA)
        for _ in range(4):
            disk = LosingDisk()
            count = chance.randrange(len(DATA))
            before = sender.sent_twice()
            try:
                fetch(tmp_path, sender, disk=disk, arrived=until(count, BadGGUF("power")))
            except BadGGUF:
                disk.cut_power(chance)
            assert sender.sent_twice() - before <= PART
        assert whole(fetch(tmp_path, sender))

    def test_only_a_damaged_part_is_fetched_again(self, tmp_path: Path) -> None:
        fetch(tmp_path, Sender(DATA))
        with (tmp_path / "x.part").open("r+b") as file:
            for at in (2 * PART + 100, 7 * PART):
                file.seek(at)
                file.write(b"\0" * 10)
        sender = Sender(DATA)
        assert whole(fetch(tmp_path, sender))
        assert sorted(sender.asked) == [(2 * PART, 3 * PART), (7 * PART, 8 * PART)]

    @pytest.mark.parametrize("damage", ["cut short", "a torn note", "no head", "nonsense", "another size"])
    def test_a_damaged_journal_costs_time_but_not_the_file(self, tmp_path: Path, damage: str) -> None:
        sender = Sender(DATA)
        with pytest.raises(BadGGUF):
            fetch(tmp_path, sender, arrived=until(6 * PART, BadGGUF("stop")))
        path = tmp_path / "x.journal"
        data = path.read_bytes()
        match damage:
            case "cut short":
                data = data[:-30]
            case "a torn note":
                data = data[:100] + b"\xff" + data[101:-7]
            case "no head":
                data = b""
            case "nonsense":
                data = b"x" * len(data)
            case _:
                Journal.begin(Disk(), path, len(DATA) + 1, Shape.cut(PART)).close()
                data = path.read_bytes()
        path.write_bytes(data)
        assert whole(fetch(tmp_path, sender))
        assert whole(fetch(tmp_path, sender))

    def test_a_journal_is_not_believed_beyond_the_file(self, tmp_path: Path) -> None:
        sender = Sender(DATA)
        fetch(tmp_path, sender)
        with (tmp_path / "x.part").open("r+b") as file:
            file.truncate(3 * PART + 5)
        sender.asked.clear()
        assert whole(fetch(tmp_path, sender))
        assert min(start for start, _ in sender.asked) == 3 * PART

    def test_a_download_of_an_earlier_version_counts_as_far_as_it_goes(self, tmp_path: Path) -> None:
        (tmp_path / "x.part").write_bytes(DATA[: 4 * PART + 99])
        sender = Sender(DATA)
        assert whole(fetch(tmp_path, sender))
        assert sender.sent == len(DATA) - 4 * PART - 99
        # From here on the journal knows it too.
        sender.asked.clear()
        assert whole(fetch(tmp_path, sender))
        assert sender.asked == []

    def test_a_file_that_changed_meanwhile_is_begun_anew(self, tmp_path: Path) -> None:
        with pytest.raises(BadGGUF):
            fetch(tmp_path, Sender(b"x" * len(DATA), "old"), arrived=until(5 * PART, BadGGUF("stop")))
        assert whole(fetch(tmp_path, Sender(DATA, "new")))

    @pytest.mark.parametrize("left", ["no journal", "a journal without a version", "a journal, and no version now"])
    def test_without_a_hash_only_what_a_journal_vouches_for_counts(self, tmp_path: Path, left: str) -> None:
        version = "" if left == "a journal without a version" else "v1"
        with pytest.raises(BadGGUF):
            fetch(tmp_path, Sender(b"x" * len(DATA), version), arrived=until(5 * PART, BadGGUF("stop")))
        if left == "no journal":
            (tmp_path / "x.journal").unlink()
        now = Sender(DATA, "" if left == "a journal, and no version now" else "v1", ranges=False)
        assert whole(fetch(tmp_path, now, certain=False, manner=replace(MANNER, waits=())))

    def test_a_file_that_changes_under_way_is_begun_anew(self, tmp_path: Path) -> None:
        sender = Sender(b"x" * len(DATA), "old")

        def arrived(done: int) -> None:
            if done > 4 * PART:
                sender.data, sender.version = DATA, "new"

        assert whole(fetch(tmp_path, sender, arrived=arrived))

    def test_a_file_that_never_stays_the_same_is_given_up(self, tmp_path: Path) -> None:
        count = iter(range(10_000))
        sender = Sender(DATA, answer=lambda incoming: replace(incoming, version=str(next(count))))
        with pytest.raises(Unreachable, match="changes at its source"):
            fetch(tmp_path, sender)


class TestSendersThatLie:
    @pytest.mark.parametrize(
        ("answer", "complaint"),
        [
            (lambda incoming: replace(incoming, start=incoming.start + 1), "got bytes"),
            (lambda incoming: replace(incoming, start=0, end=PART), "got bytes 0 to"),
            (lambda incoming: replace(incoming, end=incoming.end + 1), "got bytes"),
            (lambda incoming: replace(incoming, end=incoming.start), "got bytes"),
            (lambda incoming: replace(incoming, total=len(DATA) + 1), "should have"),
            (lambda incoming: replace(incoming, start=incoming.start + 1, end=None), "got them from"),
        ],
        ids=["later", "the first part always", "more than asked", "nothing", "another length", "no range, not all"],
    )
    def test_an_answer_about_other_bytes_is_refused(
        self, tmp_path: Path, answer: Callable[[Incoming], Incoming], complaint: str
    ) -> None:
        sender = Sender(DATA, answer=answer)
        with pytest.raises(Unreachable, match=complaint):
            fetch(tmp_path, sender)
        sender.answer = lambda incoming: incoming
        assert whole(fetch(tmp_path, sender))

    def test_a_part_that_ends_early_is_gone_on_with(self, tmp_path: Path) -> None:
        def answer(incoming: Incoming) -> Incoming:
            assert incoming.end is not None
            return replace(incoming, end=min(incoming.end, incoming.start + 10_000))

        sender = Sender(DATA, answer=answer)
        assert whole(fetch(tmp_path, sender))

    def test_a_connection_that_brings_next_to_nothing_is_given_up(self, tmp_path: Path) -> None:
        waiting = threading.Event()
        manner = replace(MANNER, patience=0.01)
        sender = Sender(DATA, before=lambda at: _wait(waiting))
        with pytest.raises(Unreachable, match="only 1024 bytes came in"):
            # 1024 bytes in 20 ms are 50 kB/s: slow only for one who wants more.
            _with_slowest(1 << 20, lambda: fetch(tmp_path, sender, manner=manner))
        sender.before = lambda at: None
        assert whole(fetch(tmp_path, sender))


def _wait(event: threading.Event) -> None:
    event.wait(0.02)


def _with_slowest(rate: int, work: Callable[[], object]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("registry.transfer.download._SLOWEST", rate)
        work()


class TestEnds:
    def test_cancelling_does_not_wait_for_a_silent_sender(self, tmp_path: Path) -> None:
        silent, over = threading.Event(), threading.Event()

        def before(at: int) -> None:
            if at >= 2 * PART:
                silent.set()
                over.wait(30)

        ended: list[type[BaseException]] = []

        def work() -> None:
            try:
                fetch(tmp_path, Sender(DATA, before=before), cancelled=silent.is_set)
            except Cancelled as error:
                ended.append(type(error))

        thread = threading.Thread(target=work)
        thread.start()
        thread.join(10)  # far below the sender's silence
        assert ended == [Cancelled]
        over.set()

    def test_a_full_disk_keeps_what_arrived(self, tmp_path: Path) -> None:
        class Full(Disk):
            room = 5 * PART

            def write_at(self, fd: int, offset: int, data: bytes | bytearray | memoryview) -> None:
                self._take(len(data))
                super().write_at(fd, offset, data)

            def write(self, fd: int, data: bytes | bytearray | memoryview) -> None:
                if self.room < len(data):
                    super().write(fd, bytes(data)[:7])  # torn, as a full disk may leave it
                self._take(len(data))
                super().write(fd, data)

            def _take(self, count: int) -> None:
                if count > self.room:
                    raise OSError(28, "No space left on device")
                self.room -= count

        sender = Sender(DATA)
        for _ in range(2):
            with pytest.raises(NoSpace):
                fetch(tmp_path, sender, disk=Full())
        assert whole(fetch(tmp_path, sender))
        # The blocks that couldn't be noted, and what was on its way, of four connections.
        assert sender.sent_twice() <= 2 * 4 * 4 * CHUNK

    def test_bytes_that_the_disk_could_not_keep_are_not_believed_again(self, tmp_path: Path) -> None:
        class Failing(Disk):
            def sync(self, fd: int) -> None:
                if syncs and self.is_part(fd):
                    raise OSError(5, "Input/output error")
                super().sync(fd)
                syncs.append(fd)

            def is_part(self, fd: int) -> bool:
                import os

                return os.fstat(fd).st_ino == (tmp_path / "x.part").stat().st_ino

        syncs: list[int] = []
        with pytest.raises(StorageFault, match="durable"):
            fetch(tmp_path, Sender(DATA), disk=Failing())
        assert not (tmp_path / "x.part").exists()
        assert whole(fetch(tmp_path, Sender(DATA)))

    def test_what_a_listener_raises_ends_it(self, tmp_path: Path) -> None:
        def grown(prefix: int) -> None:
            if prefix > PART:
                raise BadGGUF("no GGUF")

        sender = Sender(DATA)
        with pytest.raises(BadGGUF):
            fetch(tmp_path, sender, grown=grown)

    def test_lasting_trouble_is_reported_after_as_many_tries_as_there_are_waits(self, tmp_path: Path) -> None:
        def answer(incoming: Incoming) -> Incoming:
            raise Unreachable("down")

        sender = Sender(DATA, answer=answer)
        with pytest.raises(Unreachable, match="down"):
            fetch(tmp_path, sender)
        assert len(sender.asked) == 1 + len(MANNER.waits)

    def test_a_busy_server_gets_fewer_connections(self, tmp_path: Path) -> None:
        under_way: set[int] = set()
        most = [0]
        told = threading.Event()

        def answer(incoming: Incoming) -> Incoming:
            if incoming.start >= 3 * PART and not told.is_set():
                told.set()
                raise Unreachable("busy", after=0.0)
            return incoming

        def before(at: int) -> None:
            if at % PART == 0 and told.is_set():
                under_way.add(at)
                most[0] = max(most[0], len(under_way))
            if at % PART == PART - CHUNK:
                under_way.discard(at - PART + CHUNK)

        assert whole(fetch(tmp_path, Sender(DATA, before=before, answer=answer)))
        assert most[0] <= 3


class TestPace:
    def test_a_rate_is_kept_over_all_who_share_it(self) -> None:
        now = [100.0]
        pace = Pace(1000, lambda: now[0])
        assert pace.take(100) == pytest.approx(0.0)  # a tenth of a second ahead
        assert pace.take(500) == pytest.approx(0.5)
        assert pace.take(500) == pytest.approx(1.0)  # another thread, that came while the first waits
        now[0] += 10
        assert pace.take(1000) == pytest.approx(0.9)  # an idle time isn't saved up

    def test_no_rate_is_no_wait(self) -> None:
        assert Pace(0, lambda: 0.0).take(10**12) == 0.0

    def test_a_download_waits_as_it_is_told(self, tmp_path: Path) -> None:
        class Told(Pace):
            taken = 0

            def take(self, count: int) -> float:
                Told.taken += count
                return 0.0

        fetch(tmp_path, Sender(DATA), manner=replace(MANNER, paces=(Told(1),)))
        assert Told.taken == len(DATA)

    def test_a_slow_download_is_cancelled_at_once(self, tmp_path: Path) -> None:
        slow = Pace(1)  # would take days
        seen = [0]
        with pytest.raises(Cancelled):
            fetch(
                tmp_path,
                Sender(DATA),
                manner=replace(MANNER, paces=(slow,)),
                arrived=seen.append,
                cancelled=lambda: seen[-1] > 0,
            )


class TestPatience:
    def test_waits_grow_until_something_arrives(self) -> None:
        patience = Patience((1.0, 2.0), lambda: 0.0, lambda: 0.5)
        waits = []
        for done in (0, 0, 10, 10):
            assert patience.failed(patience.round, done)
            waits.append(patience.wait)
        assert waits == [1.0, 2.0, 1.0, 2.0]
        assert not patience.failed(patience.round, 10)

    def test_tries_at_the_same_time_fail_as_one(self) -> None:
        patience = Patience((1.0,), lambda: 0.0, lambda: 0.5)
        began = patience.round
        assert all(patience.failed(began, 0) for _ in range(8))
        assert not patience.failed(patience.round, 0)

    def test_a_server_may_say_how_long(self) -> None:
        patience = Patience((1.0,) * 5, lambda: 0.0, lambda: 0.5)
        assert patience.failed(patience.round, 0, after=7.0)
        assert patience.wait == 7.0
        assert patience.failed(patience.round, 0, after=0.0)
        assert patience.wait == 1.0
        assert not patience.failed(patience.round, 0, after=LONGEST + 1)

    def test_slow_is_not_getting_on(self) -> None:
        patience = Patience((0.0,), lambda: 0.0)
        assert patience.failed(patience.round, 10, slow=True)
        assert not patience.failed(patience.round, 20, slow=True)

    def test_waits_are_spread(self) -> None:
        def wait(spread: float) -> float:
            patience = Patience((1.0,), lambda: 0.0, lambda: spread)
            patience.failed(patience.round, 0)
            return patience.wait

        assert (wait(0.0), wait(1.0)) == (0.5, 1.5)


@given(st.integers(0, 1 << 45))
def test_a_file_of_any_size_is_cut_into_a_sane_number_of_parts(size: int) -> None:
    shape = Shape.of(size)
    count = -(-size // shape.part)
    assert count <= 1 or 16 * MIB <= shape.part <= 128 * MIB
    assert count <= 256 or shape.part == 128 * MIB
    assert size > 32 * MIB or count <= 1
    assert shape.block * 8 <= max(shape.part // 2, 8)


@given(
    st.integers(1, 400), st.integers(1, 90), st.lists(st.tuples(st.integers(0, 420), st.integers(1, 60)), max_size=40)
)
def test_what_is_there_is_counted_and_read_once(size: int, part: int, notes: list[tuple[int, int]]) -> None:
    """Whatever a journal says: what is missing and what is there make the whole, and can be read from the start."""
    parts = Parts(size, Shape(part, max(part // 4, 1)))
    for start, length in notes:
        parts.known(Extent(start, start + length, zlib.crc32(b"")))
    gaps = parts.gaps(0, size)
    missing = sum(each.stop - each.upto for each in parts)
    assert parts.done == size - missing
    assert all(part_.start <= start < stop == part_.stop for part_, start, stop in gaps if start >= part_.start)
    at = 0
    while (piece := parts.readable(at, 7)) is not None:
        if piece.crc is not None:
            parts.compared(piece, True)
        assert piece.start == at
        at = piece.stop
    assert at == parts.prefix
    while (free := parts.take()) is not None:
        for one, start, stop in parts.gaps(free.start, free.stop):
            assert parts.arrived(one, start, stop)
    assert (parts.done, parts.prefix) == (size, size)
