"""`Specialisation`: a function that is compiled for one kind of arguments.

    made = assemble(traced, types, options)
    made.run(leaves, arguments)      # flat arrays in; results, views and changed objects out

The executable knows arrays only. A specialisation takes them out of the arguments, and makes of its
results what the function returns: the arguments themselves, views of them, scalars, containers.
"""

from __future__ import annotations

import itertools
import os
import sys
from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from jitnet import config
from jitnet.frontend import aliasing, signature
from jitnet.frontend.device_arrays import device_for, device_of, home_of, is_array
from jitnet.frontend.effects import Known, carry_out, given
from jitnet.frontend.pytree import LEAF, unflatten
from jitnet.frontend.signature import Abstract, LeafType
from jitnet.frontend.traced import Chosen, Input, Output, Slot, Spread, Traced, ViewStep
from jitnet.frontend.tracer import Flavour, layout_of
from jitnet.ir import Value
from jitnet.runtime.options import Options

if TYPE_CHECKING:
    from jitnet.frontend.backend import Executable
    from jitnet.runtime.dispatch import Entry


@dataclass(frozen=True)
class Specialisation:
    """A compiled function for one kind of arguments.

    Attributes:
        types: of the leaves of the arguments.
        computed: for each result of the traced Function that the executable has, where.
        calls: counts the calls that came by Python.
        entry: holds the native entry once one was asked for, or None where there can be none.
    """

    traced: Traced
    types: Sequence[LeafType]
    executable: Executable
    computed: dict[int, int]
    calls: Iterator[int] = field(default_factory=itertools.count)
    entry: list[Entry | None] = field(default_factory=list)

    def inputs(self, leaves: Sequence[Any]) -> list[Any]:
        return [_given(source, leaves) for source in self.traced.inputs]

    @property
    def changed(self) -> list[int]:
        """The arguments whose memory is written to."""
        inputs = (self.traced.inputs[source] for source in self.traced.stores.values())
        return [given.leaf for given in inputs if given.leaf is not None]

    def run(self, leaves: Sequence[Any], arguments: Any) -> Any:
        if self.executable.device is None:
            return self._run(leaves, arguments)
        with self.executable.device.current():  # copies are made there, too
            return self._run(leaves, arguments)

    def _run(self, leaves: Sequence[Any], arguments: Any) -> Any:
        flat = self.inputs(leaves)
        stored = {self.computed[result] for result in self.traced.stores}
        results = _own(self.executable.run(flat), flat, stored)
        made: dict[int, Any] = {}

        def hand_out(output: Output | Chosen | Spread | Known) -> Any:
            while isinstance(output, Chosen):  # a closure that names itself would live on
                output = output.one if results[self.computed[output.result]] else output.other
            if isinstance(output, Spread):
                return self._items(output, results)
            if isinstance(output, Known):
                return given(arguments, output)
            return self._hand_out(output, results, flat, made)

        out = [hand_out(o) for o in self.traced.outputs]
        carry_out(self.traced.effects, arguments, hand_out)
        tree = self.traced.out_tree
        return out[0] if tree.tokens == (LEAF,) else unflatten(tree, out)

    def _hand_out(
        self, output: Output, results: Sequence[Any], flat: Sequence[Any], made: dict[int, Any]
    ) -> Any:
        """A leaf of the result; `made` keeps what is one object under several names."""
        if output.result is None:
            value = output.value
            return value.copy() if is_array(value) else value
        if output.source is not None:
            whole = flat[output.source]
        else:
            if output.result not in made:
                place = self.computed[output.result]
                result = results[place]
                if any(self.computed[r] == place for r in made) and is_array(result):
                    result = result.copy()  # one value, two objects
                found = _flavoured(result, output.flavour)
                made[output.result] = found.T if output.by_columns else found
            whole = made[output.result]
        return whole if output.view is None else self._view(whole, output.view, results)

    def _items(self, output: Spread, results: Sequence[Any]) -> list[Any]:
        """The items of a list, each with objects of its own."""
        parts = [results[self.computed[r]] for r in output.results]
        columns = [_column(part, f) for part, f in zip(parts, output.flavours)]
        if output.tree.tokens == (LEAF,):
            return columns[0]
        first, *rest = output.tree.tokens
        if first[0] is tuple and all(token is LEAF for token in rest):
            return list(zip(*columns))
        return [unflatten(output.tree, row) for row in zip(*columns)]

    def _view(self, x: Any, steps: Sequence[ViewStep], results: Sequence[Any]) -> Any:
        if not steps:
            return x.view()
        for step in steps:
            numbers = [
                int(results[self.computed[n.result]]) if isinstance(n, Slot) else n
                for n in step.numbers
            ]
            x = step.of(x, numbers)
        return x


def _column(part: Any, flavour: Flavour) -> list[Any]:
    """One part of all items of a list."""
    if part.ndim > 1 or flavour == "array":
        return [_flavoured(v.copy(), flavour) for v in part]
    found: list[Any] = part.tolist() if flavour == "python" else list(part)
    return found


def _given(source: Input, leaves: Sequence[Any]) -> Any:
    """What a call passes for a param."""
    if source.leaf is None:
        return source.capture
    leaf = leaves[source.leaf]
    if source.axis is not None:
        return leaf.shape[source.axis]
    return leaf if source.whole is None else aliasing.whole_of(leaf, source.whole)


def _own(results: Sequence[Any], flat: Sequence[Any], stored: Set[int]) -> list[Any]:
    """Results of which no two, and none and an argument, are the same array, save those that are
    stored to an argument."""
    taken = {id(x) for x in flat}
    own = []
    for i, result in enumerate(results):
        if is_array(result) and i not in stored:
            result = result.copy() if id(result) in taken else result
            taken.add(id(result))
        own.append(result)
    return own


def _flavoured(result: Any, flavour: Flavour) -> Any:
    """A result of rank 0 as what NumPy and Python would give; of a device, as its library would,
    whose scalars are arrays."""
    if device_of(type(result)) is not None:
        return result.item() if flavour == "python" else result
    if flavour == "array":
        return np.asarray(result)
    if not isinstance(result, (np.ndarray, np.generic)):  # a Python number of the caller's: n + 0
        result = np.asarray(result)
    return result[()] if flavour == "scalar" else result.item()


def assemble(traced: Traced, types: Sequence[LeafType], options: Options) -> Specialisation:
    """Compile what is not simply an argument.

    Raises:
        ArgumentError: where the arrays are on several devices.
    """
    function = traced.function
    every = [*traced.outputs, *(o for e in traced.effects for o in e.outputs)]
    handed_out = [p for o in every for p in (o.outputs() if isinstance(o, Chosen) else [o])]
    arguments = {o.result for o in handed_out if isinstance(o, Output) and o.source is not None} - {
        *traced.stores
    }
    places: dict[Value, int] = {}
    values: list[Value] = []
    computed = {}
    for i, value in enumerate(function.results):
        if i in traced.stores:  # has a result of its own, in memory of the caller's
            computed[i] = len(values)
            values.append(value)
        elif i not in arguments:
            if value not in places:
                places[value] = len(values)
                values.append(value)
            computed[i] = places[value]
    from jitnet.frontend import backend  # the code generator, 40 ms that `import jitnet` can spare

    program = replace(function, results=tuple(values), _hash=[])
    layouts = [_layout(types, source) for source in traced.inputs]
    stores = {computed[result]: source for result, source in traced.stores.items()}
    homes = [_home(types, source) for source in traced.inputs]
    arrays = [home for home, p in zip(homes, function.params) if home or p.rank]
    own = replace(options, device=device_for(options.device, arrays))
    resident = [home is not None for home in homes]
    executable = backend.compile(program, layouts, stores, own, resident)
    return Specialisation(traced, types, executable, computed)


def _home(types: Sequence[LeafType], source: Input) -> str | None:
    """The device on which an input is."""
    if source.leaf is None:
        return home_of(source.capture)
    leaf = types[source.leaf]
    return leaf.device if isinstance(leaf, Abstract) and source.axis is None else None


def _layout(types: Sequence[LeafType], source: Any) -> str:
    if source.leaf is None:
        return layout_of(source.capture)
    leaf = types[source.leaf]
    assert isinstance(leaf, Abstract)
    if source.axis is not None:
        return "C"
    return leaf.layout if source.whole is None else "C"


# -- what the environment asks to see --------------------------------------------------------------

_DUMPS = itertools.count(1)


def report_again(key: Any, made: Specialisation, before: Mapping[Any, Specialisation]) -> None:
    """Say what is new where a function is compiled again."""
    if before and "recompiles" in config.read().log:
        from jitnet.frontend import explaining  # which few want

        told = explaining.difference(key, made, before)
        print(f"jitnet: {made.traced.function.name} is compiled again: {told}", file=sys.stderr)


def report(
    traced: Traced,
    types: Sequence[LeafType],
    made: Specialisation,
    milliseconds: Mapping[str, float],
    total: float,
) -> None:
    settings = config.read()
    name = traced.function.name
    if "compiles" in settings.log:
        times = ", ".join(f"{stage} {ms:.1f}" for stage, ms in milliseconds.items())
        kinds = signature.describe(traced.names, types)
        line = f"jitnet: compiled {name}({kinds}) in {total:.1f} ms ({times})"
        print(line, file=sys.stderr, flush=True)
    if settings.dump is None:
        return
    os.makedirs(settings.dump, exist_ok=True)
    number = next(_DUMPS)
    for i, (stage, text) in enumerate(made.executable.stages.items()):
        path = os.path.join(settings.dump, f"{number:04d}-{name}-{i}-{stage}.txt")
        with open(path, "w", encoding="utf-8") as file:
            file.write(text)
