// Runs a grid of CUDA threads on one CPU thread: block after block, and inside of a block thread
// after thread, each until it returns or comes to a barrier. A thread that waits keeps its fiber (a
// stack of its own); threads that never wait share one, so that kernels without barriers are loops.
//
//   round 0: every thread runs to its first barrier, or to its end
//   round n: every thread goes on to the next one, in the order asked for
//
// A barrier that some threads of a block reach and others do not is an error, as it is on a GPU.
// Threads that wait for their warp go on as soon as all of it does.

#include <sys/mman.h>
#include <ucontext.h>

#include <algorithm>
#include <cstdio>
#include <cstring>
#include <string>
#include <utility>
#include <vector>

struct Index3 {
  unsigned int x, y, z;
};

extern "C" {
Index3 threadIdx, blockIdx, blockDim, gridDim;
}

namespace {

const size_t STACK = 256 << 10;

#if defined(__x86_64__)
typedef void* Context;  // a stack pointer, below it the registers that a call keeps
asm(R"(
.text
.type shim_switch,@function
shim_switch:
  push %rbp
  push %rbx
  push %r12
  push %r13
  push %r14
  push %r15
  mov %rsp,(%rdi)
  mov %rsi,%rsp
  pop %r15
  pop %r14
  pop %r13
  pop %r12
  pop %rbx
  pop %rbp
  ret
)");
extern "C" void shim_switch(Context* from, Context to);
void go(Context& from, Context& to) { shim_switch(&from, to); }

void prepare(Context& context, char* stack, void (*entry)()) {
  unsigned long long* top = (unsigned long long*)(stack + STACK);
  *--top = 0;  // no return address: the entry never returns
  *--top = (unsigned long long)entry;
  top -= 6;
  memset(top, 0, 6 * sizeof *top);
  context = top;
}
#else
typedef ucontext_t Context;
void go(Context& from, Context& to) { swapcontext(&from, &to); }

void prepare(Context& context, char* stack, void (*entry)()) {
  getcontext(&context);
  context.uc_stack.ss_sp = stack;
  context.uc_stack.ss_size = STACK;
  context.uc_link = nullptr;
  makecontext(&context, entry, 0);
}
#endif

struct Fiber {
  char* stack;
  Context context;
};

struct Waiting {
  unsigned int thread;
  int fiber;
  int line;
  bool of_warp;  // for the other threads of the warp, not for the block's
};

std::vector<Fiber*> fibers;
std::vector<int> idle;          // fibers that wait for work
std::vector<Waiting> waiting;   // threads at a barrier
std::vector<unsigned int> order;  // of the threads of a block
std::vector<unsigned int> gathered;  // of each warp, how many threads wait for each other
std::vector<unsigned int> whole;  // warps of which all do
Context scheduler;
int running = -1;               // the fiber
unsigned int next = 0;          // of `order`, the first thread that has not begun
unsigned int ended = 0;
unsigned long long state;
std::string error;
void (*kernel)(void**);
void** arguments;

unsigned int random_below(unsigned int n) {
  state = state * 6364136223846793005ull + 1442695040888963407ull;
  return (unsigned int)((state >> 33) % n);
}

// 0: as they are numbered, 1: the other way round, from 2 on: at random
template <class T> void arrange(std::vector<T>& items, int schedule) {
  size_t n = items.size();
  if (schedule == 1)
    for (size_t i = 0; i < n / 2; i++) std::swap(items[i], items[n - 1 - i]);
  if (schedule > 1)
    for (size_t i = n; i > 1; i--) std::swap(items[i - 1], items[random_below(i)]);
}

void fail(const std::string& what) {
  if (error.empty()) error = what + " (block " + std::to_string(blockIdx.x) + ")";
}

void work() {
  for (;;) {
    while (next < order.size()) {
      threadIdx.x = order[next++];
      kernel(arguments);
      ended++;
    }
    idle.push_back(running);
    int fiber = running;
    go(fibers[fiber]->context, scheduler);
  }
}

int idle_fiber() {
  if (!idle.empty()) {
    int fiber = idle.back();
    idle.pop_back();
    return fiber;
  }
  Fiber* made = new Fiber;
  int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE;
  made->stack = (char*)mmap(nullptr, STACK, PROT_READ | PROT_WRITE, flags, -1, 0);
  mprotect(made->stack, 4096, PROT_NONE);
  prepare(made->context, made->stack, work);
  fibers.push_back(made);
  return (int)fibers.size() - 1;
}

void resume(int fiber) {
  running = fiber;
  go(scheduler, fibers[fiber]->context);
}

unsigned int size_of_warp(unsigned int warp) {
  return std::min<size_t>(32, order.size() - warp * 32);
}

// Takes the threads of a warp all of which wait for each other out of `waiting`.
std::vector<Waiting> whole_warp() {
  std::vector<Waiting> ready, rest;
  if (whole.empty()) return ready;
  for (const Waiting& w : waiting) (w.of_warp && w.thread / 32 == whole.back() ? ready : rest).push_back(w);
  for (const Waiting& w : ready)
    if (w.line != ready[0].line) fail("threads of a warp wait at different barriers, lines " + std::to_string(ready[0].line) + " and " + std::to_string(w.line));
  gathered[whole.back()] = 0;
  whole.pop_back();
  waiting.swap(rest);
  return ready;
}

// Each warp runs as far ahead of the others as barriers let it.
void go_on_warps(int schedule) {
  for (;;) {
    std::vector<Waiting> ready = whole_warp();
    if (ready.empty() || !error.empty()) return;
    arrange(ready, schedule);
    for (const Waiting& w : ready) {
      threadIdx.x = w.thread;
      resume(w.fiber);
    }
  }
}

void run_block(int schedule) {
  next = ended = 0;
  waiting.clear();
  whole.clear();
  gathered.assign((order.size() + 31) / 32, 0);
  while (next < order.size() && error.empty()) {
    resume(idle_fiber());
    go_on_warps(schedule);
  }
  while (!waiting.empty() && error.empty()) {
    for (const Waiting& w : waiting)
      if (w.of_warp) fail("a thread waits for others of its warp in line " + std::to_string(w.line) + ", which do not come");
    if (ended) fail("a thread ends while others wait at a barrier in line " + std::to_string(waiting[0].line));
    for (const Waiting& w : waiting)
      if (w.line != waiting[0].line) fail("threads of a block wait at different barriers, lines " + std::to_string(waiting[0].line) + " and " + std::to_string(w.line));
    if (!error.empty()) break;
    std::vector<Waiting> ready;
    ready.swap(waiting);
    arrange(ready, schedule);
    for (const Waiting& w : ready) {
      threadIdx.x = w.thread;
      resume(w.fiber);
      go_on_warps(schedule);
      if (!error.empty()) break;
    }
  }
}

void forget_fibers() {  // those that hang at a barrier after an error
  for (Fiber* fiber : fibers) {
    munmap(fiber->stack, STACK);
    delete fiber;
  }
  fibers.clear();
  idle.clear();
}

}  // namespace

extern "C" {

void shim_barrier(int line, bool of_warp) {
  int fiber = running;
  waiting.push_back(Waiting{threadIdx.x, fiber, line, of_warp});
  unsigned int warp = threadIdx.x / 32;
  if (of_warp && ++gathered[warp] == size_of_warp(warp)) whole.push_back(warp);
  go(fibers[fiber]->context, scheduler);
}

// Returns what went wrong, or an empty string.
const char* shim_launch(void (*call)(void**), void (*shared)(char**, char**), void** given,
                        unsigned int blocks, unsigned int threads, int schedule) {
  error.clear();
  kernel = call;
  arguments = given;
  gridDim = {blocks, 1, 1};
  blockDim = {threads, 1, 1};
  state = 88172645463325252ull + schedule;
  char *begin, *end;
  shared(&begin, &end);
  std::vector<unsigned int> grid(blocks);
  for (unsigned int i = 0; i < blocks; i++) grid[i] = i;
  arrange(grid, schedule);
  for (unsigned int block : grid) {
    blockIdx = {block, 0, 0};
    order.resize(threads);
    for (unsigned int i = 0; i < threads; i++) order[i] = i;
    arrange(order, schedule);
    if (end > begin) memset(begin, 0xFF, end - begin);
    run_block(schedule);
    if (!error.empty()) break;
  }
  if (!error.empty()) forget_fibers();
  return error.c_str();
}
}
