"""Python's control flow on traced values: what rewritten functions call.

hooks       one method for each construct; `calling` for calls
branches    `if`;  loops, rolling, carrying, memory    `for` and `while`
world       what a part of a program can change; joins  where two paths meet
"""
