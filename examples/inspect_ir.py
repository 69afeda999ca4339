"""Look inside: a function's IR, its gradient's IR, the fused kernels, and the machine code.

python examples/inspect_ir.py
"""

import numpy as np

import jitnet


def softmax_loss(w, x, target):
    logits = x @ w
    shifted = logits - logits.max(axis=1, keepdims=True)
    probabilities = np.exp(shifted)
    probabilities = probabilities / probabilities.sum(axis=1, keepdims=True)
    return ((probabilities - target) ** 2).mean()


def heading(text):
    print(f"\n{'-' * 100}\n{text}\n{'-' * 100}")


def main():
    rng = np.random.default_rng(0)
    w = rng.standard_normal((8, 4))
    x = rng.standard_normal((16, 8))
    target = np.eye(4)[rng.integers(0, 4, 16)]

    heading("the function, traced")
    print(jitnet.trace(softmax_loss)(w, x, target))

    heading("its gradient in w: a function too")
    lowered = jitnet.jit(jitnet.grad(softmax_loss)).lower(w, x, target)
    print(lowered.stages["optimized"])

    heading("the kernels that fusion made of it")
    print(lowered.stages["fused"])

    heading("the loops, with what is stored where")
    print(lowered.stages["kernels"])

    heading("the beginning of the machine code")
    print("\n".join(lowered.stages["asm"].splitlines()[:40]))

    heading("what it costs")
    print(lowered.cost())


if __name__ == "__main__":
    main()
