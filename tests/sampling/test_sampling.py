from pathlib import Path
from typing import get_args

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from metaxcr.config.io import load_config, validate
from metaxcr.config.schema import SAMPLER_SETTINGS, SamplerSettings
from metaxcr.errors import UserError
from metaxcr.sampling import SAMPLERS, make_sampler
from metaxcr.sampling.fixed import Explore
from metaxcr.sampling.sampler import Feedback

KINDS = sorted(SAMPLERS)


def test_every_kind_that_can_be_configured_is_there() -> None:
    assert set(SAMPLERS) == set(get_args(SamplerSettings.model_fields["kind"].annotation))
    assert set(SAMPLERS) == set(SAMPLER_SETTINGS)


@pytest.mark.parametrize("kind", KINDS)
def test_every_sampler_starts_with_probabilities_of_its_sources(kind: str) -> None:
    sampler = make_sampler(SamplerSettings(kind=kind), [100, 200, 700])  # type: ignore[arg-type]
    p = sampler.probabilities(sampler.init(0))
    assert p.shape == (3,) and p.sum() == pytest.approx(1.0, abs=1e-12) and (p > 0).all()
    assert isinstance(sampler, Explore) == sampler.wants_reward


@pytest.mark.parametrize("every", [1, 3])
@pytest.mark.parametrize("of_all", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_every_sampler_resumes_to_the_byte(kind: str, of_all: bool, every: int, tmp_path: Path) -> None:
    sampler = make_sampler(SamplerSettings(kind=kind), [100, 200, 700])  # type: ignore[arg-type]
    states, drawn = [sampler.init(3)], np.random.default_rng(0)
    events = []
    for step in range(32):
        p = sampler.probabilities(states[-1])
        source = int(drawn.choice(3, p=p))
        rewards = {j: float(drawn.standard_normal()) for j in (range(3) if of_all else [source])}
        events.append(Feedback(source, p, rewards if step % every == 0 else {}, 0.9))
        states.append(sampler.update(states[-1], events[-1]))
    save_file(states[21], tmp_path / "state")
    state = {n: t.clone() for n, t in load_file(tmp_path / "state").items()}
    for event, expected in zip(events[21:], states[22:], strict=True):
        assert sampler.probabilities(state).tobytes() == event.probabilities.tobytes()
        state = sampler.update(state, event)
        assert state.keys() == expected.keys() and all(torch.equal(state[n], expected[n]) for n in state)


@pytest.mark.parametrize(
    ("kind", "setting"),
    [("uniform", "floor=0.5"), ("exp3", "hidden=3"), ("reinforce", "temperature=3"), ("multidds", "s_min=1")],
)
def test_a_setting_without_effect_is_refused(kind: str, setting: str) -> None:
    with pytest.raises(UserError, match=f"{setting.partition('=')[0]}' has no effect with kind '{kind}'"):
        load_config("starter", [f"sampler.kind={kind}", f"sampler.{setting}"])


@pytest.mark.parametrize("kind", KINDS)
def test_resolved_settings_can_be_read_back(kind: str) -> None:
    config = load_config("starter", [f"sampler.kind={kind}"])
    assert validate(config.model_dump(mode="json"), "here") == config
