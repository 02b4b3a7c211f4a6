"""What ``docs/encoders.md`` tells a stranger to write works as it stands."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.encoders.conftest import SIZES
from transformers import AutoConfig, AutoModel

from metaxcr.encoders.encoder import Text
from metaxcr.encoders.families import family as registry
from metaxcr.encoders.families.family import families
from metaxcr.encoders.loading import load_encoder, wrap
from metaxcr.encoders.tokens import HubTokenizer
from metaxcr.errors import UserError

PAGE = Path(__file__).parents[3] / "docs" / "encoders.md"
TEXTS = [Text("the man lost his keys", "so he called a smith"), Text("water boils when heated"), Text("a")]


@pytest.fixture
def blocks(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """The page's Python; what it registers is forgotten afterwards."""
    monkeypatch.setattr(registry, "_FAMILIES", dict(registry._FAMILIES))
    yield re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)


def _electra(vocabulary: int, **settings: Any) -> Any:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        sizes = {"vocab_size": vocabulary, "embedding_size": 32, "max_position_embeddings": 40}
        model = AutoModel.from_config(AutoConfig.for_model("electra", **SIZES, **{**sizes, **settings}))
        for parameter in model.parameters():
            parameter.data.add_(torch.randn_like(parameter) * 0.1)
    return model.eval()


def test_the_family_and_its_check(blocks: list[str], bert: Any, padded_forward: Any, tmp_path: Path) -> None:
    assert "electra" not in families()
    family, check = blocks
    exec(compile(family, str(PAGE), "exec"), {})
    assert "electra" in families()
    model = _electra(bert.encoder.vocabulary)
    model.save_pretrained(tmp_path)
    bert.tokenizer.save_pretrained(tmp_path)
    names: dict[str, Any] = {}
    exec(compile(check.replace("path/to/electra", str(tmp_path)), str(PAGE), "exec"), names)
    encoder = load_encoder(str(tmp_path))
    tokenized = encoder.tokenize(TEXTS, 32)
    ours = encoder.run(encoder.embed(tokenized), 0, encoder.depth, torch.float32)
    assert torch.allclose(ours, padded_forward(model, tokenized), atol=1e-5)


def test_what_the_family_refuses(blocks: list[str], bert: Any) -> None:
    exec(compile(blocks[0], str(PAGE), "exec"), {})
    model = _electra(bert.encoder.vocabulary, embedding_size=16)
    with pytest.raises(UserError, match="has embeddings of another width than its layers"):
        wrap("x", model, HubTokenizer(bert.tokenizer), prefix="", fingerprint="")
