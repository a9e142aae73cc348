"""Prime factors of whole numbers."""

from __future__ import annotations

import itertools
import math

_TRIED = 1 << 10  # up to here by division
_BASES = (2, 3, 5, 7, 11, 13, 17, 19, 23, 29, 31, 37)


def prime_factors(number: int) -> list[int]:
    """Prime factors of a number, each as often as it divides it, in no order.

    Small ones are found by division, the others by Pollard's rho method in Brent's form, in a time that grows as the
    fourth root of the number at worst: milliseconds up to 1e15, a second up to 1e24.

    Args:
        number: A whole number of at least 1.

    Returns:
        The factors, whose product is the number.

    Example:
        >>> sorted(prime_factors(2**3 * 1_000_003 * 1_000_033))
        [2, 2, 2, 1000003, 1000033]
    """
    found: list[int] = []
    rest = number
    for divisor in itertools.chain((2,), range(3, _TRIED, 2)):
        if divisor * divisor > rest:
            return [*found, rest] if rest > 1 else found
        while rest % divisor == 0:
            found.append(divisor)
            rest //= divisor
    parts = [rest] if rest > 1 else []
    while parts:
        part = parts.pop()
        if is_prime(part):
            found.append(part)
        else:
            factor = _factor(part)
            parts += [factor, part // factor]
    return found


def is_prime(number: int) -> bool:
    """Whether a number is prime, by the test of Miller and Rabin: certain up to 3e24, beyond it all but certain.

    Returns:
        Whether it is.

    Example:
        >>> [number for number in range(30) if is_prime(number)]
        [2, 3, 5, 7, 11, 13, 17, 19, 23, 29]
    """
    if number < 2:
        return False
    if any(number % base == 0 for base in _BASES):
        return number in _BASES
    twos = ((number - 1) & (1 - number)).bit_length() - 1
    odd = (number - 1) >> twos
    return all(_passes(base, odd, twos, number) for base in _BASES)


def _passes(base: int, odd: int, twos: int, number: int) -> bool:
    power = pow(base, odd, number)
    if power in (1, number - 1):
        return True
    for _ in range(twos - 1):
        power = power * power % number
        if power == number - 1:
            return True
    return False


def _factor(number: int) -> int:
    """A factor of a number that is odd and not prime, neither 1 nor itself."""
    root = math.isqrt(number)
    if root * root == number:
        return root
    # a sequence that does not find one runs into both factors at once, and the next begins
    return next(factor for shift in itertools.count(1) if 1 < (factor := _cycle(number, shift)) < number)


def _cycle(number: int, shift: int) -> int:
    """The common divisor at which the sequence x -> x^2 + shift meets itself in one factor, at worst the number."""
    slow = fast = 2
    while True:
        before, product = (slow, fast), 1
        for _ in range(128):  # common divisors are dear: one for many differences
            slow = (slow * slow + shift) % number
            fast = (fast * fast + shift) % number
            fast = (fast * fast + shift) % number
            product = product * abs(slow - fast) % number
        if math.gcd(product, number) > 1:
            break
    slow, fast = before
    while True:
        slow = (slow * slow + shift) % number
        fast = (fast * fast + shift) % number
        fast = (fast * fast + shift) % number
        common = math.gcd(abs(slow - fast), number)
        if common > 1:
            return common
