"""Quantum mechanics on small machines: states of qubits, chains of spins, waves in a well.

Complex vectors that are seen as tensors with one axis for each qubit, operators built by Kronecker
products, complex tridiagonal steps, and eigenstates by projection.
"""

from __future__ import annotations

from functools import reduce

import numpy as np

from .program import Program

X = np.array([[0, 1], [1, 0]], dtype=complex)
Y = np.array([[0, -1j], [1j, 0]])
Z = np.diag([1.0 + 0j, -1.0])
HADAMARD = np.array([[1, 1], [1, -1]]) / np.sqrt(2)


def apply(gate, state, qubit):
    """A 2x2 `gate` on one qubit of `state` [2, 2, ..., 2]."""
    return np.moveaxis(np.tensordot(gate, state, axes=(1, qubit)), 0, qubit)


def controlled_phase(state, control, target, angle):
    """Turn the phase of `state` where both qubits are one, in place."""
    index = [slice(None)] * state.ndim
    index[control] = index[target] = 1
    state[tuple(index)] *= np.exp(1j * angle)


def fourier_circuit(state, qubits):
    """The quantum Fourier transform of `state` [2**qubits], gate by gate; its probabilities too."""
    psi = state.reshape((2,) * qubits).copy()
    for q in range(qubits):
        psi = apply(HADAMARD, psi, q)
        for k in range(q + 1, qubits):
            controlled_phase(psi, k, q, np.pi / 2 ** (k - q))
    psi = psi.transpose(range(qubits)[::-1]).reshape(-1)
    return psi, np.abs(psi) ** 2


def grover(qubits, marked, rounds):
    """Grover's search for one `marked` number: the state [2**qubits] and its chance, each round."""
    size = 2**qubits
    state = np.full(size, 1 / np.sqrt(size), dtype=np.complex128)
    chance = np.zeros(rounds)
    for r in range(rounds):
        state[marked] *= -1
        state = 2 * state.mean() - state
        chance[r] = abs(state[marked]) ** 2
    return state, chance


def ising_chain(sites, field):
    """The Hamiltonian [2**sites, 2**sites] of spins in a transverse field, by Kronecker
    products."""

    def embed(operators):
        return reduce(np.kron, [operators.get(k, np.eye(2)) for k in range(sites)])

    h = np.zeros((2**sites, 2**sites), dtype=complex)
    for k in range(sites - 1):
        h -= embed({k: Z, k + 1: Z})
    for k in range(sites):
        h -= field * embed({k: X})
    return h


def ground_state(sites, field, tolerance):
    """Energy, magnetisation and iterations for the chain's ground state, by power iteration on the
    shifted Hamiltonian."""
    h = ising_chain(sites, field)
    shift = np.abs(h).sum(axis=1).max()
    psi = np.ones(len(h), dtype=complex) / np.sqrt(len(h))
    energy = np.inf
    for iteration in range(5000):
        psi = shift * psi - h @ psi
        psi /= np.linalg.norm(psi)
        last, energy = energy, np.vdot(psi, h @ psi).real
        if abs(last - energy) < tolerance:
            break
    signs = 1 - 2 * ((np.arange(len(psi))[:, None] >> np.arange(sites)) & 1)
    magnetisation = np.abs(signs.sum(axis=1)) @ np.abs(psi) ** 2 / sites
    return energy, magnetisation, iteration


def wave_packet(psi, potential, dx, dt, steps):
    """Schroedinger's equation on a line by Crank and Nicolson: `psi` [n] (complex128) in place; the
    norm and the mean place of each step [steps, 2]."""
    n = len(psi)
    x = dx * np.arange(n)
    off = -0.5j * dt * (-0.5 / dx**2)
    diagonal = 0.5j * dt * (1 / dx**2 + potential)
    ratio = np.zeros(n, dtype=np.complex128)
    pivot = np.zeros(n, dtype=np.complex128)
    pivot[0] = 1 + diagonal[0]
    for i in range(1, n):
        ratio[i - 1] = -off / pivot[i - 1]
        pivot[i] = 1 + diagonal[i] + off * ratio[i - 1]
    record = np.empty((steps, 2))
    for t in range(steps):
        rhs = (1 - diagonal) * psi
        rhs[1:] += off * psi[:-1]
        rhs[:-1] += off * psi[1:]
        psi[0] = rhs[0] / pivot[0]
        for i in range(1, n):
            psi[i] = (rhs[i] + off * psi[i - 1]) / pivot[i]
        for i in range(n - 2, -1, -1):
            psi[i] -= ratio[i] * psi[i + 1]
        density = np.abs(psi) ** 2
        record[t, 0] = density.sum() * dx
        record[t, 1] = (x * density).sum() / density.sum()
    return record


def numerov(potential, dx, low, high, nodes, tolerance):
    """The energy of the state with `nodes` zeros in a well `potential` [n], by shooting with
    Numerov's formula and halving between `low` and `high`; also its wave [n]."""
    n = potential.size
    psi = np.zeros(n)
    while high - low > tolerance:
        energy = 0.5 * (low + high)
        f = 1 + dx * dx / 6 * (energy - potential)
        psi[0], psi[1] = 0.0, 1e-6
        crossings = 0
        for i in range(1, n - 1):
            psi[i + 1] = ((12 - 10 * f[i]) * psi[i] - f[i - 1] * psi[i - 1]) / f[i + 1]
            if psi[i + 1] * psi[i] < 0:
                crossings += 1
        if crossings > nodes:
            high = energy
        else:
            low = energy
    return 0.5 * (low + high), psi / np.abs(psi).max()


def lindblad(rho, hamiltonian, jumps, dt, steps):
    """An open system: the density matrix `rho` [n, n] under a `hamiltonian` [n, n] and `jumps`
    [k, n, n], by Runge and Kutta; populations of each step [steps, n]."""

    def change(r):
        out = -1j * (hamiltonian @ r - r @ hamiltonian)
        for jump in jumps:
            rate = jump.conj().T @ jump
            out += jump @ r @ jump.conj().T - 0.5 * (rate @ r + r @ rate)
        return out

    populations = np.empty((steps, len(rho)))
    for t in range(steps):
        k1 = change(rho)
        k2 = change(rho + 0.5 * dt * k1)
        k3 = change(rho + 0.5 * dt * k2)
        k4 = change(rho + dt * k3)
        rho = rho + dt / 6 * (k1 + 2 * k2 + 2 * k3 + k4)
        populations[t] = rho.diagonal().real
    return populations, rho


# -- arguments -------------------------------------------------------------------------------------


def _state(rng, qubits):
    state = rng.standard_normal(2**qubits) + 1j * rng.standard_normal(2**qubits)
    return state / np.linalg.norm(state), qubits


def _search(rng, qubits, rounds):
    return qubits, int(rng.integers(2**qubits)), rounds


def _packet(rng, n, steps):
    x = np.arange(n) * 0.1
    psi = np.exp(-((x - 0.3 * x[-1]) ** 2)) * np.exp(2j * x)
    return (
        psi.astype(np.complex128),
        np.where(np.abs(x - 0.6 * x[-1]) < 0.5, 2.0, 0.0),
        0.1,
        0.02,
        steps,
    )


def _well(rng, n, nodes):
    x = np.linspace(-5, 5, n)
    return x**2, x[1] - x[0], 0.0, 30.0 + rng.random(), nodes, 1e-9


def _open_system(rng, n, steps):
    h = rng.standard_normal((n, n)) + 1j * rng.standard_normal((n, n))
    lower = np.diag(np.sqrt(np.arange(1, n)), 1).astype(complex)
    rho = np.zeros((n, n), dtype=complex)
    rho[-1, -1] = 1
    return rho, (h + h.conj().T) / 2, np.stack((0.3 * lower, 0.1 * lower @ lower)), 0.01, steps


PROGRAMS = (
    Program(
        "fourier_circuit", fourier_circuit, _state, {"test": {"qubits": 4}, "bench": {"qubits": 15}}
    ),
    Program(
        "grover",
        grover,
        _search,
        {"test": {"qubits": 4, "rounds": 3}, "bench": {"qubits": 14, "rounds": 300}},
        tolerance=1e-10,
        numba=True,
    ),
    Program(
        "ground_state",
        ground_state,
        lambda rng, sites: (sites, 0.7, 1e-9),
        {"test": {"sites": 3}, "bench": {"sites": 8}},
        tolerance=1e-6,
    ),
    Program(
        "wave_packet",
        wave_packet,
        _packet,
        {"test": {"n": 40, "steps": 3}, "bench": {"n": 800, "steps": 60}},
        numba=True,
        tolerance=1e-10,
    ),
    Program(
        "numerov",
        numerov,
        _well,
        {"test": {"n": 60, "nodes": 1}, "bench": {"n": 3000, "nodes": 4}},
        numba=True,
        tolerance=1e-4,
    ),
    Program(
        "lindblad",
        lindblad,
        _open_system,
        {"test": {"n": 3, "steps": 4}, "bench": {"n": 12, "steps": 300}},
        tolerance=1e-10,
    ),
)
