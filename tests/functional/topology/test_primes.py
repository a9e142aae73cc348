"""Factors of whole numbers, small, large, and with equal large ones."""

from __future__ import annotations

import math
import random

import pytest

from thermo_callbacks.functional.topology.primes import is_prime, prime_factors
from thermo_callbacks.functional.topology.shell import divisors


def test_divisors_of_all_small_numbers():
    for number in range(1, 1500):
        assert sorted(divisors(number)) == [each for each in range(1, number + 1) if number % each == 0]


@pytest.mark.parametrize("number", [1_000_003**2, 1_000_003**3, 1_031**2, 1_021 * 1_031, (10**9 + 7) * (10**9 + 9)])
def test_products_of_large_primes(number):
    factors = prime_factors(number)
    assert math.prod(factors) == number
    assert len(factors) > 1
    assert all(map(is_prime, factors))


def test_factors_of_numbers_at_random_are_prime_and_their_product_is_the_number():
    generator = random.Random(0)
    for number in (generator.randrange(1, 10**15) for _ in range(100)):
        factors = prime_factors(number)
        assert math.prod(factors) == number
        assert all(map(is_prime, factors))


@pytest.mark.parametrize("number", [561, 41_041, 3_215_031_751, 3_825_123_056_546_413_051])
def test_numbers_that_pass_for_prime_elsewhere(number):
    assert not is_prime(number)
