"""Figures of trimming: rows, parameters, size on disk, load time and memory, before and after.

python docs/results/encoders/trim_figures.py FOLDER   (a new folder for the encoders; about 3 GB)

The embedded encoder is real. XLM-R base and multilingual BERT have their published shapes and random weights.
XLM-R has its own vocabulary, which the embedded encoder shares; BERT's is trained here, to BERT's size at the
most, on the text at hand, so how many of its rows stay says little.
"""

import json
import subprocess
import sys
from pathlib import Path

import torch
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors, trainers
from transformers import AutoConfig, AutoModel, PreTrainedTokenizerFast

from metaxcr.encoders import embedded
from metaxcr.encoders.prune_vocab import collect_texts, trim_encoder
from metaxcr.encoders.shapes import known_encoder

TASKS = ["xcopa", "xcopa_en", "copa"]
LOAD = """
import json, os, sys, time
from metaxcr.encoders import Text, load_encoder
def resident():
    return int(open("/proc/self/statm").read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
before, begun = resident(), time.perf_counter()
encoder = load_encoder(sys.argv[1])
encoder.tokenize([Text("hello")], 16)
print(json.dumps({"rows": encoder.vocabulary, "parameters": encoder.parameters,
                  "load_seconds": round(time.perf_counter() - begun, 2),
                  "resident_mb": round((resident() - before) / 1e6)}))
"""


def main(folder: Path) -> None:
    """Build, trim, load in processes of their own, print one JSON line each."""
    folder.mkdir(parents=True)
    texts = [text for group in collect_texts(TASKS, []) for text in group.texts]
    names = {"embedded": "embedded", "xlm-roberta-base": str(folder / "xlmr"), "mbert": str(folder / "mbert")}
    _xlmr(folder / "xlmr")
    _mbert(folder / "mbert", texts)
    for label, name in names.items():
        small = folder / f"{label}-small"
        trim_encoder(name, texts, small)
        for state, place in (("whole", name), ("trimmed", str(small))):
            print(json.dumps({"encoder": label, "state": state, **_loaded(place)}), flush=True)


def _loaded(name: str) -> dict[str, float]:
    """Load three times; the fastest, because other work only slows down."""
    done = [
        json.loads(subprocess.run([sys.executable, "-c", LOAD, name], capture_output=True, check=True).stdout)
        for _ in range(3)
    ]
    place = Path(name) if Path(name).is_dir() else embedded.locate()
    files = place.iterdir() if place.is_dir() else [place]
    size = round(sum(file.stat().st_size for file in files) / 1e6, 1)
    return min(done, key=lambda found: found["load_seconds"]) | {"disk_mb": size}


def _random(name: str, out: Path) -> None:
    torch.manual_seed(0)
    AutoModel.from_config(AutoConfig.for_model(**known_encoder(name).config)).save_pretrained(out)


def _xlmr(out: Path) -> None:
    _random("xlm-roberta-base", out)
    file = embedded.parse(embedded.read_verified(embedded.locate()))
    backend = Tokenizer(models.Unigram(file.vocabulary.pieces, unk_id=3, byte_fallback=False))
    backend.normalizer = normalizers.NFKC()
    backend.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="always", split=True)
    special = [("<s>", 0), ("</s>", 2)]
    backend.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", pair="<s> $A </s> </s> $B </s>", special_tokens=special
    )
    names = {"pad": "<pad>", "unk": "<unk>", "cls": "<s>", "sep": "</s>", "mask": "<mask>"}
    _save(backend, names, out)


def _mbert(out: Path, texts: list[str]) -> None:
    _random("bert-base-multilingual-cased", out)
    backend = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    backend.normalizer = normalizers.BertNormalizer(lowercase=False)
    backend.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    names = {"pad": "[PAD]", "unk": "[UNK]", "cls": "[CLS]", "sep": "[SEP]", "mask": "[MASK]"}
    trainer = trainers.WordPieceTrainer(
        vocab_size=119547, special_tokens=list(names.values()), show_progress=False, min_frequency=1
    )
    every = [
        text
        for group in collect_texts([], ["en", "de", "fr", "ru", "ar", "ja", "ko", *LANGUAGES])
        for text in group.texts
    ]
    backend.train_from_iterator([*every, *texts], trainer)
    backend.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    _save(backend, names, out)


LANGUAGES = [
    "ar",
    "de",
    "en",
    "fr",
    "ja",
    "ko",
    "ru",
    "et",
    "ht",
    "id",
    "it",
    "qu",
    "sw",
    "ta",
    "th",
    "tr",
    "vi",
    "zh",
]


def _save(backend: Tokenizer, names: dict[str, str], out: Path) -> None:
    tokens = {f"{kind}_token": token for kind, token in names.items()}
    PreTrainedTokenizerFast(tokenizer_object=backend, **tokens).save_pretrained(out)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
