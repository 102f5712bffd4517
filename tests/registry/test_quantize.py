"""Quantizing on the way into the store: what is taken, what is refused before any work, and what is left of a failure.

The quantizer here is made up; `tests/engine/test_quantize.py` has the real one.
"""

from collections.abc import Callable
from pathlib import Path

import pytest

from modelfiles.parse import parse
from registry.create import create
from registry.digests import Digest
from registry.errors import BadSource, Cancelled, NoSpace, QuantizeFailed
from registry.gguf.quantizations import QUANT_TYPES, quant_type
from registry.progress import Progress
from registry.quantize import Order, Planned, Quantization, Watch
from registry.store import Store
from registry.stored import StoredModel
from tests import tiny_gguf
from tests.registry.faulty_disk import FaultyDisk
from tests.registry.trees import contents, unfinished

TENSORS = [tiny_gguf.Tensor("token_embd.weight", (64, 4), tiny_gguf.F16), tiny_gguf.Tensor("output_norm.weight", (64,))]
SMALLER = [
    tiny_gguf.Tensor("token_embd.weight", (64, 4), tiny_gguf.Q8_0),
    tiny_gguf.Tensor("output_norm.weight", (64,)),
]
Q8 = Quantization(quant_type("q8_0"))


class Made:
    """A quantizer that writes what it is told to, and remembers what it was asked."""

    def __init__(self, result: bytes | None = None, *, size: int = 528, is_blind: bool = False) -> None:
        self.result = tiny_gguf.model(tensors=SMALLER).build() if result is None else result
        self.size, self.is_blind = size, is_blind
        self.orders: list[Order] = []
        self.sources: list[list[bytes]] = []
        self.during: Callable[[], None] = lambda: None

    def __call__(self, order: Order, planned: Planned, watch: Watch) -> None:
        self.orders.append(order)
        planned(self.size, self.is_blind)
        shards = sorted(order.source.parent.glob(f"{order.source.name[:-19]}*")) if "-of-" in order.source.name else []
        self.sources.append([each.read_bytes() for each in shards or [order.source]])
        order.target.write_bytes(self.result[:100])
        watch()
        self.during()
        watch()
        order.target.write_bytes(self.result)


def whole(folder: Path, name: str = "tiny-F16.gguf") -> Path:
    path = folder / name
    path.write_bytes(tiny_gguf.model(tensors=TENSORS, extra={"general.file_type": 1}).build())
    return path


def make(
    store: Store, folder: Path, quantizer: Made, asked: Quantization = Q8, text: str = "", **more: object
) -> StoredModel:
    text = text or "FROM ./tiny-F16.gguf"
    return create(store, "mine", parse(text), base=folder, quantization=asked, quantizer=quantizer, **more)  # type: ignore[arg-type]  # passed on


def test_a_local_file_is_read_where_it_lies(store: Store, root: Path, tmp_path: Path) -> None:
    path, quantizer = whole(tmp_path), Made()
    seen: list[Progress] = []
    made = make(store, tmp_path, quantizer, progress=seen.append)
    assert quantizer.orders[0].source == path
    assert quantizer.orders[0].number == 7
    assert made.config.quantization == "Q8_0"
    assert made.manifest.layers[0].title == "tiny-Q8_0.gguf"
    assert [each.read_bytes() for each in made.weights] == [quantizer.result]
    # Its own bytes aren't in the store at all: only what became of them, and the config.
    assert len(list((root / "blobs").iterdir())) == 2
    assert unfinished(root) == []
    steps = [each for each in seen if each.status == "quantizing F16 model to Q8_0"]
    assert [each.completed for each in steps] == sorted(each.completed for each in steps)
    assert steps[-1].completed == steps[-1].total


def test_dimensions_of_one_may_be_left_out(store: Store, tmp_path: Path) -> None:
    for kind, shape, name in ((tiny_gguf.F16, (64, 1), "tiny-F16.gguf"), (tiny_gguf.Q8_0, (64,), "made.gguf")):
        tensors = [tiny_gguf.Tensor("cls.output.weight", shape, kind)]
        data = tiny_gguf.model(tensors=tensors, extra={"general.file_type": 1}).build()
        (tmp_path / name).write_bytes(data)
    made = make(store, tmp_path, Made((tmp_path / "made.gguf").read_bytes()))
    assert made.weights[0].read_bytes() == (tmp_path / "made.gguf").read_bytes()


def test_a_stored_model_stays_beside_what_is_made_of_it(store: Store, tmp_path: Path) -> None:
    whole(tmp_path)
    first = create(store, "whole", parse("FROM ./tiny-F16.gguf\nSYSTEM hi"), base=tmp_path, taking="copy")
    made = make(store, tmp_path, Made(), text="FROM whole")
    assert (made.system, made.config.parent) == ("hi", "whole:latest")
    assert made.config.quantization == "Q8_0"
    assert store.show("whole").weights == first.weights
    store.remove("whole")
    assert not first.weights[0].exists()
    assert make(store, tmp_path, Made(), text="FROM mine").weights == made.weights


def test_a_model_may_take_the_place_of_what_it_was_made_of(store: Store, tmp_path: Path) -> None:
    whole(tmp_path)
    first = create(store, "mine", parse("FROM ./tiny-F16.gguf"), base=tmp_path, taking="copy")
    made = make(store, tmp_path, Made(), text="FROM mine")
    assert made.weights[0].exists()
    assert not first.weights[0].exists(), "nobody needs the original any more"


def test_what_a_killed_process_left_is_gone_after_the_next_start(root: Path, tmp_path: Path) -> None:
    with Store.open(root):
        (root / "ingest" / "1234.part").write_bytes(b"half")
        (root / "ingest" / "1234-00001-of-00002.gguf").symlink_to(whole(tmp_path))
        (root / "ingest" / "1234-00002-of-00002.gguf").symlink_to(tmp_path / "gone.gguf")
    with Store.open(root):
        assert unfinished(root) == []
    assert (tmp_path / "tiny-F16.gguf").exists()


def test_an_upload_may_be_quantized_again(store: Store, tmp_path: Path) -> None:
    digest = store.blobs.write(whole(tmp_path).read_bytes())
    for kind in ("Q8_0", "Q4_0"):
        quantizer = Made()
        made = make(store, tmp_path, quantizer, Quantization(quant_type(kind)), "FROM a.gguf", files={"a.gguf": digest})
        assert quantizer.sources == [[store.blobs.path(digest).read_bytes()]]
        assert made.manifest.layers[0].title == f"a-{kind}.gguf"


def test_shards_lie_side_by_side_for_the_quantizer(store: Store, root: Path, tmp_path: Path) -> None:
    shards = []
    for index in range(3):
        gguf = tiny_gguf.Gguf(
            (tiny_gguf.model().metadata | {"general.file_type": 1} if index == 0 else {})
            | {"split.no": tiny_gguf.Typed(2, index), "split.count": tiny_gguf.Typed(2, 3)},
            [tiny_gguf.Tensor(f"blk.{index}.weight", (64, 4), tiny_gguf.F16)],
        )
        shards.append(gguf.build())
        (tmp_path / f"big-{index + 1:05}-of-00003.gguf").write_bytes(shards[-1])
    whole_again = tiny_gguf.model(tensors=[tiny_gguf.Tensor(f"blk.{i}.weight", (64, 4), 8) for i in range(3)]).build()
    quantizer = Made(whole_again)
    made = make(store, tmp_path, quantizer, text="FROM ./big-00002-of-00003.gguf")
    assert quantizer.sources == [shards]
    assert (len(made.weights), made.manifest.layers[0].title) == (1, "big-Q8_0.gguf")
    stored = create(store, "whole", parse("FROM ./big-00001-of-00003.gguf"), base=tmp_path, taking="copy")
    before = [path.stat() for path in stored.weights]
    assert make(store, tmp_path, quantizer, text="FROM whole").weights == made.weights
    assert quantizer.sources == [shards, shards]
    # Untouched, or each would have to be hashed again.
    assert [path.stat().st_ctime_ns for path in stored.weights] == [each.st_ctime_ns for each in before]
    assert unfinished(root) == []


def test_what_comes_with_a_model_is_left_alone(store: Store, tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    whole(folder)
    (folder / "mmproj.gguf").write_bytes(tiny_gguf.projector())
    (tmp_path / "lora.gguf").write_bytes(tiny_gguf.adapter())
    made = make(store, tmp_path, Made(), text="FROM ./folder\nADAPTER ./lora.gguf")
    assert made.projector is not None
    assert made.projector.read_bytes() == tiny_gguf.projector()
    assert [each.read_bytes() for each in made.adapters] == [tiny_gguf.adapter()]


def test_a_draft_model_has_a_type_of_its_own(store: Store, tmp_path: Path) -> None:
    whole(tmp_path)
    whole(tmp_path, "draft-f16.gguf")
    quantizer = Made()
    asked = Quantization(draft=quant_type("Q8_0"))
    made = make(store, tmp_path, quantizer, asked, "FROM ./tiny-F16.gguf\nDRAFT ./draft-f16.gguf")
    assert [order.source.name for order in quantizer.orders] == ["draft-f16.gguf"]
    assert (made.config.quantization, made.draft[0].read_bytes()) == ("F16", quantizer.result)


def test_a_model_of_that_type_already_is_unchanged(store: Store, tmp_path: Path) -> None:
    path, quantizer = whole(tmp_path), Made()
    made = make(store, tmp_path, quantizer, Quantization(quant_type("f16")))
    assert made.weights[0].read_bytes() == path.read_bytes()
    assert quantizer.orders == []


@pytest.mark.parametrize(
    ("prepare", "error", "words"),
    [
        (lambda made: setattr(made, "is_blind", True), BadSource, "Q8_0 needs an importance matrix"),
        (lambda made: setattr(made, "size", 1 << 50), NoSpace, "1126 TB needed"),
        (lambda made: setattr(made, "result", b"GGUF"), QuantizeFailed, "no sound GGUF"),
        (
            lambda made: setattr(made, "result", tiny_gguf.model(tensors=TENSORS[:1]).build()),
            QuantizeFailed,
            "other ten",
        ),
        (lambda made: setattr(made, "during", lambda: raise_(QuantizeFailed("it died"))), QuantizeFailed, "it died"),
        (lambda made: setattr(made, "during", lambda: raise_(Cancelled("enough"))), Cancelled, "enough"),
    ],
)
def test_a_failure_leaves_nothing(
    store: Store, root: Path, tmp_path: Path, prepare: Callable[[Made], None], error: type[Exception], words: str
) -> None:
    whole(tmp_path)
    before = contents(root)
    quantizer = Made()
    prepare(quantizer)
    with pytest.raises(error, match=words):
        make(store, tmp_path, quantizer)
    assert contents(root) == before
    assert unfinished(root) == []


def raise_(error: Exception) -> None:
    raise error


def test_cancelling_is_seen_while_it_works(store: Store, root: Path, tmp_path: Path) -> None:
    whole(tmp_path)
    quantizer, called = Made(), []
    quantizer.during = lambda: called.append(True)
    with pytest.raises(Cancelled):
        make(store, tmp_path, quantizer, cancelled=lambda: bool(called))
    assert unfinished(root) == []


def test_a_disk_that_filled_up_is_said_to_be_full(root: Path, tmp_path: Path) -> None:
    whole(tmp_path)
    disk = FaultyDisk()
    quantizer = Made(size=10_000_000)

    def fail() -> None:
        disk.free_bytes = 5
        raise QuantizeFailed("iostream error")

    quantizer.during = fail
    with Store.open(root, disk) as store, pytest.raises(NoSpace, match="5 B free"):
        make(store, tmp_path, quantizer)


def test_what_is_quantized_is_not_quantized_again(store: Store, root: Path, tmp_path: Path) -> None:
    (tmp_path / "tiny-F16.gguf").write_bytes(tiny_gguf.model().build())
    quantizer = Made()
    with pytest.raises(BadSource, match=r"tiny-F16\.gguf: it is quantized already \(token_embd\.weight is Q8_0\)"):
        make(store, tmp_path, quantizer, Quantization(quant_type("Q4_K_M")))
    assert quantizer.orders == []


@pytest.mark.parametrize("text", ["q4_k_m", "Q4_K", "Q4_K_M", " q4_K_m "])
def test_a_type_has_one_name_in_any_case(text: str) -> None:
    assert quant_type(text) is QUANT_TYPES["Q4_K_M"]


def test_an_importance_matrix_is_needed_before_anything_is_read(store: Store, tmp_path: Path) -> None:
    with pytest.raises(BadSource, match="IQ1_S needs an importance matrix"):
        make(store, tmp_path, Made(), Quantization(quant_type("iq1_s")), "FROM ./absent.gguf")
    with pytest.raises(BadSource, match="needs an importance matrix"):
        make(store, tmp_path, Made(), Quantization(draft=quant_type("iq2_xs")), "FROM ./absent.gguf")


def test_an_importance_matrix_must_be_there_and_be_one(store: Store, root: Path, tmp_path: Path) -> None:
    whole(tmp_path)
    absent = Quantization(quant_type("Q4_0"), None, Digest("0" * 64))
    with pytest.raises(BadSource, match=r"imatrix: blob sha256:0000.* isn't in the store"):
        make(store, tmp_path, Made(), absent)
    (tmp_path / "wrong.gguf").write_bytes(tiny_gguf.model().build())
    for path, words in ((tmp_path / "no.gguf", "no such file"), (tmp_path / "wrong.gguf", "not an importance matrix")):
        with pytest.raises(BadSource, match=words):
            make(store, tmp_path, Made(), Quantization(quant_type("Q4_0"), None, path))
    assert unfinished(root) == []
