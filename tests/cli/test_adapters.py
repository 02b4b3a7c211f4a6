"""``adapters``: list, import, export, train, align; what is wrong is one line."""

import json
from pathlib import Path

import pytest
from tests.mlm.conftest import ToyTokenizer, build_encoder, toy_lines

from metaxcr.cli import adapters, main
from metaxcr.data.corpora import corpus_spec
from metaxcr.encoders.encoder import FrozenEncoder

REFERENCE = Path(__file__).parents[1] / "adapters" / "reference" / "xlmr-madx"


def test_ls_prints_a_table_and_where_it_is_from(call):
    done = call("adapters", "ls", "--language", "sw")
    assert done.status == 0
    assert "AdapterHub/xlm-roberta-base-sw-wiki_pfeiffer" in done.out
    assert "Not downloaded by us" in done.err
    rows = json.loads(call("adapters", "ls", "--encoder", "xlm-roberta-large", "--json").out)
    assert {row["encoder"] for row in rows} == {"xlm-roberta-large"}


def test_import_and_export(call, tmp_path):
    done = call("adapters", "import", REFERENCE / "sw", "--out", tmp_path / "in", "--json")
    assert done.status == 0, done.err
    found = json.loads(done.out)
    assert (found["kind"], found["bottleneck"], found["invertible"]) == ("pfeiffer", 8, True)
    assert found["layers"] == [0, 1, 2]
    done = call("adapters", "export", tmp_path / "in", "--out", tmp_path / "out", "--name", "swahili")
    assert done.status == 0, done.err
    assert "name: swahili" in done.out
    assert (tmp_path / "out" / "pytorch_adapter.bin").is_file()


def test_a_wrong_adapter_is_one_clear_line(call, tmp_path):
    done = call(
        "adapters", "import", REFERENCE / "sw", "--out", tmp_path / "in", "--encoder", "xlm-roberta-base"
    )
    assert done.status == 2
    assert "width 16) does not fit xlm-roberta-base (width 768)" in done.line
    done = call("adapters", "import", tmp_path / "nothing.zip", "--out", tmp_path / "in")
    assert done.status == 2
    assert "there is no folder" in done.line


def test_the_adapters_of_a_run_can_be_exported(call, toy_run, tmp_path):
    done = call("adapters", "export", toy_run / "adapters" / "meta", "--out", tmp_path / "out", "--json")
    assert done.status == 0, done.err
    assert json.loads(done.out)["role"] == "task"


SMALL = [
    f"--set={setting}" for setting in ("length=32", "batch=4", "head_steps=2", "steps=2", "dtype=float32")
]


@pytest.fixture
def toy(monkeypatch: pytest.MonkeyPatch) -> FrozenEncoder:
    """The tiny encoder stands in for whatever ``--encoder`` names."""
    encoder = build_encoder()
    monkeypatch.setattr("metaxcr.encoders.loading.load_encoder", lambda *args, **named: encoder)
    monkeypatch.setattr("metaxcr.encoders.loading.load_mlm_head", lambda *args, **named: None)
    return encoder


@pytest.fixture
def text(tmp_path: Path) -> Path:
    path = tmp_path / "text.txt"
    path.write_text("\n".join(f"{line} w{n}" for n, line in enumerate(toy_lines(60))), encoding="utf-8")
    return path


def test_it_trains_and_says_what_changed(
    toy: FrozenEncoder, text: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "sw"
    words = ["adapters", "train", "--language", "swa", "--text", str(text), "--out", str(out), *SMALL]
    assert main([*words, "--quiet"]) == 0
    shown = capsys.readouterr()
    assert "head alone" in shown.out and "gain of the adapter" in shown.out and f"{{sw: {out}}}" in shown.out
    assert "'swa' is kept as 'sw'" in shown.err
    assert main(words) == 2 and "the folder exists" in capsys.readouterr().err
    assert main([*words, "--resume", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["language"] == "sw"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "the file is empty"),
        (b"one \xff\n", "not UTF-8"),
        ("one\n".encode("utf-16"), "UTF-16"),
        (b"one\n" * 5, "too little text"),
        (None, "there is no such file"),
    ],
)
def test_bad_texts(
    toy: FrozenEncoder,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    content: bytes | None,
    message: str,
) -> None:
    path = tmp_path / "bad.txt"
    if content is not None:
        path.write_bytes(content)
    assert (
        main(["adapters", "train", "--language", "sw", "--text", str(path), "--out", str(tmp_path / "o")])
        == 2
    )
    error = capsys.readouterr().err
    assert message in error and error.count("\n") == 1 and not (tmp_path / "o").exists()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--language", "klingonisch"], "is not a language code"),
        (["--language", "sw"], "no text to train on"),
        (["--language", "sw", "--corpus", "bli"], "is not a text to train on"),
        (["--language", "sw", "--corpus", "none"], "unknown corpus"),
        (["--language", "sw", "--text", "a", "--text", "a"], "'a' is named twice"),
        (["--language", "sw", "--set", "stepz=1"], "unknown setting 'stepz=1'"),
        (["--language", "sw", "--set", "steps=0"], "--set steps"),
        (["--language", "sw", "--set", "steps=[1"], "cannot read the value of"),
    ],
)
def test_bad_words(words: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["adapters", "train", *words]) == 2
    error = capsys.readouterr().err
    assert message in error and error.count("\n") == 1


def test_an_encoder_that_does_not_know_words(
    text: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    plain = build_encoder(tokenizer=ToyTokenizer().__call__)
    monkeypatch.setattr("metaxcr.encoders.loading.load_encoder", lambda *args, **named: plain)
    monkeypatch.setattr("metaxcr.encoders.loading.load_mlm_head", lambda *args, **named: None)
    words = ["adapters", "train", "--language", "sw", "--text", str(text), "--out", str(tmp_path / "o")]
    assert main(words) == 2 and "where words begin" in capsys.readouterr().err


def test_a_text_in_another_script_is_remarked_on(
    toy: FrozenEncoder, text: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = [
        "adapters",
        "train",
        "--language",
        "ru",
        "--text",
        str(text),
        "--out",
        str(tmp_path / "o"),
        *SMALL,
    ]
    assert main([*words, "--quiet"]) == 0 and "mostly in Latin letters" in capsys.readouterr().err


def test_settings_are_parsed_as_yaml() -> None:
    found = adapters.parse_settings(["layers=[1,2]", "invertible=false", "lr=1e-3"])
    assert found.layers == [1, 2] and found.invertible is False and found.lr == 1e-3


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "data" / "flores200" / "devtest"
    folder.mkdir(parents=True)
    lines = [f"word{n} other{n % 3}" for n in range(12)]
    for code in ("en", "sw", "qu"):
        text = lines if code != "qu" else [*lines[1:], lines[0]]
        (folder / f"{corpus_spec('flores200').languages[code]}.devtest").write_text(
            "\n".join(text), encoding="utf-8"
        )
    return tmp_path / "data"


@pytest.fixture
def align_toy(toy_encoder: FrozenEncoder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("metaxcr.encoders.loading.load_encoder", lambda *args, **named: toy_encoder)


@pytest.mark.usefixtures("align_toy")
def test_table_files_and_who_is_weak(root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["adapters", "align", "--languages", "sw,qu", "--data", str(root), "--quiet"]
    assert main([*words, "--out", str(tmp_path / "o")]) == 0
    shown = capsys.readouterr()
    assert "qu (encoder): too weak to transfer: only 0 %" in shown.out and "sw (encoder)" not in shown.out
    saved = json.loads((tmp_path / "o" / "alignment.json").read_text(encoding="utf-8"))
    assert (tmp_path / "o" / "alignment.png").exists() and len(saved["rows"]) == 8
    assert main([*words, "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == saved


@pytest.mark.usefixtures("align_toy")
@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--adapter", "sw"], "'sw' is no CODE=DIR"),
        (["--adapter", "sw=nowhere"], "nowhere"),
        (["--languages", "xx"], "no language 'xx'"),
        (["nowhere"], "nowhere"),
        (["run", "--encoder", "embedded"], "RUN brings its own"),
    ],
)
def test_bad_words_of_align(
    words: list[str], message: str, root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["adapters", "align", *words, "--data", str(root)]) == 2
    error = capsys.readouterr().err
    assert message in error and error.count("\n") == 1
