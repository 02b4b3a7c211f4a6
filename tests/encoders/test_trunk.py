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

from metaxcr.adapters.language import LanguageAdapter
from metaxcr.encoders import chunks as chunks_module
from metaxcr.encoders import trunk as trunk_module
from metaxcr.encoders.base import FrozenEncoder, Text, TokenizedText, Tokenizer, WholeText
from metaxcr.encoders.trunk import TrunkStore
from metaxcr.errors import UserError

TEXTS = [Text(f"sentence {n} with" + " some more words" * (n % 4)) for n in range(40)]
TEXTS += [Text(f"first part {n}", "second part") for n in range(10)]


@pytest.fixture(autouse=True)
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Several chunks, and several forward passes a chunk, from a few texts."""
    monkeypatch.setattr(trunk_module, "CHUNK_TEXTS", 16)
    monkeypatch.setattr(trunk_module, "FORWARD_TOKENS", 50)


@pytest.fixture
def make(toy_encoder: FrozenEncoder, tmp_path: Path) -> Callable[..., TrunkStore]:
    """Build a store over the toy encoder with some settings changed."""

    def build(**changes: Any) -> TrunkStore:
        settings = {"encoder": toy_encoder, "layer": 2, "dtype": torch.float32, "max_tokens": 32}
        settings |= {"folder": tmp_path / "cache"} | changes
        return TrunkStore(**settings)

    return build


def files(folder: Path) -> list[Path]:
    return sorted(folder.glob("*.safetensors"))


def forbid_computing(monkeypatch: pytest.MonkeyPatch) -> None:
    def compute(*args: Any) -> None:
        raise AssertionError("computed although it is on disk")

    monkeypatch.setattr(FrozenEncoder, "embed", compute)


@pytest.mark.parametrize("layer", [0, 1, 2, 3])
def test_equal_with_and_without_the_cache(make: Callable[..., TrunkStore], layer: int) -> None:
    store = make(layer=layer)
    numbers = store.ensure(TEXTS)
    for _ in range(2):
        ragged = store.gather(numbers)
        tokenized = store.encoder.tokenize(TEXTS, 32)
        assert ragged.lengths.tolist() == [len(t.ids) for t in tokenized]
        plain = store.encoder.run(store.encoder.embed(tokenized), 0, layer, torch.float32)
        assert torch.allclose(ragged.hidden, plain, atol=1e-5)
        store = make(layer=layer)  # once more, from disk
        numbers = store.ensure(TEXTS)
        assert store.stats.computed_chunks == 0


def test_the_upper_layers_continue_where_the_trunk_ended(make: Callable[..., TrunkStore]) -> None:
    store = make()
    encoder = store.encoder
    ragged = store.gather(store.ensure(TEXTS))
    whole = encoder.run(encoder.embed(encoder.tokenize(TEXTS, 32)), 0, 3, torch.float32)
    assert torch.allclose(encoder.run(ragged, 2, 3, torch.float32), whole, atol=1e-5)


def test_the_second_store_reads_and_computes_nothing(
    make: Callable[..., TrunkStore], monkeypatch: pytest.MonkeyPatch
) -> None:
    first = make()
    expected = first.gather(first.ensure(TEXTS)).hidden
    assert first.stats.computed_chunks == 4
    assert first.stats.computed_tokens == first.stats.tokens == len(expected)
    forbid_computing(monkeypatch)
    second = make()
    assert torch.equal(second.gather(second.ensure(TEXTS)).hidden, expected)
    stats = second.stats
    assert (stats.computed_chunks, stats.computed_tokens, stats.cold_seconds) == (0, 0, 0.0)
    assert (stats.texts, stats.tokens, stats.bytes) == (50, len(expected), expected.nbytes)
    assert stats.warm_seconds > 0


def test_known_texts_cost_nothing_within_a_store(
    make: Callable[..., TrunkStore], monkeypatch: pytest.MonkeyPatch
) -> None:
    store = make()
    numbers = store.ensure(TEXTS)
    forbid_computing(monkeypatch)
    assert store.ensure([TEXTS[7], TEXTS[3], TEXTS[7]]) == [numbers[7], numbers[3], numbers[7]]
    assert store.stats.texts == 50


def test_order_and_repetition_do_not_matter(make: Callable[..., TrunkStore], tmp_path: Path) -> None:
    shuffled = TEXTS * 2
    random.Random(0).shuffle(shuffled)
    one, other = make(), make(folder=tmp_path / "other")
    a = one.gather(one.ensure(TEXTS)).hidden
    other.ensure(shuffled)
    b = other.gather(other.ensure(TEXTS)).hidden
    assert torch.equal(a, b)
    assert [p.name for p in files(tmp_path / "cache")] == [p.name for p in files(tmp_path / "other")]


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
def test_content_addressing(make: Callable[..., TrunkStore], tmp_path: Path, change: dict[str, Any]) -> None:
    make().ensure(TEXTS[:5])
    if "encoder" in change:
        change = {"encoder": replace(make().encoder, **change["encoder"])}
    other = make(**change)
    other.ensure(TEXTS[:5])
    assert other.stats.computed_chunks == 1
    assert len(files(tmp_path / "cache")) == 2
    assert other.gather([0]).hidden.dtype == change.get("dtype", torch.float32)


def test_code_version_and_texts_are_in_the_key(
    make: Callable[..., TrunkStore], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    make().ensure([Text("a b")])
    make().ensure([Text("a", "b")])
    make().ensure([Text("a"), Text("b")])
    assert len(files(tmp_path / "cache")) == 3
    monkeypatch.setattr(trunk_module, "CODE_VERSION", trunk_module.CODE_VERSION + 1)
    make().ensure([Text("a b")])
    assert len(files(tmp_path / "cache")) == 4


@pytest.mark.parametrize(
    "damage", ["data byte", "header byte", "truncated", "emptied", "other dtype", "no checksum", "no count"]
)
def test_a_damaged_entry_is_rebuilt_and_logged(make: Callable[..., TrunkStore], damage: str) -> None:
    store = make()
    expected = store.gather(store.ensure(TEXTS)).hidden.clone()
    path = files(store.folder)[1]
    data = bytearray(path.read_bytes())
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
    elif damage == "no count":
        data = data.replace(b'"cut":"0"', b'"cut":"x"')
    elif damage == "no checksum":
        tensors = load_file(path)
        path.unlink()
        save_file(tensors, path)
        data = bytearray(path.read_bytes())
    assert data != path.read_bytes() or damage == "no checksum"
    path.unlink()  # its pages may still be mapped
    path.write_bytes(data)
    lines: list[str] = []
    again = make(log=lines.append)
    assert torch.equal(again.gather(again.ensure(TEXTS)).hidden, expected)
    assert again.stats.computed_chunks == 1
    assert len(lines) == 1
    assert path.name in lines[0]
    assert "damaged" in lines[0]
    healed = make(log=lines.append)
    healed.ensure(TEXTS)
    assert (healed.stats.computed_chunks, len(lines)) == (0, 1)


def test_values_do_not_depend_on_what_was_cached_before(
    make: Callable[..., TrunkStore], tmp_path: Path
) -> None:
    """The same calls give the same bytes, with an empty folder, a full one, and one filled otherwise."""
    calls = [TEXTS[:20], TEXTS[10:]]

    def values(folder: Path) -> torch.Tensor:
        store = make(folder=folder, dtype=torch.bfloat16)
        for texts in calls:
            store.ensure(texts)
        return store.gather(store.ensure(TEXTS)).hidden

    cold = values(tmp_path / "a")
    assert torch.equal(values(tmp_path / "a"), cold)
    for size in (3, 7, 50):
        make(folder=tmp_path / "b", dtype=torch.bfloat16).ensure(TEXTS[:size])
    assert torch.equal(values(tmp_path / "b"), cold)
    files(tmp_path / "a")[0].unlink()
    assert torch.equal(values(tmp_path / "a"), cold)


def test_eviction_takes_the_least_recently_used_and_never_its_own(
    make: Callable[..., TrunkStore], tmp_path: Path
) -> None:
    old, used, own = TEXTS[:16], TEXTS[16:32], TEXTS[32:]
    make().ensure(old)
    make().ensure(used)
    paths = files(tmp_path / "cache")
    for path in paths:
        os.utime(path, (time.time() - 1000, time.time() - 1000))
    make().ensure(used)  # read, so used recently
    (old_path,) = [p for p in paths if p.stat().st_mtime < time.time() - 500]
    (used_path,) = set(paths) - {old_path}
    make(folder=tmp_path / "own").ensure(own)
    own_names = {p.name for p in files(tmp_path / "own")}
    bound = used_path.stat().st_size + sum(p.stat().st_size for p in files(tmp_path / "own"))
    make(limit_bytes=bound + old_path.stat().st_size).ensure(own)
    assert len(files(tmp_path / "cache")) == 4  # just within the bound: nothing goes
    for name in own_names:
        (tmp_path / "cache" / name).unlink()
    make(limit_bytes=bound).ensure(own)
    assert {p.name for p in files(tmp_path / "cache")} == own_names | {used_path.name}

    tight = make(limit_bytes=1)
    expected = tight.gather(tight.ensure(own)).hidden.clone()
    tight.ensure([Text("one more chunk")])
    assert (
        len(files(tmp_path / "cache")) == 3
    )  # `used` is gone, its own three stay although they exceed the bound
    assert torch.equal(tight.gather(tight.ensure(own)).hidden, expected)
    again = make()
    again.ensure(own)
    assert again.stats.computed_chunks == 0


def test_an_evicted_chunk_stays_readable_for_who_has_it(make: Callable[..., TrunkStore]) -> None:
    store = make()
    numbers = store.ensure(TEXTS)
    expected = store.gather(numbers).hidden.clone()
    for path in files(store.folder):
        path.unlink()
    assert torch.equal(store.gather(numbers).hidden, expected)


def test_leftovers_of_killed_processes_go(make: Callable[..., TrunkStore], tmp_path: Path) -> None:
    (tmp_path / "cache").mkdir()
    stale, fresh = (tmp_path / "cache" / f".{n}.safetensors.{n}.tmp" for n in (1, 2))
    for path in (stale, fresh):
        path.write_bytes(b"half a chunk")
    os.utime(stale, (0, 0))
    make().ensure(TEXTS[:3])
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
    make: Callable[..., TrunkStore], monkeypatch: pytest.MonkeyPatch, error: Exception, reason: str
) -> None:
    def failing(tensors: Any, path: Path, metadata: Any) -> None:
        path.write_bytes(b"half")
        raise error

    monkeypatch.setattr(chunks_module, "save_file", failing)
    store = make()
    with pytest.raises(UserError, match=f"cannot write the trunk cache: .*{reason}.*METAXCR_CACHE") as caught:
        store.ensure(TEXTS)
    assert str(store.folder) in str(caught.value)
    assert not list(store.folder.iterdir())  # the half-written file is not left to fill the disk
    monkeypatch.undo()
    make().ensure(TEXTS)


def test_a_folder_that_cannot_be_made_is_one_clear_line(
    make: Callable[..., TrunkStore], tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(UserError, match="cannot write the trunk cache"):
        make(folder=tmp_path / "file" / "cache").ensure(TEXTS)


FILL = """
import sys, time, zlib, torch
from pathlib import Path
from transformers import BertConfig, BertModel
from metaxcr.encoders import trunk
from metaxcr.encoders.base import Text, TokenizedText
from metaxcr.encoders.load import wrap
folder, start = Path(sys.argv[1]), Path(sys.argv[2])
torch.set_num_threads(1)
torch.manual_seed(0)
trunk.CHUNK_TEXTS = 8
def words(texts, limit):
    rows = [[2 + zlib.crc32(w.encode()) % 60 for w in t.first.split()] for t in texts]
    return [TokenizedText(r, [0] * len(r), len(r)) for r in rows]
sizes = dict(hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=16)
model = BertModel(BertConfig(vocab_size=64, **sizes), add_pooling_layer=False)
lines = []
store = trunk.TrunkStore(wrap("t", model, words, prefix="", fingerprint="t"), 2, torch.float32, folder,
                         limit_bytes=int(sys.argv[3]), log=lines.append)
(folder.parent / f"ready{sys.argv[4]}").touch()
while not start.exists():
    time.sleep(0.001)
texts = [Text(f"sentence {n} " + "word " * (n % 9)) for n in range(800)]
hidden = store.gather(store.ensure(texts)).hidden
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
    assert not list(folder.glob(".*"))
    if limit == 10**9:
        assert len(files(folder)) == 100


def test_long_texts_are_cut_and_counted(make: Callable[..., TrunkStore]) -> None:
    store = make(max_tokens=8)
    store.ensure([Text("known")])
    for _ in range(2):
        numbers = store.ensure([Text("word " * 20), Text("word " * 7), Text("short")])  # 21, 8 and 2 tokens
        assert store.lengths(torch.tensor(numbers)) == [8, 8, 2]
        assert store.stats.cut_texts == 1
        store = make(max_tokens=8)  # once more, from disk
        store.ensure([Text("known")])


def test_gather_and_by_length(make: Callable[..., TrunkStore]) -> None:
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


def test_progress_counts_chunks(make: Callable[..., TrunkStore]) -> None:
    seen: list[tuple[int, int]] = []
    make().ensure(TEXTS, lambda done, total: seen.append((done, total)))
    assert seen == [(1, 4), (2, 4), (3, 4), (4, 4)]


class Words:
    """The toy encoder's tokenizer with a fingerprint, so that its ids may be cached."""

    fingerprint = "words"

    def __init__(self, plain: Tokenizer) -> None:
        self.plain, self.asked = plain, 0

    def __call__(self, texts: Sequence[Text], max_tokens: int) -> list[TokenizedText]:
        return self.plain(texts, max_tokens)

    def whole(self, texts: Sequence[Text]) -> list[WholeText]:
        self.asked += len(texts)
        return [WholeText(t.ids, t.segments, [0] * len(t.ids)) for t in self.plain(texts, 10**6)]


def test_token_ids_are_cached_beside_the_trunk(make: Callable[..., TrunkStore], tmp_path: Path) -> None:
    """Another layer computes its activations anew, from the same ids."""
    plain = make().encoder
    encoder = replace(plain, tokenizer=Words(plain.tokenizer))
    for layer in (1, 2):
        store = make(encoder=encoder, layer=layer)
        values = store.gather(store.ensure(TEXTS)).hidden
    assert encoder.tokenizer.asked == len(TEXTS)
    assert len(files(tmp_path / "tokens")) == 4
    uncached = make(folder=tmp_path / "elsewhere" / "cache")
    assert torch.equal(uncached.gather(uncached.ensure(TEXTS)).hidden, values)
    assert not (tmp_path / "elsewhere" / "tokens").exists()
    names = {path.name for path in files(uncached.folder)}
    assert names < {path.name for path in files(tmp_path / "cache")}


def test_a_store_in_memory_caches_no_token_ids(
    make: Callable[..., TrunkStore], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    plain = make().encoder
    store = make(encoder=replace(plain, tokenizer=Words(plain.tokenizer)), folder=Path())
    monkeypatch.setattr(store, "_write", lambda *chunk: None)  # as the API's own store does
    store.ensure(TEXTS)
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


def language_adapter(encoder: FrozenEncoder, seed: int) -> LanguageAdapter:
    adapter = LanguageAdapter.create(encoder, torch.Generator().manual_seed(seed)).requires_grad_(False)
    for n, parameter in enumerate(adapter.parameters()):
        torch.nn.init.normal_(parameter, std=0.5, generator=torch.Generator().manual_seed(100 * seed + n))
    return adapter


@pytest.mark.parametrize("layer", [0, 1, 2, 3])
def test_language_adapters_act_in_the_trunk(make: Callable[..., TrunkStore], layer: int) -> None:
    encoder = make().encoder
    languages = {"sw": language_adapter(encoder, 1), "it": language_adapter(encoder, 2)}
    embedded = encoder.embed(encoder.tokenize(TEXTS, 32))
    for warm in (False, True):
        store = make(layer=layer, languages=languages)
        numbers = {name: store.ensure(TEXTS, language=name) for name in ("sw", "it", "es", "")}
        assert numbers["es"] == numbers[""]
        assert not set(numbers["sw"]) & set(numbers["it"])
        assert (store.stats.computed_chunks == 0) == warm
        assert torch.allclose(
            store.gather(numbers["es"]).hidden,
            encoder.run(embedded, 0, layer, torch.float32),
            atol=1e-5,
        )
        for name, adapter in languages.items():
            hidden = adapter(encoder, embedded, torch.float32, layer)
            assert torch.allclose(store.gather(numbers[name]).hidden, hidden, atol=1e-5)


def test_the_cache_key_knows_the_language_adapters_weights_and_is_unchanged_without(
    make: Callable[..., TrunkStore],
) -> None:
    store = make()
    store.ensure(TEXTS)
    plain = set(files(store.folder))
    adapter = language_adapter(store.encoder, 1)
    above = LanguageAdapter.create(
        store.encoder, torch.Generator(), layers=[2], invertible_reduction=None
    )  # nothing of it is in the trunk of two layers
    with_languages = make(languages={"sw": adapter, "it": above})
    with_languages.ensure(TEXTS, language="it")
    assert with_languages.stats.computed_chunks == 0
    with_languages.ensure(TEXTS, language="sw")
    assert with_languages.stats.computed_chunks == len(plain)
    changed = language_adapter(store.encoder, 1)
    changed.at(1).up.bias.data[0] += 1
    other = make(languages={"sw": changed})
    other.ensure(TEXTS, language="sw")
    assert other.stats.computed_chunks == len(plain)
    assert len(files(store.folder)) == 3 * len(plain)
