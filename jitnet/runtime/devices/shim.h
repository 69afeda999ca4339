// What nvcc gives to a kernel without being asked, for g++: enough to run generated CUDA C++ on a
// CPU. shim.cpp has the scheduler. Included before a translation unit's text.
#pragma once

#define __global__
#define __device__
#define __forceinline__ inline
#define __launch_bounds__(...)
// Shared memory is one section of the library, so that it can be poisoned before each block.
#define __shared__ static __attribute__((section("shared_memory")))

struct Index3 {
  unsigned int x, y, z;
};

extern "C" {
extern Index3 threadIdx, blockIdx, blockDim, gridDim;
void shim_barrier(int line, bool of_warp);
}

#define __syncthreads() shim_barrier(__LINE__, false)
#define __syncwarp() shim_barrier(__LINE__, true)

static inline int __float_as_int(float x) { int y; __builtin_memcpy(&y, &x, 4); return y; }
static inline float __int_as_float(int x) { float y; __builtin_memcpy(&y, &x, 4); return y; }
static inline long long __double_as_longlong(double x) { long long y; __builtin_memcpy(&y, &x, 8); return y; }
static inline double __longlong_as_double(long long x) { double y; __builtin_memcpy(&y, &x, 8); return y; }

// Prototypes alone: <cmath> would take most of the time that a kernel takes to compile.
#define UNARY(name) extern "C" double name(double) noexcept; extern "C" float name##f(float) noexcept;
#define BINARY(name) \
  extern "C" double name(double, double) noexcept; extern "C" float name##f(float, float) noexcept;
UNARY(sqrt) UNARY(floor) UNARY(ceil) UNARY(trunc) UNARY(rint) UNARY(fabs) UNARY(cbrt) UNARY(sin)
UNARY(cos) UNARY(tan) UNARY(asin) UNARY(acos) UNARY(atan) UNARY(sinh) UNARY(cosh) UNARY(tanh)
UNARY(asinh) UNARY(acosh) UNARY(atanh) UNARY(erf) UNARY(erfc)
BINARY(pow) BINARY(atan2) BINARY(hypot) BINARY(copysign) BINARY(fmod)
extern "C" double fma(double, double, double) noexcept;
extern "C" float fmaf(float, float, float) noexcept;
// The hardware's approximations, by the functions that they approximate.
#define FAST(name) static inline float __##name##f(float x) { return name##f(x); }
UNARY(exp) UNARY(log) UNARY(log2) UNARY(log10)
FAST(exp) FAST(log) FAST(log2) FAST(log10) FAST(sin) FAST(cos) FAST(tan)
static inline float __powf(float x, float y) { return powf(x, y); }
#undef FAST
#undef UNARY
#undef BINARY

// Fibers change places at barriers alone, so that what each does in between is atomic.
#define ATOMIC(name, result) \
  template <class T> static inline T name(T* at, T x) { const T old = *at; *at = result; return old; }
ATOMIC(atomicAdd, old + x) ATOMIC(atomicMin, x < old ? x : old) ATOMIC(atomicMax, x > old ? x : old)
ATOMIC(atomicAnd, old & x) ATOMIC(atomicOr, old | x) ATOMIC(atomicXor, old ^ x)
#undef ATOMIC
template <class T> static inline T atomicCAS(T* at, T seen, T x) {
  const T old = *at;
  if (old == seen) *at = x;
  return old;
}

// SHIM_EXPORT(f) makes `call_f(void** arguments)` of a kernel, as the driver's launch takes them.
template <int... I> struct shim_numbers {};
template <int N, int... I> struct shim_count : shim_count<N - 1, N - 1, I...> {};
template <int... I> struct shim_count<0, I...> { typedef shim_numbers<I...> type; };
template <class... A, int... I>
static inline void shim_apply(void (*kernel)(A...), void** arguments, shim_numbers<I...>) {
  kernel(*(A*)arguments[I]...);
}
template <class... A> static inline void shim_call(void (*kernel)(A...), void** arguments) {
  shim_apply(kernel, arguments, typename shim_count<sizeof...(A)>::type());
}
#define SHIM_EXPORT(kernel) \
  extern "C" void call_##kernel(void** arguments) { shim_call(kernel, arguments); }

extern "C" char __start_shared_memory[] __attribute__((weak, visibility("hidden")));
extern "C" char __stop_shared_memory[] __attribute__((weak, visibility("hidden")));
extern "C" void shim_shared(char** begin, char** end) {
  *begin = __start_shared_memory;
  *end = __stop_shared_memory;
}
