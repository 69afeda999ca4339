"""Run-time memory as LLVM IR: blocks that one call owns, and tapes made of them.

    %heap = alloca [22 x ptr]                         ; the ring of this call's live blocks, bins
    %p = call ptr @heap_alloc(ptr %heap, i64 1024)    ; null when memory is out
    call void @heap_free(ptr %p)
    call void @heap_clear(ptr %heap)                  ; whatever is left, on each way out

A block begins with a 64-byte header that links it into its call's ring, so that leaving by an error
frees everything; the caller is given the address behind the header. `heap_keep` takes a block out
of the ring: from then on `free(address - 64)` is the owner's business.

Blocks of up to 64 MiB are of powers of two, and go to a bin of their size when they are freed,
where the next step of a loop finds them: a `malloc` of aligned memory takes longer than what is
computed in a few elements, and fresh pages longer than what is computed in many.

A tape is a block { i64 length, i64 capacity, ptr records, ptr cursor, ptr limit, ptr chunk,
i64 chunk size }. Records lie in chunks that never move, each chunk linked to the one before;
`records` is a growing table of their addresses.
"""

from __future__ import annotations

HEADER = 64
"""Bytes between the start of a heap block and the address that its user sees."""

RING = "[22 x ptr]"
"""First and last block that is live, then bins for blocks of 2**7 to 2**26 bytes."""

HEAP = """\
declare ptr @aligned_alloc(i64, i64)
declare void @free(ptr)

define internal ptr @heap_alloc(ptr %heap, i64 %bytes) #0 {
  %padded = add i64 %bytes, 127
  %exact = and i64 %padded, -64
  %last = sub i64 %exact, 1
  %zeros = call i64 @llvm.ctlz.i64(i64 %last, i1 false)
  %bits = sub i64 64, %zeros
  %class = call i64 @llvm.smax.i64(i64 %bits, i64 7)
  %small = icmp ule i64 %class, 26
  br i1 %small, label %pool, label %fresh
pool:
  %number = sub i64 %class, 5
  %bin = getelementptr ptr, ptr %heap, i64 %number
  %top = load ptr, ptr %bin
  %empty = icmp eq ptr %top, null
  %rounded = shl i64 1, %class
  br i1 %empty, label %fresh, label %reuse
reuse:
  %below = load ptr, ptr %top
  store ptr %below, ptr %bin
  br label %link
fresh:
  %size = phi i64 [%exact, %0], [%rounded, %pool]
  %home = phi ptr [null, %0], [%bin, %pool]
  %new = call ptr @aligned_alloc(i64 64, i64 %size)
  %none = icmp eq ptr %new, null
  br i1 %none, label %out, label %begin
begin:
  %home.at = getelementptr i8, ptr %new, i64 16
  store ptr %home, ptr %home.at
  br label %link
out:
  ret ptr null
link:
  %block = phi ptr [%top, %reuse], [%new, %begin]
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

define internal void @heap_drop(ptr %first, ptr %end) #0 {
  br label %head
head:
  %block = phi ptr [%first, %0], [%next, %drop]
  %done = icmp eq ptr %block, %end
  br i1 %done, label %out, label %drop
drop:
  %next = load ptr, ptr %block
  call void @free(ptr %block)
  br label %head
out:
  ret void
}

define internal void @heap_clear(ptr %heap) #0 {
  %first = load ptr, ptr %heap
  call void @heap_drop(ptr %first, ptr %heap)
  br label %head
head:
  %number = phi i64 [2, %0], [%following, %head]
  %bin = getelementptr ptr, ptr %heap, i64 %number
  %top = load ptr, ptr %bin
  call void @heap_drop(ptr %top, ptr null)
  %following = add i64 %number, 1
  %more = icmp ult i64 %number, 21
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
