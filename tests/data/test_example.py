import dataclasses

import pytest


def test_examples_are_values(make_example):
    assert make_example() == make_example() and len({make_example(), make_example()}) == 1
    with pytest.raises(dataclasses.FrozenInstanceError):
        make_example().label = 1
