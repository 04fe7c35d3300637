"""random_state: a stream of random numbers continues from fit to fit and from sample to sample."""

import numpy as np
import pytest

from helpers import BOTH, fit_either, three_tight_groups

GROUPS = three_tight_groups()


@pytest.mark.parametrize("kind", BOTH)
def test_a_generator_continues_its_stream(kind):
    model = fit_either(kind, GROUPS, random_state=np.random.default_rng(3))
    first, second = model.sample(5)[0], model.sample(5)[0]
    assert not np.isin(second, first).any()
    again = fit_either(kind, GROUPS, random_state=np.random.default_rng(3))
    assert again.means_.tobytes() == model.means_.tobytes()
    np.testing.assert_array_equal(again.sample(5)[0], first)
    np.testing.assert_array_equal(again.sample(5)[0], second)


@pytest.mark.parametrize("kind", BOTH)
@pytest.mark.parametrize("random_state", [np.random.default_rng, np.random.RandomState])
def test_every_fit_draws_a_start_of_its_own_from_a_stream(kind, random_state):
    model = kind(
        n_components=4, init_params="random_from_data", max_iter=0, random_state=random_state(1)
    )
    first = model.fit(GROUPS).means_
    assert (model.fit(GROUPS).means_ != first).any()
