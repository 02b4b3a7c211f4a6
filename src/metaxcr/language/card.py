"""The card of a language adapter: what it is, what it was trained on, and what it changed."""

from typing import TYPE_CHECKING, Any

from metaxcr.parse import dump_yaml

if TYPE_CHECKING:
    from metaxcr.language.work import Request


def card(request: "Request", result: dict[str, Any]) -> str:
    """Return the text of an adapter's README.md.

    Args:
        request: What was trained on what.
        result: From :func:`metaxcr.language.result.training_result`.
    """
    language, settings, sizes = request.language, request.settings, result["sizes"]
    head = {
        "license": "other",
        "language": [language],
        "library_name": "metaxcr",
        "tags": ["metaxcr", "adapters", "masked-language-modelling"],
    }
    layers = settings.layers if isinstance(settings.layers, str) else ", ".join(map(str, settings.layers))
    invertible = "with an invertible part on the embeddings" if settings.invertible else "no invertible part"
    parts = [
        "---\n" + dump_yaml(head) + "---",
        f"# Language adapter: {language}",
        f"For the frozen encoder `{result['encoder']}` (layers: {layers}; reduction {settings.reduction:g}; "
        f"{invertible}; {result['parameters']:,} parameters), trained by masked-language modelling of whole "
        "words.",
        "Use it in a configuration:",
        f"```yaml\nadapters:\n  language: {{{language}: DIR}}\n```",
        f"Made by:\n\n```sh\n{request.command}\n```",
        "## Text",
        _table(
            ("text", "lines", "licence", "citation"),
            [(s["name"], s["lines"], s["licence"], s["citation"]) for s in request.sources],
        ),
        f"{sizes['train']['lines']} lines ({sizes['train']['tokens']:,} tokens) were trained on, "
        f"{sizes['stop']['lines']} decided when to stop, and {sizes['test']['lines']} decided nothing: the "
        f"losses are theirs ({result['targets']:,} masked tokens, fixed masks, seed {result['seed']}).",
        "## Held-out loss",
        _table(
            ("", "loss, nats a token", "perplexity", "best step"),
            [
                (r["what"], f"{r['loss']:.3f}", f"{r['perplexity']:.1f}", r.get("best_step", ""))
                for r in result["losses"]
            ],
        ),
        _gain(result),
        f"The decoder knows the {result['vocabulary']:,} tokens of this text, so these losses are comparable "
        "among themselves only.",
    ]
    return "\n\n".join(parts) + "\n"


def _gain(result: dict[str, Any]) -> str:
    gain = result["gain"]
    p = f"= {gain['p']:.2g}" if gain["p"] >= 1e-4 else "< 0.0001"
    return (
        f"The adapter's own gain over {gain['over']}: {gain['mean']:.3f} nats "
        f"[{gain['low']:.3f}, {gain['high']:.3f}] (95 %, paired over held-out sequences, p {p})."
    )


def _table(heads: tuple[str, ...], rows: list[tuple[Any, ...]]) -> str:
    lines = [heads, ("---",) * len(heads), *rows]
    return "\n".join("| " + " | ".join(map(str, line)) + " |" for line in lines)
