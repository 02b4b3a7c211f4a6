"""The trunk cache: equal values, one computation, and what happens when the disk misbehaves."""

import errno
import os
import random
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from metaxcr.adapters.language_adapter import LanguageAdapter
from metaxcr.data.registry import load
from metaxcr.encoders import activation_cache as trunk_module
from metaxcr.encoders import tensor_cache as chunks_module
from metaxcr.encoders.activation_cache import ActivationCache, tile_shape
from metaxcr.encoders.encoder import FrozenEncoder, Ragged, Text, TokenizedText, Tokenizer
from metaxcr.errors import UserError

TEXTS = [Text(f"sentence {n} with" + " some more words" * (n % 4)) for n in range(40)]
TEXTS += [Text(f"first part {n}", "second part") for n in range(10)]


@pytest.fixture(autouse=True)
def small_tiles(monkeypatch: pytest.MonkeyPatch) -> None:
    """Many tiles, and several files, from a few texts."""
    monkeypatch.setattr(trunk_module, "TILE_TOKENS", 48)
    monkeypatch.setattr(trunk_module, "TILES_AT_ONCE", 4)
    monkeypatch.setattr(trunk_module, "WRITE_BYTES", 4000)


@pytest.fixture
def make(toy_encoder: FrozenEncoder, tmp_path: Path) -> Callable[..., ActivationCache]:
    """Build a store over the toy encoder with some settings changed."""

    def build(**changes: Any) -> ActivationCache:
        settings = {"encoder": toy_encoder, "layer": 2, "dtype": torch.float32, "max_tokens": 32}
        settings |= {"folder": tmp_path / "cache"} | changes
        return ActivationCache(**settings)

    return build


def files(folder: Path) -> list[Path]:
    return sorted(folder.rglob("*.safetensors"))


def fill(store: ActivationCache, texts: Sequence[Text], **how: Any) -> ActivationCache:
    """Compute texts and write them, as a run does that needs them and ends."""
    store.ensure(texts, **how)
    store.flush(0)
    return store


def forbid_computing(monkeypatch: pytest.MonkeyPatch) -> None:
    def compute(*args: Any) -> None:
        raise AssertionError("computed although it is on disk")

    monkeypatch.setattr(FrozenEncoder, "embed", compute)


@pytest.mark.parametrize("layer", [0, 1, 2, 3])
def test_equal_with_and_without_the_cache(make: Callable[..., ActivationCache], layer: int) -> None:
    store = make(layer=layer)
    numbers = store.ensure(TEXTS)
    for _ in range(2):
        ragged = store.gather(numbers)
        tokenized = store.encoder.tokenize(TEXTS, 32)
        assert ragged.lengths.tolist() == [len(t.ids) for t in tokenized]
        plain = store.encoder.run(store.encoder.embed(tokenized), 0, layer, torch.float32)
        assert torch.allclose(ragged.hidden, plain, atol=1e-5)
        store.flush(0)
        store = make(layer=layer)  # once more, from disk
        numbers = store.ensure(TEXTS)
        assert store.stats.computed_texts == 0


def test_the_upper_layers_continue_where_the_trunk_ended(make: Callable[..., ActivationCache]) -> None:
    store = make()
    encoder = store.encoder
    ragged = store.gather(store.ensure(TEXTS))
    whole = encoder.run(encoder.embed(encoder.tokenize(TEXTS, 32)), 0, 3, torch.float32)
    assert torch.allclose(encoder.run(ragged, 2, 3, torch.float32), whole, atol=1e-5)


def test_the_second_store_reads_and_computes_nothing(
    make: Callable[..., ActivationCache], monkeypatch: pytest.MonkeyPatch
) -> None:
    first = fill(make(), TEXTS)
    expected = first.gather(first.ensure(TEXTS)).hidden
    assert first.stats.computed_texts == 50
    assert first.stats.computed_tokens == first.stats.tokens == first.stats.used_tokens == len(expected)
    forbid_computing(monkeypatch)
    second = make()
    assert torch.equal(second.gather(second.ensure(TEXTS)).hidden, expected)
    stats = second.stats
    assert (stats.computed_texts, stats.computed_tokens, stats.cold_seconds) == (0, 0, 0.0)
    assert (stats.texts, stats.tokens, stats.bytes) == (50, len(expected), expected.nbytes)
    assert stats.warm_seconds > 0


def test_known_texts_cost_nothing_within_a_store(
    make: Callable[..., ActivationCache], monkeypatch: pytest.MonkeyPatch
) -> None:
    store = make()
    numbers = store.ensure(TEXTS)
    forbid_computing(monkeypatch)
    assert store.ensure([TEXTS[7], TEXTS[3], TEXTS[7]]) == [numbers[7], numbers[3], numbers[7]]
    assert store.stats.texts == 50


def test_values_are_a_function_of_the_text_alone(
    make: Callable[..., ActivationCache], tmp_path: Path
) -> None:
    """Bit by bit: neighbours, order, repetitions, how full a tile is: nothing of it matters."""
    for dtype in (torch.float32, torch.bfloat16):
        together = make(folder=tmp_path / str(dtype), dtype=dtype)
        expected = together.gather(together.ensure(TEXTS)).hidden
        shuffled = TEXTS * 2
        random.Random(0).shuffle(shuffled)
        some = make(folder=tmp_path / f"{dtype} some", dtype=dtype)
        for begin in range(0, 100, 7):
            some.gather(some.register(shuffled[begin : begin + 7]))
        assert torch.equal(some.gather(some.ensure(TEXTS)).hidden, expected)
        alone = make(folder=Path(), dtype=dtype)
        each = [alone.gather(alone.register([text])).hidden for text in TEXTS]
        assert torch.equal(torch.cat(each), expected)


@pytest.mark.real
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_values_of_a_real_encoder_do_not_depend_on_their_neighbours(
    data_root: Path, embedded_encoder: FrozenEncoder, dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.undo()  # tiles of the real size
    examples = load("xcopa", "val", language="sw", root=data_root).examples[:60]
    texts = [Text(e.context) for e in examples] + [
        Text(c, cuttable=None) for e in examples for c in e.choices
    ]
    texts += [Text(" ".join(e.context for e in examples[n : n + 9])) for n in range(0, 20, 5)]
    together = ActivationCache(embedded_encoder, 4, dtype, Path())
    expected = together.ensure(texts)
    order = list(range(len(texts)))
    random.Random(1).shuffle(order)
    for several, most in ((1, 16), (3, 45), (50, 90)):
        apart = ActivationCache(embedded_encoder, 4, dtype, Path())
        for begin in range(0, most, several):
            chosen = order[begin : begin + several]
            values = apart.gather(apart.register([texts[n] for n in chosen])).hidden
            assert torch.equal(values, together.gather([expected[n] for n in chosen]).hidden)


def test_the_shape_of_a_tile_depends_on_the_length_alone(
    make: Callable[..., ActivationCache], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Longer texts than a tile get one that holds one of them; none is fuller than it may be."""
    monkeypatch.undo()
    assert tile_shape(8, 256) == (256, 64) and tile_shape(16, 256) == (256, 21)
    assert tile_shape(256, 256) == (256, 1) and tile_shape(264, 256) == (384, 1)
    monkeypatch.setattr(trunk_module, "TILE_TOKENS", 16)
    seen: list[tuple[int, ...]] = []
    inner = FrozenEncoder.embed

    def embed(self: FrozenEncoder, tokenized: Sequence[TokenizedText]) -> Ragged:
        ragged = inner(self, tokenized)
        seen.append(tuple(ragged.hidden.shape))
        return ragged

    monkeypatch.setattr(FrozenEncoder, "embed", embed)
    store = make(max_tokens=60)
    store.gather(
        store.register([Text("word " * n) for n in (1, 2, 9, 40)] + [Text(f"one {n}") for n in range(9)])
    )
    assert seen == [(16, 16)] * 4 + [(128, 16)]  # four rows of up to 8 tokens in a tile


def test_only_what_is_gathered_is_computed(make: Callable[..., ActivationCache]) -> None:
    store = make()
    numbers = store.register(TEXTS)
    assert store.lengths(torch.tensor(numbers)) == [len(t.ids) for t in store.encoder.tokenize(TEXTS, 32)]
    stats = store.stats
    assert (stats.texts, stats.computed_texts, stats.used_tokens, stats.bytes) == (50, 0, 0, 0)
    ragged = store.gather(numbers[:3])
    assert (stats.computed_texts, stats.computed_tokens) == (3, len(ragged.hidden))
    assert (stats.used_tokens, stats.bytes) == (len(ragged.hidden), ragged.hidden.nbytes)
    store.gather(numbers[1:4])
    assert stats.computed_texts == 4
    store.flush(0)
    again = make()
    assert again.register(TEXTS) == numbers  # which tell the order of batches
    assert torch.equal(again.gather(numbers[:3]).hidden, ragged.hidden)
    assert again.stats.computed_texts == 0


def test_a_choice_that_is_too_long_is_told_before_anything_is_computed(
    make: Callable[..., ActivationCache],
) -> None:
    with pytest.raises(UserError, match="a choice does not fit into 8 tokens"):
        make(max_tokens=8).register([Text("fine"), Text("word " * 9, cuttable=None)])


def test_values_are_mapped_once_they_are_written(make: Callable[..., ActivationCache]) -> None:
    """A few bytes wait for more; what is written is not held in memory, and no file is written twice."""
    store = make()
    store.gather(store.register(TEXTS[:2]))
    store.flush()
    assert not files(store.folder)  # less than is worth a file
    store.flush(0)
    (path,) = files(store.folder)
    (values,) = store._caches.values()
    assert (values.pending_bytes, values._pending, values.used) == (0, {}, {path})
    store.flush(0)
    store.gather(store.register(TEXTS[:2]))
    store.flush(0)
    assert files(store.folder) == [path]
    store.ensure(TEXTS)  # writes by itself when there is much
    assert len(files(store.folder)) > 1


def test_many_small_files_become_one(
    make: Callable[..., ActivationCache], monkeypatch: pytest.MonkeyPatch
) -> None:
    other = make()  # of another process, which has looked into the folder before and mapped nothing
    stores = [make()]
    for n in range(15):
        stores.append(fill(make(), TEXTS[n : n + 2]))
        other.register(TEXTS[n : n + 2])
        other.prefetch([])
    stale = make()
    expected = stale.gather(stale.ensure(TEXTS[:4])).hidden.clone()
    other._cache("")
    assert len(files(stale.folder)) == 15
    fill(make(), TEXTS[15:17])
    assert len(files(stale.folder)) == 16
    fill(make(), TEXTS[17:19])
    assert len(files(stale.folder)) == 1
    forbid_computing(monkeypatch)
    for store in (make(), other, stale, *stores):
        assert torch.equal(store.gather(store.ensure(TEXTS[:4])).hidden, expected)


def test_another_process_finds_what_was_written_meanwhile(
    make: Callable[..., ActivationCache], monkeypatch: pytest.MonkeyPatch
) -> None:
    late = make()
    numbers = late.register(TEXTS)
    late.gather(numbers[:1])
    expected = fill(make(), TEXTS).gather(numbers)
    forbid_computing(monkeypatch)
    assert torch.equal(late.gather(numbers).hidden, expected.hidden)


def test_values_may_stay_on_the_device(
    make: Callable[..., ActivationCache], monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = make()
    numbers = plain.ensure(TEXTS)
    asked = [*numbers[3:9], numbers[3], *numbers[5:20]]
    expected = plain.gather(asked).hidden
    size = sum(plain.lengths(torch.tensor(numbers[3:9]))) * 16 * 4
    for bound, kept in ((0, 0), (size - 1, 0), (size, 6), (10**9, 17)):
        store = make()
        store._resident_left = bound
        store.gather(store.ensure(TEXTS)[3:9])
        for _ in range(2):
            assert torch.equal(store.gather(asked).hidden, expected)
        assert len(store._resident) == kept
    monkeypatch.setattr(store, "_value", lambda number: pytest.fail("was resident"))
    assert torch.equal(store.gather(asked).hidden, expected)


@pytest.mark.parametrize(
    "change",
    [
        {"layer": 1},
        {"dtype": torch.bfloat16},
        {"max_tokens": 31},
        {"encoder": {"prefix": "query: "}},
        {"encoder": {"fingerprint": "other weights"}},
    ],
)
def test_content_addressing(
    make: Callable[..., ActivationCache], tmp_path: Path, change: dict[str, Any]
) -> None:
    fill(make(), TEXTS[:5])
    if "encoder" in change:
        change = {"encoder": replace(make().encoder, **change["encoder"])}
    other = fill(make(**change), TEXTS[:5])
    assert other.stats.computed_texts == 5
    assert len({path.parent for path in files(tmp_path / "cache")}) == 2
    assert other.gather([0]).hidden.dtype == change.get("dtype", torch.float32)


@pytest.mark.parametrize("name", ["CODE_VERSION", "TILE_TOKENS"])
def test_what_values_depend_on_is_in_the_key(
    make: Callable[..., ActivationCache], monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    fill(make(), [Text("a b")])
    parts = fill(make(), [Text("a", "b"), Text("a"), Text("b"), Text("a b", cuttable=None)])
    assert parts.stats.computed_texts == 4
    monkeypatch.setattr(trunk_module, name, getattr(trunk_module, name) + 1)
    assert fill(make(), [Text("a b")]).stats.computed_texts == 1


@pytest.mark.parametrize(
    "damage",
    ["data byte", "header byte", "truncated", "emptied", "other dtype", "no checksum", "list", "gone"],
)
def test_a_damaged_entry_is_rebuilt_and_logged(make: Callable[..., ActivationCache], damage: str) -> None:
    store = fill(make(), TEXTS)
    expected = store.gather(store.ensure(TEXTS)).hidden.clone()
    path = files(store.folder)[1]
    data = bytearray(path.read_bytes())
    held = len(load_file(path)["keys"])
    again = make(log=(lines := []).append)
    again.register(TEXTS)
    if damage == "data byte":
        data[-5] ^= 16
    elif damage == "header byte":
        data[20] ^= 255
    elif damage == "truncated":
        data = data[: len(data) // 2]
    elif damage == "emptied":
        data = bytearray()
    elif damage == "other dtype":
        data = data.replace(b'"F32"', b'"I32"')
    elif damage == "list":
        data = data.replace(b'"head":"', b'"head":"1')
    elif damage == "no checksum":
        tensors = load_file(path)
        path.unlink()
        save_file(tensors, path)
        data = bytearray(path.read_bytes())
    assert damage in ("no checksum", "gone") or data != path.read_bytes()
    path.unlink()  # its pages may still be mapped
    if damage != "gone":
        path.write_bytes(data)
    assert torch.equal(fill(again, TEXTS).gather(again.ensure(TEXTS)).hidden, expected)
    assert again.stats.computed_texts == held
    assert len(lines) == (damage != "gone")
    assert all(path.name in line and "damaged" in line for line in lines)
    lines.clear()
    healed = fill(make(log=lines.append), TEXTS)
    assert (healed.stats.computed_texts, lines) == (0, [])


def test_values_do_not_depend_on_what_was_cached_before(
    make: Callable[..., ActivationCache], tmp_path: Path
) -> None:
    """The same calls give the same bytes, with an empty folder, a full one, and one filled otherwise."""
    calls = [TEXTS[:20], TEXTS[10:]]

    def values(folder: Path) -> torch.Tensor:
        store = make(folder=folder, dtype=torch.bfloat16)
        for texts in calls:
            fill(store, texts)
        return store.gather(store.ensure(TEXTS)).hidden

    cold = values(tmp_path / "a")
    assert torch.equal(values(tmp_path / "a"), cold)
    for size in (3, 7, 50):
        fill(make(folder=tmp_path / "b", dtype=torch.bfloat16), TEXTS[:size])
    assert torch.equal(values(tmp_path / "b"), cold)
    files(tmp_path / "a")[0].unlink()
    assert torch.equal(values(tmp_path / "a"), cold)


def test_eviction_takes_the_least_recently_used_and_never_its_own(
    make: Callable[..., ActivationCache], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The bound is for the folders of all encoders, layers and so on together."""
    monkeypatch.setattr(trunk_module, "WRITE_BYTES", 10**6)
    old, used, own = TEXTS[:16], TEXTS[16:32], TEXTS[32:]
    fill(make(layer=1), old)
    fill(make(), used)
    paths = files(tmp_path / "cache")
    for path in paths:
        os.utime(path, (time.time() - 1000, time.time() - 1000))
    fill(make(), used)  # read, so used recently
    make()._cache("")  # looked into, not used
    (old_path,) = [p for p in paths if p.stat().st_mtime < time.time() - 500]
    (used_path,) = set(paths) - {old_path}
    own_path = files(fill(make(folder=tmp_path / "own"), own).folder)[0]
    bound = used_path.stat().st_size + own_path.stat().st_size
    fill(make(limit_bytes=bound + old_path.stat().st_size), own)
    assert len(files(tmp_path / "cache")) == 3  # just within the bound: nothing goes
    (tmp_path / "cache" / own_path.relative_to(tmp_path / "own")).unlink()
    fill(make(limit_bytes=bound), own)
    assert {p.name for p in files(tmp_path / "cache")} == {own_path.name, used_path.name}

    tight = fill(make(limit_bytes=1), own)
    expected = tight.gather(tight.ensure(own)).hidden.clone()
    fill(tight, [Text("one more file")])
    left = {p.name for p in files(tmp_path / "cache")}
    assert len(left) == 2 and own_path.name in left  # its own two stay although they exceed the bound
    assert torch.equal(tight.gather(tight.ensure(own)).hidden, expected)
    assert fill(make(), own).stats.computed_texts == 0


def test_an_evicted_file_stays_readable_for_who_has_it(make: Callable[..., ActivationCache]) -> None:
    store = fill(make(), TEXTS)
    numbers = store.ensure(TEXTS)
    expected = store.gather(numbers).hidden.clone()
    for path in files(store.folder):
        path.unlink()
    assert torch.equal(store.gather(numbers).hidden, expected)


def test_leftovers_of_killed_processes_go(make: Callable[..., ActivationCache], tmp_path: Path) -> None:
    (tmp_path / "cache" / "inner").mkdir(parents=True)
    names = (f".{n}.safetensors.{os.getpid()}.tmp" for n in (1, 2))
    stale, fresh = (tmp_path / "cache" / "inner" / name for name in names)
    for path in (stale, fresh):
        path.write_bytes(b"half a chunk")
    os.utime(stale, (0, 0))
    fill(make(), TEXTS[:3])
    assert not stale.exists()
    assert fresh.exists()  # a living process may be writing it


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)), "the disk is full"),
        (
            chunks_module.SafetensorError("I/O error: No space left on device (os error 28)"),
            "the disk is full",
        ),
        (OSError(errno.EACCES, "Permission denied"), "Permission denied"),
    ],
)
def test_a_full_disk_is_one_clear_line(
    make: Callable[..., ActivationCache], monkeypatch: pytest.MonkeyPatch, error: Exception, reason: str
) -> None:
    def failing(tensors: Any, path: Path, metadata: Any) -> None:
        path.write_bytes(b"half")
        raise error

    monkeypatch.setattr(chunks_module, "save_file", failing)
    store = make()
    with pytest.raises(UserError, match=f"cannot write the trunk cache: .*{reason}.*METAXCR_CACHE") as caught:
        store.ensure(TEXTS)
    assert str(store.folder) in str(caught.value)
    assert not [
        path for path in store.folder.rglob("*") if path.is_file()
    ]  # the half-written file is not left to fill the disk
    monkeypatch.undo()
    make().ensure(TEXTS)


def test_a_folder_that_cannot_be_made_is_one_clear_line(
    make: Callable[..., ActivationCache], tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(UserError, match="cannot write the trunk cache"):
        fill(make(folder=tmp_path / "file" / "cache"), TEXTS)


FILL = """
import sys, time, zlib, torch
from pathlib import Path
from transformers import BertConfig, BertModel
from metaxcr.encoders import activation_cache as trunk
from metaxcr.encoders.encoder import Text, TokenizedText
from metaxcr.encoders.loading import wrap
folder, start = Path(sys.argv[1]), Path(sys.argv[2])
torch.set_num_threads(1)
torch.manual_seed(0)
trunk.TILE_TOKENS, trunk.WRITE_BYTES, trunk.TILES_AT_ONCE = 32, 1000, 4
def words(texts, limit):
    rows = [[2 + zlib.crc32(w.encode()) % 60 for w in t.first.split()] for t in texts]
    return [TokenizedText(r, [0] * len(r), len(r)) for r in rows]
sizes = dict(hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=16)
model = BertModel(BertConfig(vocab_size=64, **sizes), add_pooling_layer=False)
lines = []
store = trunk.ActivationCache(wrap("t", model, words, prefix="", fingerprint="t"), 2, torch.float32, folder,
                         limit_bytes=int(sys.argv[3]), log=lines.append)
(folder.parent / f"ready{sys.argv[4]}").touch()
while not start.exists():
    time.sleep(0.001)
texts = [Text(f"sentence {n} " + "word " * (n % 9)) for n in range(800)]
for begin in range(0, 800, 100):
    hidden = store.gather(store.register(texts[begin : begin + 100])).hidden
hidden = store.gather(store.ensure(texts)).hidden
store.flush(0)
print(zlib.crc32(hidden.numpy().tobytes()), store.stats.texts, lines)
"""


@pytest.mark.slow
@pytest.mark.parametrize("limit", [10**9, 10_000])  # with the small bound each evicts what the other writes
def test_two_processes_fill_one_folder_at_the_same_time(tmp_path: Path, limit: int) -> None:
    folder, start = tmp_path / "cache", tmp_path / "start"
    command = [sys.executable, "-c", FILL, str(folder), str(start), str(limit)]
    processes = [
        subprocess.Popen([*command, str(n)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for n in range(2)
    ]
    deadline = time.time() + 120
    while not all((tmp_path / f"ready{n}").exists() for n in range(2)) and time.time() < deadline:
        time.sleep(0.01)
    start.touch()
    outputs = [process.communicate(timeout=120) for process in processes]
    assert [process.returncode for process in processes] == [0, 0], outputs
    assert outputs[0][0] == outputs[1][0]
    assert outputs[0][0].endswith(" 800 []\n")
    assert not list(folder.rglob(".*"))
    if limit == 10**9:  # together they hold all texts, some of them twice
        held = {bytes(key) for path in files(folder) for key in load_file(path)["keys"].tolist()}
        assert len(held) == 800


def test_long_texts_are_cut_and_counted(make: Callable[..., ActivationCache]) -> None:
    store = make(max_tokens=8)
    store.ensure([Text("known")])
    for _ in range(2):
        numbers = store.ensure([Text("word " * 20), Text("word " * 7), Text("short")])  # 21, 8 and 2 tokens
        assert store.lengths(torch.tensor(numbers)) == [8, 8, 2]
        assert store.stats.cut_texts == 1
        store.flush(0)
        store = make(max_tokens=8)  # once more, from disk
        store.ensure([Text("known")])


def test_gather_and_by_length(make: Callable[..., ActivationCache]) -> None:
    store = make()
    texts = [Text("one two three"), Text("one"), Text("one two"), Text("six")]
    numbers = torch.tensor(store.ensure(texts))
    ordered = store.by_length(numbers)
    assert sorted(ordered.tolist()) == sorted(numbers.tolist())
    assert store.lengths(ordered) == [2, 2, 3, 4]
    ragged = store.gather(ordered.tolist())
    assert ragged.lengths.tolist() == [2, 2, 3, 4]
    alone = store.gather([int(ordered[2])])
    assert torch.equal(ragged.hidden[4:7], alone.hidden)


def test_progress_counts_tiles(make: Callable[..., ActivationCache]) -> None:
    seen: list[tuple[int, int]] = []
    store = make()
    store.ensure(TEXTS, lambda done, total: seen.append((done, total)))
    total = seen[0][1]
    assert total > 4
    assert seen == [(n + 1, total) for n in range(total)]
    store.ensure(TEXTS, lambda done, total: pytest.fail("nothing is computed"))


class Words:
    """The toy encoder's tokenizer with a fingerprint, so that its results are cached."""

    fingerprint = "words"

    def __init__(self, plain: Tokenizer) -> None:
        self.plain, self.counted = plain, 0

    def __call__(self, texts: Sequence[Text], max_tokens: int) -> list[TokenizedText]:
        self.counted += len(texts) if max_tokens > 10**6 else 0
        return self.plain(texts, max_tokens)


def test_lengths_are_cached_beside_the_trunk(make: Callable[..., ActivationCache], tmp_path: Path) -> None:
    """Another layer computes its activations again, but counts no tokens."""
    plain = make().encoder
    encoder = replace(plain, tokenizer=Words(plain.tokenizer))
    for layer in (1, 2):
        store = make(encoder=encoder, layer=layer)
        values = store.gather(store.ensure(TEXTS)).hidden
    assert encoder.tokenizer.counted == len(TEXTS)
    assert len(files(tmp_path / "tokens")) == 1
    uncached = make(folder=tmp_path / "elsewhere" / "cache")
    assert torch.equal(uncached.gather(uncached.ensure(TEXTS)).hidden, values)
    assert not (tmp_path / "elsewhere" / "tokens").exists()


def test_a_store_in_memory_touches_no_file(
    make: Callable[..., ActivationCache], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    plain = make().encoder
    store = make(encoder=replace(plain, tokenizer=Words(plain.tokenizer)), folder=Path())
    values = fill(store, TEXTS).gather(store.ensure(TEXTS)).hidden
    assert store.stats.computed_texts == 50
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]
    cached = fill(make(), TEXTS)
    assert torch.equal(cached.gather(cached.ensure(TEXTS)).hidden, values)


def language_adapter(encoder: FrozenEncoder, seed: int) -> LanguageAdapter:
    adapter = LanguageAdapter.create(encoder, torch.Generator().manual_seed(seed)).requires_grad_(False)
    for n, parameter in enumerate(adapter.parameters()):
        torch.nn.init.normal_(parameter, std=0.5, generator=torch.Generator().manual_seed(100 * seed + n))
    return adapter


@pytest.mark.parametrize("layer", [0, 1, 2, 3])
def test_language_adapters_act_in_the_trunk(make: Callable[..., ActivationCache], layer: int) -> None:
    encoder = make().encoder
    languages = {"sw": language_adapter(encoder, 1), "it": language_adapter(encoder, 2)}
    embedded = encoder.embed(encoder.tokenize(TEXTS, 32))
    for warm in (False, True):
        store = make(layer=layer, languages=languages)
        numbers = {name: store.ensure(TEXTS, language=name) for name in ("sw", "it", "es", "")}
        assert numbers["es"] == numbers[""]
        assert not set(numbers["sw"]) & set(numbers["it"])
        store.flush(0)
        assert store.stats.computed_texts == (0 if warm else 3 * len(TEXTS))
        assert torch.allclose(
            store.gather(numbers["es"]).hidden,
            encoder.run(embedded, 0, layer, torch.float32),
            atol=1e-5,
        )
        for name, adapter in languages.items():
            context = encoder.context(embedded.lengths)
            hidden = adapter.trunk(encoder, embedded.hidden, context, torch.float32, layer)
            assert torch.allclose(store.gather(numbers[name]).hidden, hidden, atol=1e-5)


def test_a_language_adapters_values_do_not_depend_on_their_neighbours(
    make: Callable[..., ActivationCache],
) -> None:
    store = make(folder=Path(), languages={"sw": language_adapter(make().encoder, 1)})
    expected = store.gather(store.ensure(TEXTS, language="sw")).hidden
    alone = make(folder=Path(), languages={"sw": language_adapter(make().encoder, 1)})
    each = [alone.gather(alone.register([text], language="sw")).hidden for text in TEXTS]
    assert torch.equal(torch.cat(each), expected)


def test_the_cache_key_knows_the_language_adapters_weights(make: Callable[..., ActivationCache]) -> None:
    store = fill(make(), TEXTS)
    adapter = language_adapter(store.encoder, 1)
    above = LanguageAdapter.create(
        store.encoder, torch.Generator(), layers=[2], invertible_reduction=None
    )  # nothing of it is in the trunk of two layers
    with_languages = fill(make(languages={"sw": adapter, "it": above}), TEXTS, language="it")
    assert with_languages.stats.computed_texts == 0
    fill(with_languages, TEXTS, language="sw")
    assert with_languages.stats.computed_texts == len(TEXTS)
    changed = language_adapter(store.encoder, 1)
    changed.by_layer[1].up.bias.data[0] += 1
    other = fill(make(languages={"sw": changed}), TEXTS, language="sw")
    assert other.stats.computed_texts == len(TEXTS)
    assert len({path.parent for path in files(store.folder)}) == 3
