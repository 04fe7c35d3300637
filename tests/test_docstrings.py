"""The examples in docstrings run, and the class documents what it has."""

import doctest
import re

import numpy as np

from fusedgmm import GaussianMixture, mixture


def test_examples_run():
    result = doctest.testmod(mixture)
    assert result.attempted > 0 and result.failed == 0


def test_every_parameter_and_attribute_is_documented():
    documented = set(re.findall(r"^    (\w+) : ", GaussianMixture.__doc__, re.MULTILINE))
    fitted = GaussianMixture().fit(np.random.default_rng(0).normal(size=(50, 2)))
    assert set(vars(fitted)) <= documented
    assert documented == set(vars(fitted)) | {"feature_names_in_"}
