"""Run-time memory as LLVM IR: blocks that one call owns, and tapes made of them.

    %heap = alloca [25 x ptr]                         ; the ring of this call's live blocks, bins
    %p = call ptr @heap_alloc(ptr %heap, i64 1024)    ; null when memory is out
    call void @heap_free(ptr %p)
    call void @heap_clear(ptr %heap)                  ; whatever is left, on each way out

A block begins with a 64-byte header that links it into its call's ring, so that leaving by an error
frees everything; the caller is given the address behind the header. `heap_keep` takes a block out
of the ring: from then on `free(address - 64)` is the owner's business.

Blocks of up to 512 MiB are of powers of two, and go to a bin of their size when they are freed,
where the next step of a loop finds them: a `malloc` of aligned memory takes longer than what is
computed in a few elements, and fresh pages longer than what is computed in many. What a call leaves
goes to the pool that all calls of a process share, `@heap_pool`, for the next one to find; where
that would be more than it may keep, all of it is given back to the system first.

A tape is a block { i64 length, i64 capacity, ptr records, ptr cursor, ptr limit, ptr chunk,
i64 chunk size }. Records lie in chunks that never move, each chunk linked to the one before;
`records` is a growing table of their addresses.
"""

from __future__ import annotations

HEADER = 64
"""Bytes between the start of a heap block and the address that its user sees."""

RING = "[25 x ptr]"
"""First and last block that is live, then bins for blocks of 2**7 to 2**29 bytes."""

POOL = "heap_pool"
"""Symbol of the memory where the pool is kept, which who links the program provides."""

POOL_WORDS = 32
"""Its 8-byte words: 1 while a thread works on it, bytes that are there, bytes that may be; from
word 7 on, the first block of 2**7 bytes, 2**8 bytes, ..."""

SHARED = """\
declare void @free(ptr)
declare i32 @sched_yield()
@heap_pool = external global [32 x ptr]

define internal void @pool_lock() #0 {
  br label %try
try:
  %before = atomicrmw xchg ptr @heap_pool, i64 1 acquire
  %got = icmp eq i64 %before, 0
  br i1 %got, label %out, label %wait
wait:
  %ignored = call i32 @sched_yield()
  br label %try
out:
  ret void
}

define internal void @pool_unlock() #0 {
  store atomic i64 0, ptr @heap_pool release, align 8
  ret void
}

define internal void @heap_drop(ptr %first) #0 {
  br label %head
head:
  %block = phi ptr [%first, %0], [%next, %drop]
  %done = icmp eq ptr %block, null
  br i1 %done, label %out, label %drop
drop:
  %next = load ptr, ptr %block
  call void @free(ptr %block)
  br label %head
out:
  ret void
}

; Gives all that is there back to the system; the pool is locked.
define internal void @pool_drain() #0 {
  br label %head
head:
  %class = phi i64 [7, %0], [%following, %head]
  %bin = getelementptr ptr, ptr @heap_pool, i64 %class
  %top = load ptr, ptr %bin
  store ptr null, ptr %bin
  call void @heap_drop(ptr %top)
  %following = add i64 %class, 1
  %more = icmp ult i64 %class, 29
  br i1 %more, label %head, label %out
out:
  %kept = getelementptr i64, ptr @heap_pool, i64 1
  store i64 0, ptr %kept
  ret void
}

define void @pool_clear() #0 {
  call void @pool_lock()
  call void @pool_drain()
  call void @pool_unlock()
  ret void
}
"""
"""The pool, and what gives its memory back."""

HEAP = """\
declare ptr @aligned_alloc(i64, i64)

; A block of 2**class bytes, null where there is none.
define internal ptr @pool_take(i64 %class) #0 {
  %bin = getelementptr ptr, ptr @heap_pool, i64 %class
  %seen = load atomic ptr, ptr %bin monotonic, align 8
  %none = icmp eq ptr %seen, null
  br i1 %none, label %out, label %look
look:
  call void @pool_lock()
  %top = load ptr, ptr %bin
  %gone = icmp eq ptr %top, null
  br i1 %gone, label %unlock, label %pop
pop:
  %below = load ptr, ptr %top
  store atomic ptr %below, ptr %bin monotonic, align 8
  %kept = getelementptr i64, ptr @heap_pool, i64 1
  %before = load i64, ptr %kept
  %size = shl i64 1, %class
  %after = sub i64 %before, %size
  store i64 %after, ptr %kept
  br label %unlock
unlock:
  call void @pool_unlock()
  br label %out
out:
  %block = phi ptr [null, %0], [%top, %unlock]
  ret ptr %block
}

; Keeps the blocks of a list, each of 2**class bytes.
define internal void @pool_give(ptr %first, i64 %class) #0 {
  %some = icmp ne ptr %first, null
  br i1 %some, label %begin, label %out
begin:
  %size = shl i64 1, %class
  %bin = getelementptr ptr, ptr @heap_pool, i64 %class
  %kept = getelementptr i64, ptr @heap_pool, i64 1
  %limit.at = getelementptr i64, ptr @heap_pool, i64 2
  %limit = load i64, ptr %limit.at
  %never = icmp ugt i64 %size, %limit
  br i1 %never, label %drop, label %lock
drop:
  call void @heap_drop(ptr %first)
  br label %out
lock:
  call void @pool_lock()
  br label %head
head:
  %block = phi ptr [%first, %lock], [%next, %push]
  %next = load ptr, ptr %block
  %before = load i64, ptr %kept
  %sum = add i64 %before, %size
  %full = icmp ugt i64 %sum, %limit
  br i1 %full, label %drain, label %push
drain:
  call void @pool_drain()
  br label %push
push:
  %there = phi i64 [%sum, %head], [%size, %drain]
  store i64 %there, ptr %kept
  %top = load ptr, ptr %bin
  store ptr %top, ptr %block
  store atomic ptr %block, ptr %bin monotonic, align 8
  %more = icmp ne ptr %next, null
  br i1 %more, label %head, label %done
done:
  call void @pool_unlock()
  br label %out
out:
  ret void
}

define internal ptr @heap_alloc(ptr %heap, i64 %bytes) #0 {
  %padded = add i64 %bytes, 127
  %exact = and i64 %padded, -64
  %last = sub i64 %exact, 1
  %zeros = call i64 @llvm.ctlz.i64(i64 %last, i1 false)
  %bits = sub i64 64, %zeros
  %class = call i64 @llvm.smax.i64(i64 %bits, i64 7)
  %small = icmp ule i64 %class, 29
  br i1 %small, label %own, label %fresh
own:
  %number = sub i64 %class, 5
  %bin = getelementptr ptr, ptr %heap, i64 %number
  %top = load ptr, ptr %bin
  %empty = icmp eq ptr %top, null
  %rounded = shl i64 1, %class
  br i1 %empty, label %shared, label %reuse
reuse:
  %below = load ptr, ptr %top
  store ptr %below, ptr %bin
  br label %link
shared:
  %found = call ptr @pool_take(i64 %class)
  %missing = icmp eq ptr %found, null
  br i1 %missing, label %fresh, label %begin
fresh:
  %size = phi i64 [%exact, %0], [%rounded, %shared]
  %place = phi ptr [null, %0], [%bin, %shared]
  %new = call ptr @aligned_alloc(i64 64, i64 %size)
  %none = icmp eq ptr %new, null
  br i1 %none, label %out, label %begin
begin:
  %got = phi ptr [%found, %shared], [%new, %fresh]
  %home = phi ptr [%bin, %shared], [%place, %fresh]
  %home.at = getelementptr i8, ptr %got, i64 16
  store ptr %home, ptr %home.at
  br label %link
out:
  ret ptr null
link:
  %block = phi ptr [%top, %reuse], [%got, %begin]
  %next = load ptr, ptr %heap
  %next.prev = getelementptr i8, ptr %next, i64 8
  %prev = getelementptr i8, ptr %block, i64 8
  store ptr %next, ptr %block
  store ptr %heap, ptr %prev
  store ptr %block, ptr %next.prev
  store ptr %block, ptr %heap
  %data = getelementptr i8, ptr %block, i64 64
  ret ptr %data
}

define internal void @heap_keep(ptr %data) #0 {
  %block = getelementptr i8, ptr %data, i64 -64
  %block.prev = getelementptr i8, ptr %block, i64 8
  %next = load ptr, ptr %block
  %prev = load ptr, ptr %block.prev
  %next.prev = getelementptr i8, ptr %next, i64 8
  store ptr %next, ptr %prev
  store ptr %prev, ptr %next.prev
  store ptr %block, ptr %block
  store ptr %block, ptr %block.prev
  ret void
}

define internal void @heap_free(ptr %data) #0 {
  call void @heap_keep(ptr %data)
  %block = getelementptr i8, ptr %data, i64 -64
  %home.at = getelementptr i8, ptr %block, i64 16
  %bin = load ptr, ptr %home.at
  %none = icmp eq ptr %bin, null
  br i1 %none, label %large, label %small
small:
  %below = load ptr, ptr %bin
  store ptr %below, ptr %block
  store ptr %block, ptr %bin
  ret void
large:
  call void @free(ptr %block)
  ret void
}

define internal void @heap_clear(ptr %heap) #0 {
  br label %live
live:
  %block = load ptr, ptr %heap
  %none = icmp eq ptr %block, %heap
  br i1 %none, label %head, label %free
free:
  %data = getelementptr i8, ptr %block, i64 64
  call void @heap_free(ptr %data)
  br label %live
head:
  %number = phi i64 [2, %live], [%following, %head]
  %bin = getelementptr ptr, ptr %heap, i64 %number
  %top = load ptr, ptr %bin
  %class = add i64 %number, 5
  call void @pool_give(ptr %top, i64 %class)
  %following = add i64 %number, 1
  %more = icmp ult i64 %number, 24
  br i1 %more, label %head, label %out
out:
  ret void
}
"""

TAPE = """\

define internal ptr @tape_new(ptr %heap) #0 {
  %tape = call ptr @heap_alloc(ptr %heap, i64 56)
  %none = icmp eq ptr %tape, null
  br i1 %none, label %out, label %clear
clear:
  store [6 x i64] zeroinitializer, ptr %tape
  %size = getelementptr i8, ptr %tape, i64 48
  store i64 2048, ptr %size
  br label %out
out:
  ret ptr %tape
}

; Room for one more address in the table; false when memory is out.
define internal i1 @tape_grow(ptr %heap, ptr %tape) #0 {
  %length = load i64, ptr %tape
  %capacity.at = getelementptr i8, ptr %tape, i64 8
  %capacity = load i64, ptr %capacity.at
  %room = icmp slt i64 %length, %capacity
  br i1 %room, label %yes, label %grow
grow:
  %twice = shl i64 %capacity, 1
  %wanted = call i64 @llvm.smax.i64(i64 %twice, i64 64)
  %bytes = shl i64 %wanted, 3
  %new = call ptr @heap_alloc(ptr %heap, i64 %bytes)
  %none = icmp eq ptr %new, null
  br i1 %none, label %no, label %move
move:
  %records.at = getelementptr i8, ptr %tape, i64 16
  %old = load ptr, ptr %records.at
  store ptr %new, ptr %records.at
  store i64 %wanted, ptr %capacity.at
  %first = icmp eq ptr %old, null
  br i1 %first, label %yes, label %copy
copy:
  %used = shl i64 %length, 3
  call void @llvm.memcpy.p0.p0.i64(ptr %new, ptr %old, i64 %used, i1 false)
  call void @heap_free(ptr %old)
  br label %yes
yes:
  ret i1 true
no:
  ret i1 false
}

; A new chunk with room for `bytes`; false when memory is out.
define internal i1 @tape_chunk(ptr %heap, ptr %tape, i64 %bytes) #0 {
  %size.at = getelementptr i8, ptr %tape, i64 48
  %size = load i64, ptr %size.at
  %twice = shl i64 %size, 1
  %capped = call i64 @llvm.smin.i64(i64 %twice, i64 16777216)
  store i64 %capped, ptr %size.at
  %wanted = call i64 @llvm.smax.i64(i64 %capped, i64 %bytes)
  %total = add i64 %wanted, 64
  %chunk = call ptr @heap_alloc(ptr %heap, i64 %total)
  %none = icmp eq ptr %chunk, null
  br i1 %none, label %no, label %yes
yes:
  %chunk.at = getelementptr i8, ptr %tape, i64 40
  %before = load ptr, ptr %chunk.at
  store ptr %before, ptr %chunk
  store ptr %chunk, ptr %chunk.at
  %cursor.at = getelementptr i8, ptr %tape, i64 24
  %cursor = getelementptr i8, ptr %chunk, i64 64
  store ptr %cursor, ptr %cursor.at
  %limit.at = getelementptr i8, ptr %tape, i64 32
  %limit = getelementptr i8, ptr %cursor, i64 %wanted
  store ptr %limit, ptr %limit.at
  ret i1 true
no:
  ret i1 false
}

; The address of a new record of `bytes` (a multiple of 8), null when memory is out.
define internal ptr @tape_push(ptr %heap, ptr %tape, i64 %bytes) #0 {
  %table = call i1 @tape_grow(ptr %heap, ptr %tape)
  br i1 %table, label %room, label %out
room:
  %cursor.at = getelementptr i8, ptr %tape, i64 24
  %limit.at = getelementptr i8, ptr %tape, i64 32
  %cursor = load ptr, ptr %cursor.at
  %limit = load ptr, ptr %limit.at
  %from = ptrtoint ptr %cursor to i64
  %to = ptrtoint ptr %limit to i64
  %left = sub i64 %to, %from
  %some = icmp ne ptr %cursor, null
  %fits = icmp sle i64 %bytes, %left
  %enough = and i1 %some, %fits
  br i1 %enough, label %place, label %more
more:
  %grown = call i1 @tape_chunk(ptr %heap, ptr %tape, i64 %bytes)
  br i1 %grown, label %place, label %out
place:
  %record = load ptr, ptr %cursor.at
  %after = getelementptr i8, ptr %record, i64 %bytes
  store ptr %after, ptr %cursor.at
  %length = load i64, ptr %tape
  %records.at = getelementptr i8, ptr %tape, i64 16
  %records = load ptr, ptr %records.at
  %slot = getelementptr ptr, ptr %records, i64 %length
  store ptr %record, ptr %slot
  %longer = add i64 %length, 1
  store i64 %longer, ptr %tape
  ret ptr %record
out:
  ret ptr null
}

define internal ptr @tape_record(ptr %tape, i64 %position) #0 {
  %records.at = getelementptr i8, ptr %tape, i64 16
  %records = load ptr, ptr %records.at
  %slot = getelementptr ptr, ptr %records, i64 %position
  %record = load ptr, ptr %slot
  ret ptr %record
}

; Records of zeros, until there are `wanted`; null when memory is out.
define internal ptr @tape_reach(ptr %heap, ptr %tape, i64 %wanted, i64 %bytes) #0 {
  br label %head
head:
  %length = load i64, ptr %tape
  %short = icmp slt i64 %length, %wanted
  br i1 %short, label %more, label %out
more:
  %record = call ptr @tape_push(ptr %heap, ptr %tape, i64 %bytes)
  %none = icmp eq ptr %record, null
  br i1 %none, label %fail, label %clear
clear:
  call void @llvm.memset.p0.i64(ptr %record, i8 0, i64 %bytes, i1 false)
  br label %head
out:
  ret ptr %tape
fail:
  ret ptr null
}

define internal void @tape_free(ptr %tape) #0 {
  %records.at = getelementptr i8, ptr %tape, i64 16
  %records = load ptr, ptr %records.at
  %empty = icmp eq ptr %records, null
  br i1 %empty, label %chunks, label %table
table:
  call void @heap_free(ptr %records)
  br label %chunks
chunks:
  %chunk.at = getelementptr i8, ptr %tape, i64 40
  %last = load ptr, ptr %chunk.at
  br label %head
head:
  %chunk = phi ptr [%last, %chunks], [%before, %drop]
  %done = icmp eq ptr %chunk, null
  br i1 %done, label %out, label %drop
drop:
  %before = load ptr, ptr %chunk
  call void @heap_free(ptr %chunk)
  br label %head
out:
  call void @heap_free(ptr %tape)
  ret void
}
"""
