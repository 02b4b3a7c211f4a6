from metaxcr.seeding import derive, rng


def test_streams_depend_on_every_argument():
    seeds = {derive(0, "shots"), derive(1, "shots"), derive(0, "episode"), derive(0, "shots", 1)}
    assert len(seeds) == 4
    assert all(0 <= seed < 2**63 for seed in seeds)


def test_seeds_are_the_same_everywhere():
    # a changed value would silently change every recorded result
    assert derive(0, "shots") == 2182998058246079128
    assert (
        rng(3, "episode", 5).integers(0, 2**31, 3).tolist()
        == rng(3, "episode", 5).integers(0, 2**31, 3).tolist()
    )
