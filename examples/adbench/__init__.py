"""The four problems of ADBench as plain NumPy functions, with their derivatives.

    from adbench import gmm
    params, data = gmm.generate(np.random.default_rng(0), n=1000, d=10, k=25)
    jitnet.value_and_grad(gmm.objective)(params, *data)

They are written from the formulas that F. Srajer, Z. Kukelova and A. Fitzgibbon published ("A
Benchmark of Selected Algorithmic Differentiation Tools on Some Problems in Computer Vision and
Machine Learning", 2018) and from their descriptions of the data. The data files are not part of
this: each module has a `generate` that draws arguments of any of the benchmark's sizes, a function
`objective`, and a function `derivative` that gives all derivatives the benchmark asks for.
"""
