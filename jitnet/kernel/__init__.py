"""Floor 1: the kernel level. Loops, memory, scalar ops, extern routines; knows no array op."""
