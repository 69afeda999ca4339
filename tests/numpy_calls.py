"""One call of every public function of NumPy's, on the sample arguments that its lambda names.

The coverage page is made from these: each is called as it is and compiled, and the results are
compared. A function that is missing here fails the test of the page.
"""

from __future__ import annotations

import io
import os
from collections.abc import Callable
from typing import Any

import numpy as np

_rng = np.random.default_rng(0)
_square = np.array([[4.0, 1.0, -0.5], [1.0, 3.0, 0.25], [-0.5, 0.25, 5.0]])

ARGUMENTS: dict[str, Any] = {
    "x": _rng.uniform(-2, 2, (3, 4)),
    "y": _rng.uniform(-2, 2, (3, 4)),
    "p": _rng.uniform(1, 3, (3, 4)),  # positive
    "u": _rng.uniform(-0.9, 0.9, (3, 4)),  # inside of the unit interval
    "v": np.array([0.5, -1.0, 2.0, 2.0, 0.25]),
    "w": np.array([1.0, 3.0, -2.0, 0.5, 1.5]),
    "r": np.array([-1.0, 0.0, 0.5, 2.0, 4.0]),  # rising
    "h": np.array([[1.0, np.nan, -2.0], [np.inf, 0.0, np.nan]]),  # with holes
    "s": _square,  # symmetric, positive definite
    "q": _square + np.array([[0.0, 2.0, 0.0], [0.0, 0.0, 1.0], [0.0, 0.0, 0.0]]),
    "c": np.array([1.0 + 2.0j, -0.5j, 3.0, -1.0 + 0.25j]),
    "i": np.array([3, 0, 2, 2, 1]),
    "j": np.array([2, 4, 1, 3, 3]),
    "a": np.arange(12).reshape(3, 4) - 5,
    "o": np.array([0, 1, 1, 0, 1, 0, 0, 1, 1], np.uint8),  # bits
    "m": np.array([True, False, True, True, False]),
    "b": np.array([False, False, True, True, True]),
    "d": np.array([1.0, -6.0, 11.0, -6.0]),  # a polynomial
    "t": 0.75,
    "n": 3,
}


def _clear_diagonal(s: Any) -> Any:
    np.fill_diagonal(s, 0.0)
    return s


def _copy_to(x: Any, y: Any) -> Any:
    np.copyto(x, y, where=y > 0)
    return x


def _place(x: Any) -> Any:
    np.place(x, x > 0, [1.0, 2.0])
    return x


def _put(v: Any, i: Any) -> Any:
    np.put(v, i, 7.0)
    return v


def _put_along_axis(x: Any) -> Any:
    np.put_along_axis(x, np.argmax(x, axis=1)[:, None], 0.0, axis=1)
    return x


def _put_mask(x: Any, y: Any) -> Any:
    np.putmask(x, x > 0, y)
    return x


def _print_options(v: Any) -> Any:
    with np.printoptions(precision=3):
        return v + 1


def _saved(save: Callable[..., Any], x: Any) -> Any:
    save(io.BytesIO(), x)


def _file(x: Any) -> bytes:
    stream = io.BytesIO()
    np.save(stream, x)
    return stream.getvalue()


_FILE = _file(np.arange(5.0))

NUMPY: dict[str, Callable[..., Any]] = {
    # -- ufuncs: arithmetic
    "abs": lambda x: np.abs(x),
    "absolute": lambda x: np.absolute(x),
    "add": lambda x, y: np.add(x, y),
    "cbrt": lambda x: np.cbrt(x),
    "ceil": lambda x: np.ceil(x),
    "conj": lambda c: np.conj(c),
    "conjugate": lambda c: np.conjugate(c),
    "copysign": lambda x, y: np.copysign(x, y),
    "divide": lambda x, y: np.divide(x, y),
    "divmod": lambda x, y: np.divmod(x, y),
    "fabs": lambda x: np.fabs(x),
    "float_power": lambda p, y: np.float_power(p, y),
    "floor": lambda x: np.floor(x),
    "floor_divide": lambda x, y: np.floor_divide(x, y),
    "fmax": lambda x, y: np.fmax(x, y),
    "fmin": lambda x, y: np.fmin(x, y),
    "fmod": lambda x, y: np.fmod(x, y),
    "frexp": lambda x: np.frexp(x),
    "gcd": lambda i, j: np.gcd(i, j),
    "heaviside": lambda x, y: np.heaviside(x, y),
    "hypot": lambda x, y: np.hypot(x, y),
    "lcm": lambda i, j: np.lcm(i, j),
    "ldexp": lambda v, i: np.ldexp(v, i),
    "maximum": lambda x, y: np.maximum(x, y),
    "minimum": lambda x, y: np.minimum(x, y),
    "mod": lambda x, y: np.mod(x, y),
    "modf": lambda x: np.modf(x),
    "multiply": lambda x, y: np.multiply(x, y),
    "negative": lambda x: np.negative(x),
    "nextafter": lambda x, y: np.nextafter(x, y),
    "positive": lambda x: np.positive(x),
    "pow": lambda p, y: np.pow(p, y),
    "power": lambda p, y: np.power(p, y),
    "reciprocal": lambda x: np.reciprocal(x),
    "remainder": lambda x, y: np.remainder(x, y),
    "rint": lambda x: np.rint(x),
    "sign": lambda x: np.sign(x),
    "spacing": lambda x: np.spacing(x),
    "sqrt": lambda p: np.sqrt(p),
    "square": lambda x: np.square(x),
    "subtract": lambda x, y: np.subtract(x, y),
    "true_divide": lambda x, y: np.true_divide(x, y),
    "trunc": lambda x: np.trunc(x),
    # -- ufuncs: bits and comparisons
    "bitwise_and": lambda i, j: np.bitwise_and(i, j),
    "bitwise_count": lambda i: np.bitwise_count(i),
    "bitwise_invert": lambda i: np.bitwise_invert(i),
    "bitwise_left_shift": lambda i, j: np.bitwise_left_shift(i, j),
    "bitwise_not": lambda i: np.bitwise_not(i),
    "bitwise_or": lambda i, j: np.bitwise_or(i, j),
    "bitwise_right_shift": lambda i, j: np.bitwise_right_shift(i, j),
    "bitwise_xor": lambda i, j: np.bitwise_xor(i, j),
    "equal": lambda i, j: np.equal(i, j),
    "greater": lambda x, y: np.greater(x, y),
    "greater_equal": lambda x, y: np.greater_equal(x, y),
    "invert": lambda i: np.invert(i),
    "isfinite": lambda h: np.isfinite(h),
    "isinf": lambda h: np.isinf(h),
    "isnan": lambda h: np.isnan(h),
    "isnat": lambda h: np.isnat(h.astype("m8[s]")),
    "left_shift": lambda i, j: np.left_shift(i, j),
    "less": lambda x, y: np.less(x, y),
    "less_equal": lambda x, y: np.less_equal(x, y),
    "logical_and": lambda m, b: np.logical_and(m, b),
    "logical_not": lambda m: np.logical_not(m),
    "logical_or": lambda m, b: np.logical_or(m, b),
    "logical_xor": lambda m, b: np.logical_xor(m, b),
    "not_equal": lambda i, j: np.not_equal(i, j),
    "right_shift": lambda i, j: np.right_shift(i, j),
    "signbit": lambda x: np.signbit(x),
    # -- ufuncs: elementary functions
    "acos": lambda u: np.acos(u),
    "acosh": lambda p: np.acosh(p),
    "arccos": lambda u: np.arccos(u),
    "arccosh": lambda p: np.arccosh(p),
    "arcsin": lambda u: np.arcsin(u),
    "arcsinh": lambda x: np.arcsinh(x),
    "arctan": lambda x: np.arctan(x),
    "arctan2": lambda x, y: np.arctan2(x, y),
    "arctanh": lambda u: np.arctanh(u),
    "asin": lambda u: np.asin(u),
    "asinh": lambda x: np.asinh(x),
    "atan": lambda x: np.atan(x),
    "atan2": lambda x, y: np.atan2(x, y),
    "atanh": lambda u: np.atanh(u),
    "cos": lambda x: np.cos(x),
    "cosh": lambda x: np.cosh(x),
    "deg2rad": lambda x: np.deg2rad(x),
    "degrees": lambda x: np.degrees(x),
    "exp": lambda x: np.exp(x),
    "exp2": lambda x: np.exp2(x),
    "expm1": lambda x: np.expm1(x),
    "log": lambda p: np.log(p),
    "log10": lambda p: np.log10(p),
    "log1p": lambda p: np.log1p(p),
    "log2": lambda p: np.log2(p),
    "logaddexp": lambda x, y: np.logaddexp(x, y),
    "logaddexp2": lambda x, y: np.logaddexp2(x, y),
    "rad2deg": lambda x: np.rad2deg(x),
    "radians": lambda x: np.radians(x),
    "sin": lambda x: np.sin(x),
    "sinh": lambda x: np.sinh(x),
    "tan": lambda x: np.tan(x),
    "tanh": lambda x: np.tanh(x),
    # -- products
    "convolve": lambda v, w: np.convolve(v, w),
    "correlate": lambda v, w: np.correlate(v, w, "full"),
    "cross": lambda s, q: np.cross(s, q),
    "dot": lambda x, y: np.dot(x, y.T),
    "einsum": lambda x, y: np.einsum("ij,kj->ik", x, y),
    "einsum_path": lambda x, y: np.einsum_path("ij,kj->ik", x, y)[0],
    "inner": lambda x, y: np.inner(x, y),
    "kron": lambda x, s: np.kron(x, s),
    "matmul": lambda x, y: np.matmul(x, y.T),
    "matvec": lambda x, y: np.matvec(x, y[0]),
    "outer": lambda v, w: np.outer(v, w),
    "tensordot": lambda x, y: np.tensordot(x, y),
    "trace": lambda x: np.trace(x),
    "vdot": lambda v, w: np.vdot(v, w),
    "vecdot": lambda x, y: np.vecdot(x, y),
    "vecmat": lambda x, y: np.vecmat(x[:, 0], y),
    # -- reductions and running totals
    "all": lambda x: np.all(x, axis=1),
    "amax": lambda x: np.amax(x, axis=0),
    "amin": lambda x: np.amin(x, axis=0),
    "any": lambda x: np.any(x, axis=1),
    "argmax": lambda x: np.argmax(x, axis=1),
    "argmin": lambda x: np.argmin(x, axis=1),
    "average": lambda x, p: np.average(x, axis=1, weights=p),
    "count_nonzero": lambda a: np.count_nonzero(a, axis=1),
    "cumprod": lambda x: np.cumprod(x, axis=1),
    "cumsum": lambda x: np.cumsum(x, axis=0),
    "cumulative_prod": lambda x: np.cumulative_prod(x, axis=1, include_initial=True),
    "cumulative_sum": lambda x: np.cumulative_sum(x, axis=1, include_initial=True),
    "max": lambda x: np.max(x),
    "mean": lambda x: np.mean(x, axis=0),
    "median": lambda x: np.median(x, axis=1),
    "min": lambda x: np.min(x),
    "nanargmax": lambda h: np.nanargmax(h, axis=1),
    "nanargmin": lambda h: np.nanargmin(h, axis=1),
    "nancumprod": lambda h: np.nancumprod(h, axis=1),
    "nancumsum": lambda h: np.nancumsum(h, axis=1),
    "nanmax": lambda h: np.nanmax(h, axis=1),
    "nanmean": lambda h: np.nanmean(h, axis=1),
    "nanmedian": lambda h: np.nanmedian(h, axis=1),
    "nanmin": lambda h: np.nanmin(h, axis=1),
    "nanpercentile": lambda h: np.nanpercentile(h[:, 1:], [25, 50], axis=1),
    "nanprod": lambda h: np.nanprod(h),
    "nanquantile": lambda h: np.nanquantile(h[:, 1:], 0.3, axis=0),
    "nanstd": lambda h: np.nanstd(h[0]),
    "nansum": lambda h: np.nansum(h, axis=0),
    "nanvar": lambda h: np.nanvar(h[0]),
    "percentile": lambda x: np.percentile(x, [10, 50, 90], axis=1),
    "prod": lambda x: np.prod(x, axis=0),
    "ptp": lambda x: np.ptp(x, axis=1),
    "quantile": lambda x, t: np.quantile(x, t),
    "std": lambda x: np.std(x, axis=1),
    "sum": lambda x: np.sum(x, axis=1),
    "var": lambda x: np.var(x, axis=0, ddof=1),
    # -- statistics and interpolation
    "bincount": lambda i, v: np.bincount(i, weights=v),
    "corrcoef": lambda x: np.corrcoef(x),
    "cov": lambda x: np.cov(x),
    "digitize": lambda v, r: np.digitize(v, r),
    "histogram": lambda v: np.histogram(v, bins=4),
    "histogram2d": lambda v, w: np.histogram2d(v, w, bins=3),
    "histogram_bin_edges": lambda v: np.histogram_bin_edges(v, bins=4),
    "histogramdd": lambda x: np.histogramdd(x[:, :2], bins=3),
    "interp": lambda x, r, v: np.interp(x, r, v),
    # -- differences and integrals
    "diff": lambda x: np.diff(x, axis=1),
    "ediff1d": lambda v: np.ediff1d(v),
    "gradient": lambda x: np.gradient(x),
    "trapezoid": lambda v, r: np.trapezoid(v, r),
    "unwrap": lambda v: np.unwrap(v * 4),
    # -- sorting, searching, sets
    "argpartition": lambda s: np.sort(np.argpartition(s, 1, axis=1)),
    "argsort": lambda v: np.argsort(v),
    "argwhere": lambda a: np.argwhere(a > 0),
    "extract": lambda x: np.extract(x > 0, x),
    "flatnonzero": lambda a: np.flatnonzero(a),
    "intersect1d": lambda i, j: np.intersect1d(i, j),
    "isin": lambda i, j: np.isin(i, j),
    "lexsort": lambda i, j: np.lexsort((i, j)),
    "nonzero": lambda a: np.nonzero(a > 0),
    "partition": lambda v: np.sort(np.partition(v, 2)),
    "searchsorted": lambda r, x: np.searchsorted(r, x),
    "setdiff1d": lambda i, j: np.setdiff1d(i, j),
    "setxor1d": lambda i, j: np.setxor1d(i, j),
    "sort": lambda x: np.sort(x, axis=0),
    "sort_complex": lambda c: np.sort_complex(c),
    "union1d": lambda i, j: np.union1d(i, j),
    "unique": lambda i: np.unique(i, return_counts=True),
    "unique_all": lambda i: tuple(np.unique_all(i)),
    "unique_counts": lambda i: tuple(np.unique_counts(i)),
    "unique_inverse": lambda i: tuple(np.unique_inverse(i)),
    "unique_values": lambda i: np.sort(np.unique_values(i)),
    # -- choosing
    "choose": lambda i, x: np.choose(i % 3, [i, i + 10, i + 20]),
    "clip": lambda x: np.clip(x, -1, 1),
    "compress": lambda m, v: np.compress(m, v),
    "piecewise": lambda x: np.piecewise(x, [x < 0, x >= 1], [-1, lambda y: y * 2, 0]),
    "select": lambda x: np.select([x < 0, x > 1], [-x, x * 2], 0.5),
    "take": lambda v, i: np.take(v, i),
    "take_along_axis": lambda x: np.take_along_axis(x, np.argsort(x, axis=1), axis=1),
    "where": lambda x, y: np.where(x > 0, x, y),
    # -- comparing and testing
    "allclose": lambda x, y: np.allclose(x, y),
    "array_equal": lambda x, y: np.array_equal(x, y),
    "array_equiv": lambda x, y: np.array_equiv(x, y),
    "isclose": lambda x, y: np.isclose(x, y),
    "iscomplex": lambda c: np.iscomplex(c),
    "iscomplexobj": lambda x: np.iscomplexobj(x),
    "isfortran": lambda x: np.isfortran(x),
    "isneginf": lambda h: np.isneginf(h),
    "isposinf": lambda h: np.isposinf(h),
    "isreal": lambda c: np.isreal(c),
    "isrealobj": lambda x: np.isrealobj(x),
    "isscalar": lambda x: np.isscalar(x),
    "iterable": lambda x: np.iterable(x),
    "may_share_memory": lambda x, y: np.may_share_memory(x, y + x),
    "shares_memory": lambda x, y: np.shares_memory(x, y + x),
    # -- numbers
    "angle": lambda c: np.angle(c),
    "around": lambda x: np.around(x, 1),
    "fix": lambda x: np.fix(x),
    "i0": lambda x: np.i0(x),
    "imag": lambda c: np.imag(c),
    "nan_to_num": lambda h: np.nan_to_num(h),
    "real": lambda c: np.real(c),
    "real_if_close": lambda c: np.real_if_close(c),
    "round": lambda x: np.round(x, 1),
    "sinc": lambda x: np.sinc(x),
    # -- shapes
    "astype": lambda x: np.astype(x, np.float32),
    "atleast_1d": lambda t: np.atleast_1d(t),
    "atleast_2d": lambda v: np.atleast_2d(v),
    "atleast_3d": lambda x: np.atleast_3d(x),
    "broadcast_arrays": lambda x, y: np.broadcast_arrays(x, y[0]),
    "broadcast_shapes": lambda x: np.broadcast_shapes(x.shape, (1,)),
    "broadcast_to": lambda v: np.broadcast_to(v, (2, 5)),
    "expand_dims": lambda x: np.expand_dims(x, 1),
    "flip": lambda x: np.flip(x, 0),
    "fliplr": lambda x: np.fliplr(x),
    "flipud": lambda x: np.flipud(x),
    "matrix_transpose": lambda x: np.matrix_transpose(x),
    "moveaxis": lambda x: np.moveaxis(x, 0, 1),
    "ndim": lambda x: np.ndim(x),
    "permute_dims": lambda x: np.permute_dims(x, (1, 0)),
    "ravel": lambda x: np.ravel(x),
    "reshape": lambda x: np.reshape(x, (4, 3)),
    "resize": lambda x: np.resize(x, (2, 3)),
    "roll": lambda x: np.roll(x, 1, axis=1),
    "rollaxis": lambda x: np.rollaxis(x, 1),
    "rot90": lambda x: np.rot90(x),
    "shape": lambda x: np.shape(x),
    "size": lambda x: np.size(x),
    "squeeze": lambda x: np.squeeze(x[:1]),
    "swapaxes": lambda x: np.swapaxes(x, 0, 1),
    "transpose": lambda x: np.transpose(x),
    # -- joining and splitting
    "append": lambda x, y: np.append(x, y, axis=0),
    "array_split": lambda x: np.array_split(x, 3, axis=1),
    "block": lambda x, y: np.block([[x, y], [y, x]]),
    "column_stack": lambda v, w: np.column_stack((v, w)),
    "concat": lambda x, y: np.concat((x, y)),
    "concatenate": lambda x, y: np.concatenate((x, y)),
    "delete": lambda x: np.delete(x, 1, axis=0),
    "dsplit": lambda x: np.dsplit(x[:, :, None], 1),
    "dstack": lambda x, y: np.dstack((x, y)),
    "hsplit": lambda x: np.hsplit(x, 2),
    "hstack": lambda x, y: np.hstack((x, y)),
    "insert": lambda v: np.insert(v, 2, 9.0),
    "pad": lambda x: np.pad(x, 1),
    "repeat": lambda x: np.repeat(x, 2, axis=0),
    "row_stack": lambda x, y: np.row_stack((x, y)),
    "split": lambda x: np.split(x, 2, axis=1),
    "stack": lambda x, y: np.stack((x, y)),
    "tile": lambda v: np.tile(v, 2),
    "trim_zeros": lambda v: np.trim_zeros(v),
    "unstack": lambda x: np.unstack(x),
    "vsplit": lambda x: np.vsplit(x, 3),
    "vstack": lambda x, y: np.vstack((x, y)),
    # -- making
    "arange": lambda n: np.arange(n),
    "array": lambda v, w: np.array([v, w]),
    "asanyarray": lambda v, w: np.asanyarray([v, w]),
    "asarray": lambda v, w: np.asarray([v, w]),
    "asarray_chkfinite": lambda v: np.asarray_chkfinite(v),
    "ascontiguousarray": lambda x: np.ascontiguousarray(x.T),
    "asfortranarray": lambda x: np.asfortranarray(x),
    "asmatrix": lambda x: np.asmatrix(x),
    "bartlett": lambda n: np.bartlett(n),
    "blackman": lambda n: np.blackman(n),
    "bmat": lambda x, y: np.bmat([[x, y]]),
    "copy": lambda x: np.copy(x),
    "diag": lambda v: np.diag(v),
    "diagflat": lambda x: np.diagflat(x),
    "diagonal": lambda x: np.diagonal(x),
    "empty": lambda n: np.empty(n).shape,
    "empty_like": lambda x: np.empty_like(x).shape,
    "eye": lambda n: np.eye(n),
    "from_dlpack": lambda x: np.from_dlpack(x),
    "frombuffer": lambda v: v + np.frombuffer(bytes(40)),
    "fromfile": lambda v: v + np.fromfile(os.devnull).size,
    "fromfunction": lambda v: np.fromfunction(lambda k: k * v[0], (4,)),
    "fromiter": lambda v: np.fromiter(v, float),
    "frompyfunc": lambda v: np.frompyfunc(lambda e: e + 1, 1, 1)(v),
    "fromregex": lambda v: v + np.fromregex(io.StringIO("5\n"), r"(\d)", [("k", int)])["k"],
    "fromstring": lambda v: v + np.fromstring("1 2 3 4 5", sep=" "),
    "full": lambda n, t: np.full(n, t),
    "full_like": lambda x, t: np.full_like(x, t),
    "genfromtxt": lambda v: v + np.genfromtxt(io.StringIO("1 2 3 4 5")),
    "geomspace": lambda p: np.geomspace(p[0, 0], p[0, 1], 5),
    "hamming": lambda n: np.hamming(n),
    "hanning": lambda n: np.hanning(n),
    "identity": lambda n: np.identity(n),
    "indices": lambda n: np.indices((n, 2)),
    "kaiser": lambda n: np.kaiser(n, 14.0),
    "linspace": lambda t: np.linspace(0, t, 5),
    "load": lambda v: v + np.load(io.BytesIO(_FILE)),
    "loadtxt": lambda v: v + np.loadtxt(io.StringIO("1 2 3 4 5")),
    "logspace": lambda t: np.logspace(0, t, 5),
    "meshgrid": lambda v, w: np.meshgrid(v, w),
    "ones": lambda n: np.ones(n),
    "ones_like": lambda x: np.ones_like(x),
    "require": lambda x: np.require(x, np.float64, "C"),
    "tri": lambda n: np.tri(n),
    "tril": lambda x: np.tril(x),
    "triu": lambda x: np.triu(x),
    "vander": lambda v: np.vander(v, 3),
    "zeros": lambda n: np.zeros(n),
    "zeros_like": lambda x: np.zeros_like(x),
    # -- indices
    "diag_indices": lambda n: np.diag_indices(n),
    "diag_indices_from": lambda s: np.diag_indices_from(s),
    "ix_": lambda i, j: np.ix_(i, j),
    "mask_indices": lambda n: np.mask_indices(n, np.triu),
    "ravel_multi_index": lambda i, j: np.ravel_multi_index((i, j), (4, 5)),
    "tril_indices": lambda n: np.tril_indices(n),
    "tril_indices_from": lambda x: np.tril_indices_from(x),
    "triu_indices": lambda n: np.triu_indices(n),
    "triu_indices_from": lambda x: np.triu_indices_from(x),
    "unravel_index": lambda i: np.unravel_index(i, (2, 2)),
    # -- changing arrays
    "copyto": _copy_to,
    "fill_diagonal": _clear_diagonal,
    "place": _place,
    "put": _put,
    "put_along_axis": _put_along_axis,
    "putmask": _put_mask,
    # -- functions of functions
    "apply_along_axis": lambda x: np.apply_along_axis(np.sum, 1, x),
    "apply_over_axes": lambda x: np.apply_over_axes(np.sum, x, [0]),
    # -- polynomials
    "poly": lambda v: np.poly(v),
    "polyadd": lambda d, v: np.polyadd(d, v),
    "polyder": lambda d: np.polyder(d),
    "polydiv": lambda d, v: np.polydiv(d, v[:2]),
    "polyfit": lambda r, v: np.polyfit(r, v, 2),
    "polyint": lambda d: np.polyint(d),
    "polymul": lambda d, v: np.polymul(d, v),
    "polysub": lambda d, v: np.polysub(d, v),
    "polyval": lambda d, x: np.polyval(d, x),
    "roots": lambda d: np.roots(d),
    # -- bits and text
    "array2string": lambda v: np.array2string(v),
    "array_repr": lambda v: np.array_repr(v),
    "array_str": lambda v: np.array_str(v),
    "base_repr": lambda n: np.base_repr(n),
    "binary_repr": lambda n: np.binary_repr(n),
    "format_float_positional": lambda t: np.format_float_positional(t),
    "format_float_scientific": lambda t: np.format_float_scientific(t),
    "packbits": lambda o: np.packbits(o),
    "unpackbits": lambda o: np.unpackbits(o),
    # -- files
    "save": lambda x: _saved(np.save, x),
    "savetxt": lambda x: _saved(np.savetxt, x),
    "savez": lambda x: _saved(np.savez, x),
    "savez_compressed": lambda x: _saved(np.savez_compressed, x),
    # -- dtypes
    "can_cast": lambda x: np.can_cast(x.dtype, np.float32),
    "common_type": lambda x, i: np.zeros(1, np.common_type(x, i)),
    "isdtype": lambda x: np.isdtype(x.dtype, "real floating"),
    "issubdtype": lambda x: np.issubdtype(x.dtype, np.floating),
    "min_scalar_type": lambda v: v.astype(np.min_scalar_type(300)),
    "mintypecode": lambda v: v.astype(np.mintypecode("df")),
    "promote_types": lambda v: v.astype(np.promote_types("f4", "i2")),
    "result_type": lambda v, i: np.zeros(1, np.result_type(v, i)),
    "typename": lambda v: v if np.typename(v.dtype.char) else -v,
    # -- dates
    "busday_count": lambda i: np.busday_count(i.astype("M8[D]"), "2030-01-01"),
    "busday_offset": lambda i: np.busday_offset(i.astype("M8[D]"), 1, "forward"),
    "datetime_as_string": lambda i: np.datetime_as_string(i.astype("M8[D]")),
    "datetime_data": lambda i: np.datetime_data(i.astype("M8[D]").dtype),
    "is_busday": lambda i: np.is_busday(i.astype("M8[D]")),
    # -- NumPy's own settings, read
    "get_include": lambda v: v + len(np.get_include()),
    "get_printoptions": lambda v: v + np.get_printoptions()["precision"],
    "getbufsize": lambda v: v + np.getbufsize(),
    "geterr": lambda v: v + len(np.geterr()),
    "geterrcall": lambda v: v if np.geterrcall() is None else -v,
    "nested_iters": lambda x: np.nested_iters(x, [[0], [1]]),
    "printoptions": _print_options,
}

LINALG: dict[str, Callable[..., Any]] = {
    "cholesky": lambda s: np.linalg.cholesky(s),
    "cond": lambda s: np.linalg.cond(s),
    "cross": lambda s, q: np.linalg.cross(s, q),
    "det": lambda q: np.linalg.det(q),
    "diagonal": lambda x: np.linalg.diagonal(x),
    "eig": lambda q: np.linalg.eig(q)[0],
    "eigh": lambda s: np.linalg.eigh(s)[0],
    "eigvals": lambda q: np.linalg.eigvals(q),
    "eigvalsh": lambda s: np.linalg.eigvalsh(s),
    "inv": lambda q: np.linalg.inv(q),
    "lstsq": lambda s, x: np.linalg.lstsq(s, x)[0],
    "matmul": lambda x, y: np.linalg.matmul(x, y.T),
    "matrix_norm": lambda x: np.linalg.matrix_norm(x),
    "matrix_power": lambda s: np.linalg.matrix_power(s, 3),
    "matrix_rank": lambda s: np.linalg.matrix_rank(s),
    "matrix_transpose": lambda x: np.linalg.matrix_transpose(x),
    "multi_dot": lambda x, y, s: np.linalg.multi_dot([s, x, y.T]),
    "norm": lambda x: np.linalg.norm(x, axis=1),
    "outer": lambda v, w: np.linalg.outer(v, w),
    "pinv": lambda s: np.linalg.pinv(s),
    "qr": lambda q: tuple(np.linalg.qr(q)),
    "slogdet": lambda q: tuple(np.linalg.slogdet(q)),
    "solve": lambda q, x: np.linalg.solve(q, x),
    "svd": lambda q: np.linalg.svd(q)[1],
    "svdvals": lambda q: np.linalg.svdvals(q),
    "tensordot": lambda x, y: np.linalg.tensordot(x, y),
    "tensorinv": lambda q: np.linalg.tensorinv(q, 1),
    "tensorsolve": lambda q, x: np.linalg.tensorsolve(q, x[:, 0]),
    "trace": lambda x: np.linalg.trace(x),
    "vecdot": lambda x, y: np.linalg.vecdot(x, y),
    "vector_norm": lambda x: np.linalg.vector_norm(x),
}

FFT: dict[str, Callable[..., Any]] = {
    "fft": lambda v: np.fft.fft(v),
    "fft2": lambda x: np.fft.fft2(x),
    "fftfreq": lambda n: np.fft.fftfreq(n),
    "fftn": lambda x: np.fft.fftn(x),
    "fftshift": lambda v: np.fft.fftshift(v),
    "hfft": lambda v: np.fft.hfft(v),
    "ifft": lambda v: np.fft.ifft(v),
    "ifft2": lambda x: np.fft.ifft2(x),
    "ifftn": lambda x: np.fft.ifftn(x),
    "ifftshift": lambda v: np.fft.ifftshift(v),
    "ihfft": lambda v: np.fft.ihfft(v),
    "irfft": lambda v: np.fft.irfft(v),
    "irfft2": lambda x: np.fft.irfft2(x),
    "irfftn": lambda x: np.fft.irfftn(x),
    "rfft": lambda v: np.fft.rfft(v),
    "rfft2": lambda x: np.fft.rfft2(x),
    "rfftfreq": lambda n: np.fft.rfftfreq(n),
    "rfftn": lambda x: np.fft.rfftn(x),
}

MODULES = {"numpy": (np, NUMPY), "numpy.linalg": (np.linalg, LINALG), "numpy.fft": (np.fft, FFT)}

CHANGES_ARGUMENTS = {"copyto", "fill_diagonal", "place", "put", "put_along_axis", "putmask"}

OUTSIDE = {
    "info": "prints",
    "set_printoptions": "changes NumPy's settings",
    "setbufsize": "changes NumPy's settings",
    "seterr": "changes NumPy's settings",
    "seterrcall": "changes NumPy's settings",
    "show_config": "prints",
    "show_runtime": "prints",
    "test": "runs NumPy's tests",
}
"""Functions that compute nothing, and what they do."""
