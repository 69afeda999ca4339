"""Dynamic programming: tables that are filled cell by cell, row by row or diagonal by diagonal.

Shortest paths, alignments of sequences with the way back through the table, the folding of RNA,
knapsacks, and the two algorithms of hidden Markov models.
"""

from __future__ import annotations

import numpy as np

from .program import Program


def floyd_warshall(path):
    """All shortest paths, in place in the matrix of distances `path` [n, n]."""
    for k in range(path.shape[0]):
        path[:] = np.minimum(path[:], np.add.outer(path[:, k], path[k, :]))


def edit_distance(a, b):
    """Levenshtein's distance of two sequences of codes `a` [m] and `b` [n]; two rows are kept."""
    if len(a) < len(b):
        a, b = b, a
    previous = np.arange(len(b) + 1)
    current = np.zeros_like(previous)
    for i, x in enumerate(a):
        current[0] = i + 1
        for j, y in enumerate(b):
            insertion = previous[j + 1] + 1
            deletion = current[j] + 1
            substitution = previous[j] + (x != y)
            current[j + 1] = min(insertion, deletion, substitution)
        previous, current = current, previous
    return previous[-1]


def common_subsequence(a, b):
    """The longest common subsequence of `a` [m] and `b` [n]: its length and, padded with -1, the
    positions in `a` [m] that it takes."""
    m, n = len(a), len(b)
    table = np.zeros((m + 1, n + 1), dtype=np.int64)
    for i in range(1, m + 1):
        for j in range(1, n + 1):
            if a[i - 1] == b[j - 1]:
                table[i, j] = table[i - 1, j - 1] + 1
            else:
                table[i, j] = max(table[i - 1, j], table[i, j - 1])
    taken = np.full(m, -1)
    i, j, k = m, n, table[m, n]
    while i > 0 and j > 0:
        if a[i - 1] == b[j - 1]:
            k -= 1
            taken[k] = i - 1
            i -= 1
            j -= 1
        elif table[i - 1, j] >= table[i, j - 1]:
            i -= 1
        else:
            j -= 1
    return table[m, n], taken


def needleman_wunsch(a, b, substitution, gap):
    """Global alignment of `a` [m] and `b` [n] by a matrix of `substitution` scores; filled along
    antidiagonals. Gives the table [m + 1, n + 1]."""
    m, n = len(a), len(b)
    score = np.zeros((m + 1, n + 1))
    score[:, 0] = gap * np.arange(m + 1)
    score[0, :] = gap * np.arange(n + 1)
    for d in range(2, m + n + 1):
        i = np.arange(max(1, d - n), min(m, d - 1) + 1)
        j = d - i
        diagonal = score[i - 1, j - 1] + substitution[a[i - 1], b[j - 1]]
        score[i, j] = np.maximum(diagonal, np.maximum(score[i - 1, j], score[i, j - 1]) + gap)
    return score


def smith_waterman(a, b, match, mismatch, gap):
    """The best local alignment of `a` [m] and `b` [n]: its score and where it ends."""
    h = np.zeros((len(a) + 1, len(b) + 1), dtype=np.int32)
    best, best_i, best_j = 0, 0, 0
    for i in range(1, h.shape[0]):
        for j in range(1, h.shape[1]):
            diagonal = h[i - 1, j - 1] + (match if a[i - 1] == b[j - 1] else mismatch)
            value = max(0, diagonal, h[i - 1, j] + gap, h[i, j - 1] + gap)
            h[i, j] = value
            if value > best:
                best, best_i, best_j = value, i, j
    return h, (best_i, best_j)


def can_pair(x, y):
    """Whether two bases (A, C, G, U as 0 to 3) are complementary."""
    return x + y == 3


def nussinov(sequence):
    """The largest number of pairs in each stretch of an RNA `sequence` [n]; table [n, n]."""
    n = len(sequence)
    table = np.zeros((n, n), np.int32)
    for i in range(n - 1, -1, -1):
        for j in range(i + 1, n):
            table[i, j] = max(table[i, j - 1], table[i + 1, j])
            if i < j - 1:
                paired = table[i + 1, j - 1] + (1 if can_pair(sequence[i], sequence[j]) else 0)
                table[i, j] = max(table[i, j], paired)
            if j - i > 2:
                split = table[i, i + 1 : j] + table[i + 2 : j + 1, j]
                table[i, j] = max(table[i, j], split.max())
    return table


def knapsack(weights, values, capacity):
    """The best value for each capacity [capacity + 1] when every item may be taken once: the row
    moves over itself."""
    best = np.zeros(capacity + 1, dtype=values.dtype)
    for w, v in zip(weights, values):
        best[w:] = np.maximum(best[w:], best[: capacity + 1 - w] + v)
    return best


def coin_change(coins, amount):
    """In how many ways `coins` sum up to `amount`, and the fewest coins that do (-1: none)."""
    ways = np.zeros(amount + 1, dtype=np.int64)
    fewest = np.full(amount + 1, amount + 1)
    ways[0] = 1
    fewest[0] = 0
    for coin in coins:
        for total in range(coin, amount + 1):
            ways[total] += ways[total - coin]
            fewest[total] = min(fewest[total], fewest[total - coin] + 1)
    if fewest[amount] > amount:
        return ways[amount], np.int64(-1)
    return ways[amount], fewest[amount]


def matrix_chain(dims):
    """The least work of a product of matrices of `dims` [n + 1]: by length, the best cut of
    each."""
    n = len(dims) - 1
    cost = np.zeros((n, n))
    cut = np.zeros((n, n), dtype=np.intp)
    for length in range(2, n + 1):
        for i in range(n - length + 1):
            j = i + length - 1
            candidates = (
                cost[i, i:j] + cost[i + 1 : j + 1, j] + dims[i] * dims[i + 1 : j + 1] * dims[j + 1]
            )
            k = np.argmin(candidates)
            cost[i, j] = candidates[k]
            cut[i, j] = i + k
    return cost[0, n - 1], cut


def time_warping(x, y, window):
    """Dynamic time warping of `x` [m] and `y` [n] inside a band around the diagonal."""
    m, n = len(x), len(y)
    window = max(window, abs(m - n))
    cost = np.full((m + 1, n + 1), np.inf)
    cost[0, 0] = 0
    for i in range(1, m + 1):
        for j in range(max(1, i - window), min(n, i + window) + 1):
            step = min(cost[i - 1, j], cost[i, j - 1], cost[i - 1, j - 1])
            cost[i, j] = abs(x[i - 1] - y[j - 1]) + step
    return cost[m, n]


def increasing_subsequence(x):
    """The length of the longest strictly increasing subsequence of `x` [n], by piles of cards that
    are searched by halving."""
    tails = np.empty_like(x)
    length = 0
    for value in x:
        low, high = 0, length
        while low < high:
            middle = (low + high) // 2
            if tails[middle] < value:
                low = middle + 1
            else:
                high = middle
        tails[low] = value
        if low == length:
            length += 1
    return length


def viterbi(start, transition, emission, observed):
    """The likeliest path [steps] of a hidden Markov model and its log probability. `start`
    [states], `transition` [states, states], `emission` [states, symbols] are logarithms."""
    steps = len(observed)
    states = start.shape[0]
    back = np.zeros((steps, states), dtype=np.int64)
    score = start + emission[:, observed[0]]
    for t in range(1, steps):
        candidates = score[:, None] + transition
        back[t] = candidates.argmax(axis=0)
        score = candidates.max(axis=0) + emission[:, observed[t]]
    path = np.empty(steps, dtype=np.int64)
    path[-1] = score.argmax()
    for t in range(steps - 1, 0, -1):
        path[t - 1] = back[t, path[t]]
    return path, score.max()


def hmm_forward(start, transition, emission, observed):
    """The forward algorithm, scaled: filtered probabilities [steps, states] and the log likelihood
    of `observed` [steps]."""
    filtered = np.zeros((len(observed), len(start)))
    log_likelihood = 0.0
    alpha = start
    for t, symbol in enumerate(observed):
        if t > 0:
            alpha = alpha @ transition
        alpha = alpha * emission[:, symbol]
        scale = alpha.sum()
        log_likelihood += np.log(scale)
        alpha /= scale
        filtered[t] = alpha
    return filtered, log_likelihood


# -- arguments -------------------------------------------------------------------------------------


def _distances(rng, n):
    path = rng.integers(1, 100, (n, n))
    np.fill_diagonal(path, 0)
    return (path,)


def _words(rng, m, n):
    return rng.integers(0, 4, m), rng.integers(0, 4, n)


def _scored_words(rng, m, n):
    return (*_words(rng, m, n), rng.integers(-3, 6, (4, 4)).astype(float), -2.0)


def _local_words(rng, m, n):
    return (*_words(rng, m, n), 3, -3, -2)


def _rna(rng, n):
    return (rng.integers(0, 4, n),)


def _items(rng, items, capacity):
    return rng.integers(1, capacity // 2, items), rng.integers(1, 100, items), capacity


def _coins(rng, coins, amount):
    return np.unique(rng.integers(2, 50, coins)), amount


def _chain(rng, n):
    return (rng.integers(2, 100, n + 1),)


def _walks(rng, m, n):
    return rng.standard_normal(m).cumsum(), rng.standard_normal(n).cumsum(), 3 + m // 10


def _hands(rng, n):
    return (rng.integers(0, 10 * n, n),)


def _hidden(rng, states, symbols, steps):
    start = rng.dirichlet(np.ones(states))
    transition = rng.dirichlet(np.ones(states), states)
    emission = rng.dirichlet(np.ones(symbols), states)
    return start, transition, emission, rng.integers(0, symbols, steps)


def _log_hidden(rng, states, symbols, steps):
    *tables, observed = _hidden(rng, states, symbols, steps)
    return (*(np.log(table) for table in tables), observed)


PROGRAMS = (
    Program("floyd_warshall", floyd_warshall, _distances, {"test": {"n": 9}, "bench": {"n": 160}}),
    Program(
        "edit_distance",
        edit_distance,
        _words,
        {"test": {"m": 9, "n": 13}, "bench": {"m": 300, "n": 350}},
        numba=True,
    ),
    Program(
        "common_subsequence",
        common_subsequence,
        _words,
        {"test": {"m": 11, "n": 9}, "bench": {"m": 350, "n": 300}},
        numba=True,
    ),
    Program(
        "needleman_wunsch",
        needleman_wunsch,
        _scored_words,
        {"test": {"m": 8, "n": 11}, "bench": {"m": 600, "n": 700}},
        numba=True,
    ),
    Program(
        "smith_waterman",
        smith_waterman,
        _local_words,
        {"test": {"m": 8, "n": 11}, "bench": {"m": 250, "n": 300}},
        numba=True,
    ),
    Program("nussinov", nussinov, _rna, {"test": {"n": 14}, "bench": {"n": 200}}, numba=True),
    Program(
        "knapsack",
        knapsack,
        _items,
        {"test": {"items": 6, "capacity": 30}, "bench": {"items": 500, "capacity": 20_000}},
        numba=True,
    ),
    Program(
        "coin_change",
        coin_change,
        _coins,
        {"test": {"coins": 4, "amount": 60}, "bench": {"coins": 10, "amount": 20_000}},
        numba=True,
    ),
    Program(
        "matrix_chain", matrix_chain, _chain, {"test": {"n": 8}, "bench": {"n": 150}}, numba=True
    ),
    Program(
        "time_warping",
        time_warping,
        _walks,
        {"test": {"m": 12, "n": 14}, "bench": {"m": 500, "n": 520}},
        numba=True,
    ),
    Program(
        "increasing_subsequence",
        increasing_subsequence,
        _hands,
        {"test": {"n": 40}, "bench": {"n": 20_000}},
        numba=True,
    ),
    Program(
        "viterbi",
        viterbi,
        _log_hidden,
        {
            "test": {"states": 4, "symbols": 3, "steps": 12},
            "bench": {"states": 24, "symbols": 20, "steps": 2000},
        },
    ),
    Program(
        "hmm_forward",
        hmm_forward,
        _hidden,
        {
            "test": {"states": 4, "symbols": 3, "steps": 12},
            "bench": {"states": 24, "symbols": 20, "steps": 5000},
        },
        numba=True,
    ),
)
