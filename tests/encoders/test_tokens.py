"""The embedded tokenizer's tokens, and the cache of lengths: one tokenisation, limits, damaged files."""

import errno
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, models, pre_tokenizers, processors

from metaxcr.encoders import embedded
from metaxcr.encoders import tensor_cache as chunks_module
from metaxcr.encoders import tokens as tokens_module
from metaxcr.encoders.encoder import FrozenEncoder, Text, TokenizedText, WordTokenizer, truncate
from metaxcr.encoders.tokens import HashTokenizer, HubTokenizer, TokenCounter
from metaxcr.errors import UserError

SCRIPTS = [
    "",
    " ",
    "The man lost his keys.",
    "ไม่มีเว้นวรรคในภาษาไทย",
    "அவன் சாவியை இழந்தான்.",
    "سقط الكوب على الأرض",
    "水烧开了。",
    "emoji 😀👍🏽 \u200d",
    "▁literal ▁▁ blanks  and\u00a0others\t",
    "<s> </s> <unk>",
    "ﬁne Ｆ ½ e\u0301 ﷺ",
    "\x00\x01 𐍈 \ue000",
]
TEXTS = [Text(s) for s in SCRIPTS]
TEXTS += [Text(a, b) for a in SCRIPTS[:5] for b in SCRIPTS[::3]]
TEXTS += [Text("keys and more keys", "water", cuttable=1), Text("water", cuttable=None)]

characters = st.one_of(
    st.characters(exclude_categories=["Cs"]),
    st.sampled_from("  ▁กขไม้ிழஅ水😀👍🏽\u200d\u0301éﬁ</s>"),
    st.characters(min_codepoint=32, max_codepoint=126),
)
sentences = st.text(characters, max_size=40)
anything = st.lists(
    st.builds(Text, sentences, st.none() | sentences, cuttable=st.sampled_from([0, 0, 1, None])),
    max_size=12,
)
relaxed = settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


class Before:
    """The embedded tokenizer as it was first written: whole texts into the model, one token at a time."""

    def __init__(self, file: embedded.ModelFile) -> None:
        self.normalise = embedded.EmbeddedTokenizer(file.vocabulary).normalise
        self.fast = Tokenizer(models.Unigram(file.vocabulary.pieces, unk_id=3, byte_fallback=False))
        self.fast.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="always", split=False)
        self.fast.post_processor = processors.TemplateProcessing(
            single="<s> $A </s>", pair="<s> $A </s> </s> $B </s>", special_tokens=[("<s>", 0), ("</s>", 2)]
        )

    def __call__(self, texts: Sequence[Text], max_tokens: int) -> list[TokenizedText]:
        batch = [
            self.normalise(t.first)
            if t.second is None
            else (self.normalise(t.first), self.normalise(t.second))
            for t in texts
        ]
        return [
            cut_before(t, e.ids, [0] * len(e.ids), e.sequence_ids, max_tokens)
            for t, e in zip(texts, self.fast.encode_batch(batch), strict=True)
        ]


def cut_before(text: Text, ids: Any, segments: Any, parts: Any, max_tokens: int) -> TokenizedText:
    surplus = len(ids) - max_tokens
    if surplus <= 0:
        return TokenizedText(list(ids), list(segments), len(ids))
    ends = [i for i in reversed(range(len(ids))) if parts[i] is not None and parts[i] == text.cuttable]
    if surplus > len(ends):
        choice = text.second if text.cuttable == 0 and text.second is not None else text.first
        raise UserError(
            f"a choice does not fit into {max_tokens} tokens",
            f"{choice[:60]!r}",
            "raise encoder.max_tokens; a context may be cut, a choice never is",
        )
    dropped = set(ends[:surplus])
    kept = [i for i in range(len(ids)) if i not in dropped]
    return TokenizedText([ids[i] for i in kept], [segments[i] for i in kept], len(ids))


def outcome(tokenize: Any, texts: Sequence[Text], limit: int) -> list[Any]:
    """Text by text: the tokens, or the error in words."""
    found: list[Any] = []
    for text in texts:
        try:
            found += tokenize([text], limit)
        except UserError as error:
            found.append(str(error))
    return found


def files(folder: Path) -> list[Path]:
    return sorted(folder.glob("*.safetensors"))


@pytest.fixture(scope="module")
def before(embedded_encoder: FrozenEncoder) -> FrozenEncoder:
    """The embedded encoder with the tokenizer as it was."""
    file = embedded.parse(embedded.read_verified(embedded.locate()))
    return replace(embedded_encoder, tokenizer=Before(file))


class Counting:
    """A tokenizer of words that counts the texts it is asked for."""

    def __init__(self, fingerprint: str = "words") -> None:
        self.fingerprint, self.asked = fingerprint, 0

    def __call__(self, texts: Sequence[Text], max_tokens: int) -> list[TokenizedText]:
        self.asked += len(texts)
        tokenized = []
        for text in texts:
            words = [text.first.split(), (text.second or "").split()]
            ids = [0, *(sum(map(ord, w)) for part in words for w in part), 1]
            parts = [None, *([0] * len(words[0])), *([1] * len(words[1])), None]
            tokenized.append(truncate(text, ids, [0] * len(ids), parts, max_tokens))
        return tokenized


@pytest.fixture
def counting(toy_encoder: FrozenEncoder, monkeypatch: pytest.MonkeyPatch) -> FrozenEncoder:
    """An encoder with a counting tokenizer; a few texts make several chunks."""
    monkeypatch.setattr(tokens_module, "CHUNK_TEXTS", 16)
    return replace(toy_encoder, tokenizer=Counting())


def full_lengths(encoder: FrozenEncoder, texts: Sequence[Text]) -> list[int]:
    return [t.full_length for t in encoder.tokenizer(encoder.prefixed(texts), 2**31)]


MANY = [Text(f"sentence {n} with" + " some more words" * (n % 4)) for n in range(40)]


# --- the same tokens


def test_the_embedded_tokenizer_gives_what_it_gave(
    embedded_encoder: FrozenEncoder, before: FrozenEncoder
) -> None:
    for limit in (8, 12, 512):
        assert outcome(embedded_encoder.tokenize, TEXTS, limit) == outcome(before.tokenize, TEXTS, limit)


@given(texts=anything, limit=st.sampled_from([6, 10, 16, 128]))
@relaxed
def test_any_text_gives_what_it_gave(
    texts: list[Text], limit: int, embedded_encoder: FrozenEncoder, before: FrozenEncoder, tmp_path: Path
) -> None:
    expected = outcome(before.tokenize, texts, limit)
    assert outcome(embedded_encoder.tokenize, texts, limit) == expected
    for _ in range(2):  # computed, then read
        assert TokenCounter(embedded_encoder, tmp_path).lengths(texts).tolist() == full_lengths(before, texts)


def test_why_words_may_be_segmented_alone(wheel: Path) -> None:
    """What makes the tokens of words those of the whole text; see the tokenizer."""
    pieces = embedded.parse(embedded.read_verified(embedded.locate())).vocabulary.pieces
    assert not any("▁" in piece[1:] for piece, _ in pieces)
    assert "▁" in {piece for piece, _ in pieces}
    scaled = np.ldexp([score for _, score in pieces], 23)
    assert (scaled == np.round(scaled)).all()


@pytest.mark.real
@pytest.mark.slow
def test_real_texts_give_what_they_gave(
    embedded_encoder: FrozenEncoder, before: FrozenEncoder, data_root: Path
) -> None:
    texts = [Text(s) for path in sorted(data_root.glob("xcopa/**/test.*.jsonl")) for s in copa(path)]
    path = next(data_root.glob("socialiqa/**/train.jsonl"))
    for line in path.read_text(encoding="utf-8").splitlines()[:3000]:
        row = json.loads(line)
        texts += [Text(row["context"]), Text(row["context"], row["answerA"])]
    assert len(texts) > 6000
    for some, limit in ((texts, 128), ([t for t in texts if t.second is None], 12)):
        expected = before.tokenize(some, limit)
        assert embedded_encoder.tokenize(some, limit) == expected


def copa(path: Path) -> list[str]:
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    return [row[name] for row in rows for name in ("premise", "choice1", "choice2")]


def test_lengths_of_hub_tokenizers(family: Any, tmp_path: Path) -> None:
    mixed = [Text("water"), Text("the man", "his keys"), Text("water"), Text("keys " * 20, "late"), Text("")]
    for _ in range(2):
        store = TokenCounter(family.encoder, tmp_path)
        assert store.lengths(mixed).tolist() == full_lengths(family.encoder, mixed)
    assert len(files(tmp_path)) == 1


# --- one tokenisation


def test_the_second_store_computes_nothing(counting: FrozenEncoder, tmp_path: Path) -> None:
    first = TokenCounter(counting, tmp_path)
    expected = first.lengths(MANY)
    assert (first.computed_chunks, first.read_chunks, counting.tokenizer.asked) == (3, 0, 40)
    second = TokenCounter(counting, tmp_path)
    assert second.lengths(MANY).tolist() == expected.tolist()
    assert second.lengths(MANY).dtype == np.int64
    assert (second.computed_chunks, second.read_chunks, counting.tokenizer.asked) == (0, 6, 40)
    assert expected.tolist() == full_lengths(counting, MANY)


def test_repetitions_and_what_may_be_cut_make_no_difference(counting: FrozenEncoder, tmp_path: Path) -> None:
    store = TokenCounter(counting, tmp_path)
    assert store.lengths([*MANY[:10], *MANY[:10]]).tolist() == 2 * store.lengths(MANY[:10]).tolist()
    store.lengths([t._replace(cuttable=None) for t in MANY[:10]])
    assert (counting.tokenizer.asked, store.read_chunks) == (10, 2)


def test_no_texts(counting: FrozenEncoder, tmp_path: Path) -> None:
    assert TokenCounter(counting, tmp_path).lengths([]).tolist() == []
    assert not files(tmp_path)


def test_sizes_are_those_of_the_cut_texts(counting: FrozenEncoder, tmp_path: Path) -> None:
    for store in (TokenCounter(counting, tmp_path), TokenCounter(counting, None)):
        for limit in (8, 32):
            tokenized = counting.tokenize(MANY, limit)
            sizes, cut = store.sizes(MANY, limit)
            assert sizes == [len(t.ids) for t in tokenized]
            assert cut == sum(t.full_length > limit for t in tokenized)
        with pytest.raises(UserError, match="a choice does not fit into 8 tokens"):
            store.sizes([Text("word " * 9, cuttable=None)], 8)
        with pytest.raises(UserError, match="positions"):
            store.sizes(MANY, 10**6)


def test_content_addressing(counting: FrozenEncoder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def count(encoder: FrozenEncoder, texts: Sequence[Text]) -> int:
        TokenCounter(encoder, tmp_path).lengths(texts)
        return len(files(tmp_path))

    assert count(counting, [Text("a b")]) == 1
    assert count(replace(counting, fingerprint="other weights"), [Text("a b")]) == 1
    assert count(counting, [Text("a", "b")]) == 2
    assert count(counting, [Text("a", "")]) == 3
    assert count(counting, [Text("a"), Text("b")]) == 4
    assert count(replace(counting, prefix="query: "), [Text("a b")]) == 5
    assert count(replace(counting, tokenizer=Counting("other vocabulary")), [Text("a b")]) == 6
    monkeypatch.setattr(tokens_module, "CODE_VERSION", tokens_module.CODE_VERSION + 1)
    assert count(counting, [Text("a b")]) == 7
    monkeypatch.setattr(tokens_module.tokenizers, "__version__", "0")
    assert count(counting, [Text("a b")]) == 8


def test_a_tokenizer_without_a_fingerprint_is_called_each_time(
    toy_encoder: FrozenEncoder, tmp_path: Path
) -> None:
    assert not hasattr(toy_encoder.tokenizer, "fingerprint")
    store = TokenCounter(toy_encoder, tmp_path / "none")
    assert store.lengths(MANY).tolist() == full_lengths(toy_encoder, MANY)
    assert store.lengths([Text("word " * 90, cuttable=None)]).tolist() == [91]
    assert not (tmp_path / "none").exists()


def test_without_a_folder_nothing_is_written(
    counting: FrozenEncoder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert TokenCounter(counting, None).lengths(MANY).tolist() == full_lengths(counting, MANY)
    assert not list(tmp_path.iterdir())


def test_fingerprints_are_of_the_tokenizer(family: Any, bert: Any) -> None:
    one, again = HubTokenizer(family.tokenizer), HubTokenizer(family.tokenizer)
    assert one.fingerprint == again.fingerprint
    family.tokenizer(["water", "late"], truncation=True, max_length=4, padding=True)
    assert HubTokenizer(family.tokenizer).fingerprint == one.fingerprint  # a call's settings are no content
    other = Tokenizer.from_str(bert.tokenizer.backend_tokenizer.to_str().replace('"water"', '"fire"'))
    swapped = HubTokenizer(type(bert.tokenizer)(tokenizer_object=other))
    assert swapped.fingerprint != HubTokenizer(bert.tokenizer).fingerprint


# --- limits


def test_limits_are_those_of_the_encoder(counting: FrozenEncoder, tmp_path: Path) -> None:
    prefixed = replace(counting, prefix="query: ")
    store = TokenCounter(prefixed, tmp_path)
    long = "word " * 30
    choices = [
        Text(long, cuttable=None),
        Text("a", long),
        Text(long, "b", cuttable=1),
        Text(long, cuttable=1),
    ]
    for text in choices:
        wanted = outcome(prefixed.tokenize, [text], 12)
        assert "a choice does not fit into 12 tokens" in wanted[0]
        assert outcome(store.sizes, [text], 12) == wanted
    with pytest.raises(UserError, match=r"max_tokens 65 .* 64 positions"):
        store.sizes([Text("a")], 65)


# --- files that misbehave


@pytest.mark.parametrize("damage", ["byte", "half", "empty", "fewer texts", "no lengths"])
def test_a_damaged_chunk_is_computed_again(counting: FrozenEncoder, tmp_path: Path, damage: str) -> None:
    expected = TokenCounter(counting, tmp_path).lengths(MANY).tolist()
    path = files(tmp_path)[0]
    data = bytearray(path.read_bytes())
    chunk = chunks_module.ChunkFolder("token", tmp_path, 10**9).read(path)
    assert chunk is not None
    tensors = {name: tensor.clone() for name, tensor in chunk.tensors.items()}
    path.unlink()
    if damage == "byte":
        data[-5] ^= 16
    if damage in ("byte", "half", "empty"):
        path.write_bytes({"byte": data, "half": data[: len(data) // 2], "empty": b""}[damage])
    else:
        if damage == "no lengths":
            del tensors["lengths"]
        else:
            tensors["lengths"] = tensors["lengths"][:-1]
        chunks_module.ChunkFolder("token", tmp_path, 10**9).write(path, tensors, {})
    lines: list[str] = []
    again = TokenCounter(counting, tmp_path, log=lines.append)
    assert again.lengths(MANY).tolist() == expected
    assert (again.computed_chunks, again.read_chunks) == (1, 2)
    assert len(lines) == 1
    assert "token cache" in lines[0]
    assert path.name in lines[0]
    assert TokenCounter(counting, tmp_path, log=lines.append).lengths(MANY).tolist() == expected
    assert len(lines) == 1


def test_the_folder_is_bounded(counting: FrozenEncoder, tmp_path: Path) -> None:
    TokenCounter(counting, tmp_path).lengths(MANY[:16])
    TokenCounter(counting, tmp_path).lengths(MANY[16:32])
    paths = files(tmp_path)
    for path in paths:
        os.utime(path, (time.time() - 1000,) * 2)
    TokenCounter(counting, tmp_path).lengths(MANY[:16])  # read, so used recently
    (old,) = [p for p in paths if p.stat().st_mtime < time.time() - 500]
    bound = sum(p.stat().st_size for p in paths) + 100
    TokenCounter(counting, tmp_path, limit_bytes=bound).lengths([Text("one more")])
    assert len(files(tmp_path)) == 2
    assert not old.exists()
    tight = TokenCounter(counting, tmp_path, limit_bytes=0)
    tight.lengths(MANY)  # its own chunks stay although they exceed the bound
    assert len(files(tmp_path)) == 3
    tight.lengths([Text("another")])
    assert len(files(tmp_path)) == 4
    TokenCounter(counting, tmp_path, limit_bytes=0).lengths([Text("new")])
    assert len(files(tmp_path)) == 1


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)), "the disk is full"),
        (OSError(errno.EACCES, "Permission denied"), "Permission denied"),
    ],
)
def test_a_failed_write_is_one_clear_line(
    counting: FrozenEncoder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception, reason: str
) -> None:
    def failing(tensors: Any, path: Path, metadata: Any) -> None:
        path.write_bytes(b"half")
        raise error

    monkeypatch.setattr(chunks_module, "save_file", failing)
    with pytest.raises(UserError, match=f"cannot write the token cache: .*{reason}.*METAXCR_CACHE") as caught:
        TokenCounter(counting, tmp_path / "tokens").lengths(MANY)
    assert "\n" not in str(caught.value)
    assert not list((tmp_path / "tokens").iterdir())


@pytest.mark.parametrize("limit", [10**9, 1])
def test_threads_write_one_folder_at_the_same_time(
    counting: FrozenEncoder, tmp_path: Path, limit: int
) -> None:
    many = [Text(f"word {n}") for n in range(1600)]
    expected = full_lengths(counting, many)
    start, results, lines = threading.Barrier(3), [], []

    def fill() -> None:
        start.wait()
        store = TokenCounter(counting, tmp_path, limit_bytes=limit, log=lines.append)
        results.append(store.lengths(many).tolist())

    threads = [threading.Thread(target=fill) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == [expected] * 3
    assert lines == []
    assert not list(tmp_path.glob(".*"))
    assert len(files(tmp_path)) == 100 or limit == 1


# --- both cores

THREADS = """
import subprocess, sys, warnings
from pathlib import Path
from metaxcr.encoders import embedded
from metaxcr.encoders.encoder import Text
tokenizer = embedded.EmbeddedTokenizer(embedded.parse(embedded.read_verified(embedded.locate())).vocabulary)
def threads():
    return len(list(Path("/proc/self/task").iterdir()))
before = threads()
tokenizer([Text(f"sentence {n}") for n in range(500)], 32)
subprocess.run(["true"], check=True)
print(threads() - before)
"""


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="threads are counted as on Linux")
def test_tokenising_uses_all_cores_and_starting_a_process_warns_of_nothing(wheel: Path) -> None:
    environment = {k: v for k, v in os.environ.items() if k != "TOKENIZERS_PARALLELISM"}
    command = [sys.executable, "-c", THREADS]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=True)
    assert int(done.stdout) >= len(os.sched_getaffinity(0)) or len(os.sched_getaffinity(0)) == 1
    assert "fork" not in done.stderr


def test_pieces() -> None:
    tokenizer = HashTokenizer(2048, True)
    whole = tokenizer([Text("Wednesday, sun", "sun")], 64)[0]
    assert whole.segments == [*[0] * 7, 1, 1]  # [CLS] Wedn esda y , sun [SEP] sun [SEP]
    assert whole.ids[5] == whole.ids[7]
    assert all(8 <= whole.ids[i] < 2048 for i in (1, 2, 3, 4, 5, 7))
    assert isinstance(tokenizer, WordTokenizer)
    worded = tokenizer.words([Text("Wednesday, sun")])[0]
    assert worded.ids == whole.ids[:7]
    assert worded.words == [None, 0, 0, 0, 1, 2, None]
    assert len(tokenizer([Text("word " * 90, "kept")], 32)[0].ids) == 32


def test_hub_tokenizer_keeps_the_order_of_mixed_texts(family: Any) -> None:
    tokenizer = HubTokenizer(family.tokenizer)
    mixed = [Text("water"), Text("water", "boils"), Text("late"), Text("late", "dark")]
    alone = [tokenizer([text], 32)[0] for text in mixed]
    assert tokenizer(mixed, 32) == alone
    assert len({tuple(t.ids) for t in alone}) == 4


def test_hub_tokenizer_never_exceeds_the_limit(family: Any) -> None:
    tokenizer = HubTokenizer(family.tokenizer)
    long = "water " * 50
    for text in (Text(long), Text(long, "boils"), Text("boils", long, cuttable=1)):
        cut = tokenizer([text], 16)[0]
        assert len(cut.ids) == len(cut.segments) == 16
        assert cut.full_length > 50
        assert cut.ids[-1] == tokenizer([Text("a")], 16)[0].ids[-1]  # the closing token stays


def test_words_and_the_mask_token(family: Any) -> None:
    tokenizer = family.encoder.tokenizer
    assert isinstance(tokenizer, WordTokenizer)
    text = Text("the man lost his keys")
    worded = tokenizer.words([text])[0]
    assert worded.ids == tokenizer([text], 40)[0].ids
    own = [word for word in worded.words if word is not None]
    assert own == list(range(5)) and worded.words[0] is None and worded.words[-1] is None
    assert tokenizer.mask_id == family.tokenizer.mask_token_id
