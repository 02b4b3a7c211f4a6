"""The parameter account: what is trained, and its share of the encoder."""

from metaxcr.encoders.base import FrozenEncoder


def parameter_account(trained: int, encoder: FrozenEncoder) -> dict[str, float]:
    """Share of trained parameters, with and without the encoder's embeddings in the denominator.

    Args:
        trained: Number of parameters trained in a stage.
        encoder: The frozen encoder.
    """
    body = encoder.parameters - encoder.embedding_parameters
    return {
        "trained": trained,
        "encoder": encoder.parameters,
        "share": round(trained / encoder.parameters, 6),
        "share_without_embeddings": round(trained / body, 6),
    }
