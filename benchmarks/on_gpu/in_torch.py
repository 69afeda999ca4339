"""The same in PyTorch, as one writes it there: its own layers, its own optimisers.

VERSIONS["softmax"](x)
loss, params = STEPS["lenet_step"](torch.compile, params, images, labels)()   # one step of training

Functions are compiled by `torch.compile`. Of training steps what gives the loss is, with its
derivative, as far as it goes; the optimiser is PyTorch's fused one, and parameters change in place.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F


def stencil_2d(u):
    inner = u[1:-1, 1:-1]
    around = u[:-2, 1:-1] + u[2:, 1:-1] + u[1:-1, :-2] + u[1:-1, 2:]
    return inner + 0.1 * (around - 4 * inner)


def stencil_3d(u):
    inner = u[1:-1, 1:-1, 1:-1]
    around = u[:-2, 1:-1, 1:-1] + u[2:, 1:-1, 1:-1] + u[1:-1, :-2, 1:-1] + u[1:-1, 2:, 1:-1]
    around = around + u[1:-1, 1:-1, :-2] + u[1:-1, 1:-1, 2:]
    return inner + 0.1 * (around - 6 * inner)


def gelu(x):
    return F.gelu(x, approximate="tanh")


def softmax(x):
    return torch.softmax(x, 1)


def layernorm(x, gain, bias):
    return F.layer_norm(x, x.shape[-1:], gain, bias)


VERSIONS = {
    "scale_and_add": lambda a, x, y: a * x + y,
    "gelu": gelu,
    "softmax": softmax,
    "layernorm": layernorm,
    "row_sums": lambda x: x.sum(1),
    "column_sums": lambda x: x.sum(0),
    "full_sum": torch.sum,
    "transpose": lambda x: x.T.contiguous(),
    "stencil_2d": stencil_2d,
    "stencil_3d": stencil_3d,
    "running_sum": lambda x: torch.cumsum(x, 0),
    "rows_taken": lambda x, i: x[i],
    "one_array": lambda x: x * 2 + 1,
    "twelve_arrays": lambda a, b, c, d, e, f, g, h, i, j, k, m: (
        a + b * c + d * e + f * g + h * i + j * k + m
    ),
    "product": torch.matmul,
}

# -- what is more than one call --------------------------------------------------------------------


def _pulled(compiled, fn, ct, *args):
    """The derivative alone: of one forward pass, which is kept."""
    args = [a.detach().requires_grad_() for a in args]
    out = compiled(fn)(*args)

    def call():
        grads = torch.autograd.grad(out, args, ct, retain_graph=True)
        return grads if len(grads) > 1 else grads[0]

    return call


def _looped(compiled, step, states, steps):
    """A compiled step, called in a loop: to compile the whole loop would take minutes."""
    step = compiled(step)

    def call():
        now = states
        for _ in range(steps):
            now = step(*now)
        return now if len(now) > 1 else now[0]

    return call


def _heat_step(u):
    v = u.clone()
    v[1:-1, 1:-1] = stencil_2d(u)
    return (v,)


def _heat_3d_step(u):
    v = u.clone()
    v[1:-1, 1:-1, 1:-1] = stencil_3d(u)
    return (v,)


def _wave_step(now, before):
    following = 2 * now - before
    inner = now[1:-1, 1:-1]
    around = now[:-2, 1:-1] + now[2:, 1:-1] + now[1:-1, :-2] + now[1:-1, 2:]
    following[1:-1, 1:-1] += 0.2 * (around - 4 * inner)
    return following, now


def _trained(compiled, loss, optimiser, params, *data):
    """A step of training: the loss, and the parameters, which have changed."""
    params = {k: p.clone().requires_grad_() for k, p in params.items()}
    fused = all(p.is_cuda for p in params.values())
    optimiser = optimiser(params.values(), fused=fused)
    loss = compiled(loss)

    def call():
        optimiser.zero_grad(set_to_none=True)
        value = loss(params, *data)
        value.backward()
        optimiser.step()
        return value.detach(), params

    return call


def _descent(params, fused):
    return torch.optim.SGD(params, lr=0.1, fused=fused)


def _adam(params, fused):
    return torch.optim.Adam(params, lr=0.001, fused=fused)


def _perceptron_loss(p, x, labels):
    h = F.relu(x @ p["w1"] + p["b1"])
    h = F.relu(h @ p["w2"] + p["b2"])
    return F.cross_entropy(h @ p["w3"] + p["b3"], labels)


def _lenet_loss(p, images, labels):
    x = images.permute(0, 3, 1, 2)  # channels last, as they lie
    for kernel, bias in ((p["k1"], p["c1"]), (p["k2"], p["c2"])):
        x = F.max_pool2d(F.relu(F.conv2d(x, kernel.permute(3, 2, 0, 1), bias)), 2)
    x = x.permute(0, 2, 3, 1).reshape(len(images), -1)
    x = F.relu(x @ p["w1"] + p["b1"])
    x = F.relu(x @ p["w2"] + p["b2"])
    return F.cross_entropy(x @ p["w3"] + p["b3"], labels)


def _lstm(compiled, params, xs, target):
    """By `torch.nn.LSTM`, cuDNN's, which is not compiled."""
    n = params["u"].shape[0]
    layer = torch.nn.LSTM(xs.shape[2], n, device=xs.device)
    with torch.no_grad():
        layer.weight_ih_l0.copy_(params["w"].T)
        layer.weight_hh_l0.copy_(params["u"].T)
        layer.bias_ih_l0.copy_(params["b"])
        layer.bias_hh_l0.zero_()
    layer.bias_hh_l0.requires_grad_(False)
    trained = [p for p in layer.parameters() if p.requires_grad]
    optimiser = _descent(trained, fused=xs.is_cuda)

    def call():
        optimiser.zero_grad(set_to_none=True)
        value = F.mse_loss(layer(xs)[0], target)
        value.backward()
        optimiser.step()
        w, u, b = layer.weight_ih_l0.T, layer.weight_hh_l0.T, layer.bias_ih_l0
        return value.detach(), {"w": w, "u": u, "b": b}

    return call


def _block_loss(p, x, target, heads):
    batch, length, d = x.shape
    h = layernorm(x, p["gain1"], p["shift1"]) @ p["qkv"] + p["qkv_bias"]
    q, k, v = (part.view(batch, length, heads, -1).transpose(1, 2) for part in h.split(d, -1))
    h = F.scaled_dot_product_attention(q, k, v, is_causal=True)
    x = x + h.transpose(1, 2).reshape(batch, length, d) @ p["out"] + p["out_bias"]
    h = gelu(layernorm(x, p["gain2"], p["shift2"]) @ p["up"] + p["up_bias"])
    return F.mse_loss(x + h @ p["down"] + p["down_bias"], target)


STEPS = {
    "gelu_pulled": lambda c, ct, x: _pulled(c, gelu, ct, x),
    "softmax_pulled": lambda c, ct, x: _pulled(c, softmax, ct, x),
    "layernorm_pulled": lambda c, ct, *args: _pulled(c, layernorm, ct, *args),
    "heat": lambda c, u, steps: _looped(c, _heat_step, (u,), steps),
    "heat_3d": lambda c, u, steps: _looped(c, _heat_3d_step, (u,), steps),
    "wave": lambda c, now, before, steps: _looped(c, _wave_step, (now, before), steps),
    "perceptron_step": lambda c, params, mean, square, t, *data: _trained(
        c, _perceptron_loss, _adam, params, *data
    ),
    "lenet_step": lambda c, *args: _trained(c, _lenet_loss, _descent, *args),
    "lstm_step": _lstm,
    "block_step": lambda c, *args: _trained(c, _block_loss, _descent, *args),
}
"""Given the compiler and the arguments, a function without any that makes one call."""
