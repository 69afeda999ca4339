"""Kernel IR as CUDA C++: what becomes a kernel, and its text.

    for 0, 4096 {kind='vector'} @body(%i: i64) { ... }      one thread for each iteration
    for 0, 64 {kind='seq'} @body(%i: i64) { rows ... }      independent rows: one block for each

The way of a kernel Function: `split` (reductions in two stages), `marks` (loops whose iterations
are independent), `merge` (wider nests, and fewer), `cut` (launches, and what the host does between
them), `kernels` (their text).
"""
