"""The derivative of a fixed point, by the implicit function theorem.

python examples/fixed_point.py

x(a) solves x = f(a, x); it is found by iteration, however long that takes. Its derivative needs no
step of that: dx = df/da da + df/dx dx, which is a linear system in dx, and in reverse mode another
fixed point, of the vector-Jacobian product:

    u = ct + (df/dx)^T u        ct_a = (df/da)^T u

So the backward pass costs as much as solving once more, and no memory that grows with the steps.
"""

from functools import partial

import numpy as np

from jitnet import custom_vjp, grad, jit, value_and_grad, vjp

TOLERANCE = 1e-12


def iterate(step, x):
    """The x that `step` leaves as it is."""
    change = 1.0
    while change > TOLERANCE:
        following = step(x)
        change = np.abs(following - x).max()
        x = following
    return x


@partial(custom_vjp, nondiff_argnums=0)
def fixed_point(f, a, start):
    """x = f(a, x)."""
    return iterate(lambda x: f(a, x), start)


def forward(f, a, start):
    x = fixed_point(f, a, start)
    return x, (a, x)


def backward(f, residuals, ct):
    a, x = residuals
    _, pullback = vjp(lambda x: f(a, x), x)
    u = iterate(lambda u: ct + pullback(u)[0], ct)
    _, pullback_of_a = vjp(lambda a: f(a, x), a)
    return pullback_of_a(u)[0], None  # the start makes no difference


fixed_point.defvjp(forward, backward)


def equilibrium(params, x):
    """One step of a small network whose output is fed back: it contracts."""
    return np.tanh(params["w"] @ x + params["b"])


@jit
def train(params, target, steps):
    """Fit the equilibrium to a target; the gradient is inside of the compiled loop."""

    def loss(params):
        x = fixed_point(equilibrium, params, np.zeros(4))
        return ((x - target) ** 2).sum()

    losses = np.zeros(steps)
    for i in range(steps):
        losses[i], slopes = value_and_grad(loss)(params)
        params = {name: params[name] - 0.2 * slopes[name] for name in params}
    return params, losses


def main():
    root = grad(lambda a: fixed_point(lambda a, x: (x + a / x) / 2, a, a))
    print(f"d sqrt(a) / da at 2: {root(2.0):.12f}, and 1 / (2 sqrt(2)) is {0.5 / np.sqrt(2):.12f}")

    rng = np.random.default_rng(0)
    params = {"w": rng.normal(size=(4, 4)) / 4, "b": np.zeros(4)}
    _, losses = train(params, np.array([0.3, -0.2, 0.5, 0.1]), 100)
    print(f"loss of the equilibrium: {losses[0]:.4f}, after 100 steps {losses[-1]:.1e}")


if __name__ == "__main__":
    main()
