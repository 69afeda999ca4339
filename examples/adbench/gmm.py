"""A mixture of Gaussians: the logarithm of the posterior of points under it, and its gradient.

    params, data = generate(np.random.default_rng(0), n=1000, d=10, k=25)
    objective(params, *data)            # a number
    gradient = derivative(params, *data)  # Mixture of arrays like params

A component has a logit alpha, a mean mu, and a triangular factor Q of its precision matrix: the
logarithms of the diagonal are q, what is below it is l, column by column. With n points x_i,

    sum_i logsumexp_k(alpha_k + sum(q_k) - |Q_k (x_i - mu_k)|^2 / 2) - n logsumexp(alpha)
        - n d log(2 pi) / 2 + W,
    W = sum_k (gamma^2 (|exp(q_k)|^2 + |l_k|^2) / 2 - m sum(q_k)) - k C,
    C = n' d (log(gamma) - log(2) / 2) - log Gamma_d(n' / 2),   n' = d + m + 1.

W stands for the Wishart prior, with the signs that the benchmark has.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

import jitnet


class Mixture(NamedTuple):
    """Logits [k], means [k, d], and factors [k, d (d + 1) / 2]: q, then l."""

    alphas: np.ndarray
    means: np.ndarray
    factors: np.ndarray


class Wishart(NamedTuple):
    """The prior's scale gamma, its degrees of freedom m beyond d + 1, and C - log Gamma_d."""

    gamma: float
    m: int
    constant: float


def wishart(gamma, m, d):
    """The prior for `d` dimensions; what no parameter changes is computed here, once."""
    freedom = d + m + 1
    log_gamma = 0.25 * d * (d - 1) * math.log(math.pi)
    log_gamma += sum(math.lgamma(0.5 * (freedom - j)) for j in range(d))
    constant = freedom * d * (math.log(gamma) - 0.5 * math.log(2)) - log_gamma
    return Wishart(gamma, m, constant)


def objective(params, x, prior):
    """The logarithm of the posterior, up to a constant, of the points `x` [n, d]."""
    alphas, means, factors = params
    n, d = x.shape
    k = len(alphas)
    q, l = factors[:, :d], factors[:, d:]
    columns, rows = np.triu_indices(d, 1)
    Q = np.zeros((k, d, d))
    Q[:, np.arange(d), np.arange(d)] = np.exp(q)
    Q[:, rows, columns] = l
    whitened = np.einsum("kij,knj->kni", Q, x - means[:, None])
    terms = alphas[:, None] + q.sum(axis=1)[:, None] - 0.5 * (whitened**2).sum(axis=2)
    likelihood = logsumexp(terms).sum() - n * logsumexp(alphas)
    return likelihood - 0.5 * n * d * math.log(2 * math.pi) + log_prior(q, l, prior)


def logsumexp(x):
    """The logarithm of the sum of the exponentials of `x` [k, ...] along its first axis."""
    highest = x.max(axis=0)
    return highest + np.log(np.exp(x - highest).sum(axis=0))


def log_prior(q, l, prior):
    """W above, for `q` [k, d] and `l` [k, d (d - 1) / 2]."""
    scale = 0.5 * prior.gamma**2 * ((np.exp(q) ** 2).sum() + (l**2).sum())
    return scale - prior.m * q.sum() - len(q) * prior.constant


derivative = jitnet.grad(objective)


def generate(rng, n, d, k):
    """Parameters, and points around random centres. The benchmark has n of 1,000, 10,000 and
    2,500,000, d from 2 to 128 and k from 5 to 200."""
    params = Mixture(
        rng.standard_normal(k),
        rng.standard_normal((k, d)),
        0.3 * rng.standard_normal((k, d * (d + 1) // 2)),
    )
    x = params.means[rng.integers(0, k, n)] + rng.standard_normal((n, d))
    return params, (x, wishart(1.0, 0, d))
