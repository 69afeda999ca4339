"""Integer programs: checksums, random generators, sieves and bit tricks, one word at a time.

They live in scalar loops over bytes and words: shifts, masks, wrap-around of unsigned arithmetic,
tables that are looked up, and loops whose length depends on the data.
"""

from __future__ import annotations

import numpy as np

from .program import Program

POLYNOMIAL = 0xEDB88320


def crc32(data):
    """CRC-32 of the bytes `data` [n] (uint8), bit by bit, with Python integers."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= int(byte)
        for _ in range(8):
            if crc & 1:
                crc = (crc >> 1) ^ POLYNOMIAL
            else:
                crc >>= 1
    return crc ^ 0xFFFFFFFF


def crc32_table(data):
    """The same checksum from a table [256] (uint32) that is built first."""
    table = np.zeros(256, dtype=np.uint32)
    for i in range(256):
        value = np.uint32(i)
        for _ in range(8):
            if value & np.uint32(1):
                value = np.uint32(POLYNOMIAL) ^ (value >> np.uint32(1))
            else:
                value = value >> np.uint32(1)
        table[i] = value
    crc = np.uint32(0xFFFFFFFF)
    for byte in data:
        crc = table[(crc ^ byte) & np.uint32(0xFF)] ^ (crc >> np.uint32(8))
    return crc ^ np.uint32(0xFFFFFFFF)


def adler32(data):
    """Adler-32 of `data` [n] (uint8)."""
    a, b = 1, 0
    for byte in data:
        a = (a + int(byte)) % 65521
        b = (b + a) % 65521
    return (b << 16) | a


def fnv1a(words):
    """The FNV-1a hash of each row of `words` [n, k] (uint8): all rows at once, wrapping uint64."""
    h = np.full(words.shape[0], 14695981039346656037, dtype=np.uint64)
    for k in range(words.shape[1]):
        h ^= words[:, k]
        h *= np.uint64(1099511628211)
    return h


def xorshift(seed, n):
    """`n` numbers in [0, 1) of the generator xorshift64* from the state `seed` (uint64)."""
    numbers = np.empty(n)
    x = seed
    for i in range(n):
        x ^= x >> np.uint64(12)
        x ^= x << np.uint64(25)
        x ^= x >> np.uint64(27)
        numbers[i] = ((x * np.uint64(2685821657736338717)) >> np.uint64(11)) * 2.0**-53
    return numbers


def popcounts(words):
    """How many bits are set in each of `words` [n] (uint32), all at once by halves."""
    x = words.copy()
    x -= (x >> 1) & 0x55555555
    x = (x & 0x33333333) + ((x >> 2) & 0x33333333)
    x = (x + (x >> 4)) & 0x0F0F0F0F
    return ((x * np.uint32(0x01010101)) >> 24).astype(np.uint8)


def hamming_pairs(words):
    """The Hamming distances of all pairs of `words` [n] (int64): as often as a bit can be
    cleared."""
    n = words.size
    apart = np.zeros((n, n), dtype=np.int64)
    for i in range(n):
        for j in range(i):
            different = words[i] ^ words[j]
            count = 0
            while different:
                different &= different - 1
                count += 1
            apart[i, j] = apart[j, i] = count
    return apart


def sieve(limit):
    """The primes below `limit`, by the sieve of Eratosthenes."""
    prime = np.ones(limit, dtype=np.bool_)
    prime[:2] = False
    for p in range(2, int(limit**0.5) + 1):
        if prime[p]:
            prime[p * p :: p] = False
    return np.nonzero(prime)[0]


def primes_by_division(numbers):
    """Which of `numbers` [n] are prime: divided by 2, 3, 5, 7, 9, ... until one fits."""
    prime = np.zeros(numbers.shape, dtype=bool)
    for k, number in enumerate(numbers):
        if number < 4:
            prime[k] = number > 1
            continue
        divisor = 2
        while divisor * divisor <= number:
            if number % divisor == 0:
                break
            divisor += 1 if divisor == 2 else 2
        else:
            prime[k] = True
    return prime


def collatz(limit):
    """The number below `limit` whose Collatz sequence is the longest, and all lengths [limit]."""
    lengths = np.zeros(limit, dtype=np.int32)
    for start in range(1, limit):
        n, steps = start, 0
        while n != 1:
            if n < start:
                steps += lengths[n]
                break
            n = n // 2 if n % 2 == 0 else 3 * n + 1
            steps += 1
        lengths[start] = steps
    return lengths.argmax(), lengths


def greatest_divisors(a, b):
    """Euclid's algorithm for all pairs of `a` [n] and `b` [n] at once, until none has a rest."""
    a, b = a.copy(), b.copy()
    while b.any():
        left = b != 0
        a[left], b[left] = b[left], a[left] % b[left]
    return a


def power_mod(base, exponent, modulus):
    """`base` to the `exponent` modulo `modulus`, by squaring."""
    result = 1
    base %= modulus
    while exponent > 0:
        if exponent & 1:
            result = result * base % modulus
        base = base * base % modulus
        exponent >>= 1
    return result


def fermat_test(candidates, witnesses):
    """Which of `candidates` [n] pass Fermat's test for all `witnesses` [k]."""
    probable = np.zeros(len(candidates), dtype=np.bool_)
    for i in range(len(candidates)):
        for w in witnesses:
            if power_mod(w, candidates[i] - 1, candidates[i]) != 1:
                break
        else:
            probable[i] = True
    return probable


def morton(x, y):
    """Z-order codes (uint32) of points with 16-bit coordinates `x`, `y` [n], and their order."""
    codes = np.zeros(x.shape, dtype=np.uint32)
    for shift, coordinate in enumerate((x, y)):
        c = coordinate.astype(np.uint32)
        c = (c | (c << 8)) & 0x00FF00FF
        c = (c | (c << 4)) & 0x0F0F0F0F
        c = (c | (c << 2)) & 0x33333333
        c = (c | (c << 1)) & 0x55555555
        codes |= c << shift
    return codes, np.argsort(codes, kind="stable")


# -- arguments -------------------------------------------------------------------------------------


def _bytes(rng, n):
    return (rng.integers(0, 256, n, dtype=np.uint8),)


def _byte_rows(rng, n, k):
    return (rng.integers(0, 256, (n, k), dtype=np.uint8),)


def _seed(rng, n):
    return np.uint64(88172645463325252), n


def _words(rng, n):
    return (rng.integers(0, 2**32, n, dtype=np.uint32),)


def _numbers(rng, n, limit):
    return (rng.integers(0, limit, n),)


def _long_words(rng, n):
    return (rng.integers(0, 2**62, n),)


def _limit(rng, n):
    return (n,)


def _pairs(rng, n):
    return rng.integers(1, 10**6, n), rng.integers(1, 10**6, n)


def _candidates(rng, n):
    return 2 * rng.integers(500, 10**6, n) + 1, np.array([2, 3, 5, 7])


def _points(rng, n):
    return rng.integers(0, 2**16, n), rng.integers(0, 2**16, n)


PROGRAMS = (
    Program("crc32", crc32, _bytes, {"test": {"n": 30}, "bench": {"n": 20_000}}, numba=True),
    Program(
        "crc32_table", crc32_table, _bytes, {"test": {"n": 30}, "bench": {"n": 50_000}}, numba=True
    ),
    Program("adler32", adler32, _bytes, {"test": {"n": 30}, "bench": {"n": 50_000}}, numba=True),
    Program(
        "fnv1a",
        fnv1a,
        _byte_rows,
        {"test": {"n": 7, "k": 5}, "bench": {"n": 150_000, "k": 32}},
        numba=True,
    ),
    Program("xorshift", xorshift, _seed, {"test": {"n": 20}, "bench": {"n": 50_000}}, numba=True),
    Program(
        "popcounts",
        popcounts,
        _words,
        {"test": {"n": 33}, "bench": {"n": 1_000_000}},
    ),
    Program(
        "hamming_pairs",
        hamming_pairs,
        _long_words,
        {"test": {"n": 6}, "bench": {"n": 90}},
        numba=True,
    ),
    Program("sieve", sieve, _limit, {"test": {"n": 100}, "bench": {"n": 3_000_000}}, numba=True),
    Program(
        "primes_by_division",
        primes_by_division,
        _numbers,
        {"test": {"n": 30, "limit": 50}, "bench": {"n": 3000, "limit": 100_000}},
    ),
    Program("collatz", collatz, _limit, {"test": {"n": 30}, "bench": {"n": 30_000}}, numba=True),
    Program(
        "greatest_divisors",
        greatest_divisors,
        _pairs,
        {"test": {"n": 20}, "bench": {"n": 50_000}},
        numba=True,
    ),
    Program(
        "fermat_test",
        fermat_test,
        _candidates,
        {"test": {"n": 15}, "bench": {"n": 1000}},
        numba=True,
    ),
    Program(
        "morton",
        morton,
        _points,
        {"test": {"n": 20}, "bench": {"n": 200_000}},
    ),
)
