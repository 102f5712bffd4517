"""Importance matrices are found by their lengths, in both forms, and every length is checked."""

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from registry.errors import BadSource
from registry.gguf.imatrix import read_imatrix
from tests import tiny_gguf, whole_models


@pytest.mark.parametrize("older", [False, True])
def test_both_forms_are_read(tmp_path: Path, older: bool) -> None:
    found = read_imatrix(whole_models.write_imatrix(tmp_path / "imatrix", older=older))
    assert (len(found.entries), found.datasets, found.chunks) == (7, ("made up",), 12)
    first = next(each for each in found.entries if each.name == "blk.0.attn_q.weight")
    assert first.count == 256
    data = (tmp_path / "imatrix").read_bytes()
    assert data[first.at : first.at + 4] == b"\0\0\xe0@"  # 7.0
    if older:
        assert (first.counts, first.calls) == (0, 7)
    else:
        assert (first.counts, data[first.counts_at : first.counts_at + 4]) == (1, b"\0\0\xe0@")


def test_what_stands_behind_the_entries_may_be_missing(tmp_path: Path) -> None:
    data = whole_models.write_imatrix(tmp_path / "imatrix", older=True).read_bytes()
    for rest, chunks in ((4 + len(b"made up"), 12), (8 + len(b"made up"), 0)):
        (tmp_path / "short").write_bytes(data[:-rest])
        found = read_imatrix(tmp_path / "short")
        assert (len(found.entries), found.datasets, found.chunks) == (7, (), chunks)


@pytest.mark.parametrize("older", [False, True])
def test_a_cut_is_noticed_wherever_it_is(tmp_path: Path, older: bool) -> None:
    data = whole_models.write_imatrix(tmp_path / "imatrix", older=older).read_bytes()
    entries = len(data) - (8 + len(b"made up") if older else 28)  # what follows may be missing: notes, or padding
    for end in range(0, entries, 7):
        (tmp_path / "cut").write_bytes(data[:end])
        with pytest.raises(BadSource, match="cut: not an importance matrix"):
            read_imatrix(tmp_path / "cut")


@pytest.mark.parametrize(
    "numbers",
    [
        (-1,), (0,), (2**31 - 1,), (65_537,),  # entries
        (1, -1), (1, 0), (1, 256), (1, 2**31 - 1),  # a name's length
    ],
)  # fmt: skip
def test_lengths_that_lie_cost_nothing(tmp_path: Path, numbers: tuple[int, ...]) -> None:
    path = tmp_path / "lying"
    path.write_bytes(b"".join(each.to_bytes(4, "little", signed=True) for each in numbers) + b"x" * 64)
    with pytest.raises(BadSource, match="lying: not an importance matrix"):
        read_imatrix(path)


def test_sums_need_their_counts(tmp_path: Path) -> None:
    about = {"imatrix.datasets": tiny_gguf.array(tiny_gguf.STRING, ["x"]), "imatrix.chunk_count": 1}
    sums, counts = tiny_gguf.Tensor("a.in_sum2", (6, 1)), tiny_gguf.Tensor("a.counts", (1, 4))
    for tensors, words in (
        ([sums], "belong together"),
        ([sums, tiny_gguf.Tensor("b.counts", (1,))], "belong together"),
        ([sums, counts], "6 sums can't be shared by 4 counts"),
        ([tiny_gguf.Tensor("a.in_sum2", (6,), tiny_gguf.F16), tiny_gguf.Tensor("a.counts", (1,))], "must be F32"),
    ):
        (tmp_path / "i.gguf").write_bytes(tiny_gguf.Gguf(dict(about), tensors).build())
        with pytest.raises(BadSource, match=words):
            read_imatrix(tmp_path / "i.gguf")


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(older=st.booleans(), changes=st.lists(st.tuples(st.integers(0, 7500), st.binary(min_size=1, max_size=8))))
def test_whatever_it_says_its_numbers_lie_in_the_file(
    tmp_path: Path, older: bool, changes: list[tuple[int, bytes]]
) -> None:
    data = bytearray(whole_models.write_imatrix(tmp_path / "imatrix", older=older).read_bytes())
    for at, change in changes:
        data[at : at + len(change)] = change
    path = tmp_path / "changed"
    path.write_bytes(data)
    try:
        found = read_imatrix(path)
    except BadSource:
        return
    for each in found.entries:
        assert 0 <= each.at <= each.at + 4 * each.count <= len(data)
        assert 0 <= each.counts_at <= each.counts_at + 4 * each.counts <= len(data)
        assert each.calls > 0
