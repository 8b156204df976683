"""What a model computes, in the order in which it runs: modules, functions and operators."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

import hascodesign.models.layers as kinds
from hascodesign.contract.errors import ModelError
from hascodesign.models import functions
from hascodesign.models.modules import Strange
from hascodesign.models.user_code import running

IMAGES = 2  # in the traced run: a batch of one could not be told from a dimension of size one


@dataclass(frozen=True, slots=True)
class Node:
    """One step of the graph; a function or operator stands as the module that does the same."""

    module: nn.Module
    path: str  # as in named_modules(), e.g. "features.3"; of a function its name and module
    position: int  # from 0, in the order in which steps run
    in_shape: tuple[int, ...] = ()  # of one image: (channels, height, width) or (features,)
    out_shape: tuple[int, ...] = ()
    call: int = 0  # which call of the module in one run of the model, from 0
    takes: tuple[int, ...] = ()  # positions of the steps whose values it takes; -1 = the images
    given: Any = None  # the QuantTensor that it took, where its arithmetic hangs on the format

    def __str__(self) -> str:
        kind = type(self.module).__name__
        if isinstance(self.module, Strange):
            return f"layer {self.position} '{self.path}'" + self.module.kind
        return f"layer {self.position} '{self.path}' ({kind})"

    def error(self, what: str) -> ModelError:
        """The error that refuses this layer."""
        return ModelError(f"{self} {what}")


def value_of(out: Any) -> Tensor:
    """Plain tensor of a tensor or a QuantTensor."""
    value: Tensor = out.value if isinstance(out, kinds.QuantTensor) else out
    return value


def steps(
    model: nn.Module, in_shape: tuple[int, ...], check: Callable[[Node], None] = lambda _: None
) -> tuple[Node, ...]:
    """The steps between the images and what a model returns, in the order in which they run.

    Parameters
    ----------
    model : in float64 and evaluation mode.
    in_shape : of one image as the model takes it.
    check : refuses a step; what runs behind one that is refused may well fail.

    Raises
    ------
    ModelError
        A step that is refused, the model does not run, what it returns does not come of the
        images, or a step other than an add takes more than one of the values before it.
    """
    image = torch.zeros((IMAGES, *in_shape), dtype=torch.float64)
    tracer = _Tracer(model, image)
    shape = "x".join(map(str, in_shape))
    with tracer.hooked():
        try:
            with running("forward()"), torch.no_grad(), tracer:
                out = model(image)
        except ModelError as error:
            if error.__cause__ is None:  # the tracer's own
                raise
            for node in tracer.seen():
                check(node)
            reason = str(error).removeprefix("forward(): ")
            where = f" at '{tracer.inside[-1]}'" if tracer.inside else ""
            raise ModelError(
                f"model must take images of {shape}{where}: {reason}{_hint(reason)}"
            ) from error
    nodes = tracer.back_from(out)
    for node in nodes:
        check(node)
    return nodes


@dataclass(frozen=True, slots=True)
class _Value:
    """A tensor that comes of the images."""

    tensor: Tensor  # held, so that its identity is no other's
    version: int  # changes when somebody writes into it
    step: int  # that gave it; -1 for the image


@dataclass(frozen=True, slots=True)
class _Step:
    node: Node
    takes: tuple[int, ...]  # steps


class _Tracer(TorchFunctionMode):
    """Notes every step that takes something that comes of the images."""

    def __init__(self, model: nn.Module, image: Tensor) -> None:
        super().__init__()
        self._model, self._image = model, image
        self._values: dict[int, _Value] = {}
        self._steps: list[_Step] = []
        self._calls: dict[int, int] = {}
        self._leaf = 0  # layers of a library that are running: what is in them is their own matter
        self.inside: list[str] = []  # paths of the modules that are running
        self._hold(image, -1)

    # what modules say

    def hooked(self) -> _Hooks:
        """While it lasts, modules tell of their calls."""
        hooks = _Hooks()
        for path, module, leaf in _called(self._model):
            hooks.add(module.register_forward_pre_hook(partial(self._enter, path, leaf)))
            hooks.add(
                module.register_forward_hook(partial(self._leave, path, leaf), with_kwargs=True)
            )
        return hooks

    def _enter(self, path: str, leaf: bool, module: nn.Module, args: Any) -> None:
        self.inside.append(path or "model")
        if isinstance(module, nn.Linear) and args and value_of(args[0]).dim() != 2:
            node = Node(module, path or "model", len(self._steps))
            raise node.error("must take a flat vector; put nn.Flatten before it")
        self._leaf += leaf

    def _leave(
        self, path: str, leaf: bool, module: nn.Module, args: Any, kwargs: Any, out: Any
    ) -> None:
        self.inside.pop()
        if not leaf:
            return
        self._leaf -= 1
        if self._leaf:
            return
        call = self._calls[id(module)] = self._calls.get(id(module), -1) + 1
        takes = self._known((*args, *kwargs.values()))
        if not takes:
            return
        shape = _shape(value_of(args[0])) if args and _is_value(args[0]) else ()
        quantise = f"{path or 'model'}.input_quant"
        if isinstance(module, kinds.ADDS):
            steps_held = (self._held(one) for one in (*args, *kwargs.values()))
            takes = tuple(step for step in steps_held if step is not None)
            calls = range(len(takes) * call, len(takes) * (call + 1))
            for quantiser in kinds.input_quantisers(module):
                quantised = [Node(quantiser, quantise, 0, shape, shape, one) for one in calls]
                takes = tuple(
                    self._add(node, (step,)) for node, step in zip(quantised, takes, strict=True)
                )
        else:
            for quantiser in kinds.input_quantisers(module):
                node = Node(quantiser, quantise, 0, shape, shape, call)
                takes = (self._add(node, takes),)
        first = next((one for one in _flat(out) if _is_value(one)), None)
        if first is None or not shape:
            return
        made = value_of(first)
        module = functions.simplest(module, value_of(args[0]), made)
        given = args[0] if kinds.truncates(module) else None
        node = Node(module, path or "model", 0, shape, _shape(made), call, given=given)
        step = self._add(node, takes)
        for quantiser in kinds.output_quantisers(module):
            node = Node(
                quantiser,
                f"{path or 'model'}.output_quant",
                0,
                node.out_shape,
                node.out_shape,
                call,
            )
            step = self._add(node, (step,))
        self._hold_all(out, step)

    # what functions and operators say

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        """Run a function, and note it where it takes what comes of the images."""
        kwargs = kwargs or {}
        if self._leaf:
            return func(*args, **kwargs)
        given = list(_flat((*args, *kwargs.values())))
        takes = self._known(given)
        taken = [one for one in given if self._held(one) is not None]
        pair = functions.sum_of(func, args, kwargs)
        known = [self._held(one) for one in pair.values] if pair else [None]
        out = func(*args, **kwargs)
        made = [value_of(one) for one in _flat(out) if _is_value(one)]
        if not takes or not made or all(self._held(tensor) is not None for tensor in made):
            return out
        name = getattr(func, "__name__", "function")
        module: nn.Module
        if pair is not None and None not in known:
            module, takes = pair.module, tuple(step for step in known if step is not None)
        else:
            module = functions.module_of(func, args, kwargs, value_of(taken[0]), made[0])
        where = f"{name}() in {self.inside[-1]}" if self.inside else f"{name}()"
        shapes = (_shape(value_of(taken[0])), _shape(made[0]))
        self._hold_all(out, self._add(Node(module, where, 0, *shapes), takes))
        return out

    # what is known of values

    def _add(self, node: Node, takes: tuple[int, ...]) -> int:
        self._steps.append(_Step(node, takes))
        return len(self._steps) - 1

    def _hold(self, tensor: Tensor, step: int) -> None:
        self._values[id(tensor)] = _Value(tensor, tensor._version, step)

    def _hold_all(self, out: Any, step: int) -> None:
        for one in _flat(out):
            if _is_value(one):
                self._hold(value_of(one), step)

    def _held(self, one: Any) -> int | None:
        """The step that gave a tensor; None where it does not come of the images as it is now."""
        if not _is_value(one):
            return None
        tensor = value_of(one)
        value = self._values.get(id(tensor))
        return None if value is None or value.version != tensor._version else value.step

    def _known(self, given: Iterable[Any]) -> tuple[int, ...]:
        steps = (self._held(one) for one in _flat(given))
        return tuple(dict.fromkeys(step for step in steps if step is not None))

    def seen(self) -> Iterator[Node]:
        """All steps so far."""
        return (replace(step.node, position=place) for place, step in enumerate(self._steps))

    def back_from(self, out: Any) -> tuple[Node, ...]:
        """The steps from the image to what came out, the first first."""
        step = self._held(out)
        if step is None:
            raise ModelError(
                "forward() must return one tensor that the traced layers and functions of torch"
                f" make of the images, not {type(out).__name__} that none of them gives"
            )
        waiting, known = [step], set()
        while waiting:
            one = waiting.pop()
            if one >= 0 and one not in known:
                known.add(one)
                waiting += self._steps[one].takes
        found = sorted(known)
        places = {-1: -1} | {one: place for place, one in enumerate(found)}
        return tuple(
            replace(
                self._steps[one].node,
                position=places[one],
                takes=tuple(places[taken] for taken in self._steps[one].takes),
            )
            for one in found
        )


class _Hooks:
    """Handles that are removed at the end."""

    def __init__(self) -> None:
        self._handles: list[Any] = []

    def add(self, handle: Any) -> None:
        self._handles.append(handle)

    def __enter__(self) -> None:
        return None

    def __exit__(self, *_: object) -> None:
        for handle in self._handles:
            handle.remove()


def _hint(reason: str) -> str:
    """What to do about an error of Brevitas's own that does not say it."""
    if "scale required" in reason or "bit-width required" in reason:
        return (
            "; a quantised bias takes the scale of the layer's input: give the quantiser before it"
            " return_quant_tensor=True"
        )
    if "QuantTensor' object has no attribute" in reason:
        return (
            "; a QuantTensor has not all methods of a tensor: leave return_quant_tensor=True out of"
            " the quantiser before it"
        )
    return ""


def _is_value(one: Any) -> bool:
    return isinstance(one, Tensor | kinds.QuantTensor)


def _flat(given: Any) -> Iterator[Any]:
    """Values in nested lists and tuples; a QuantTensor is one, though it is a tuple."""
    if isinstance(given, tuple | list) and not _is_value(given):
        for one in given:
            yield from _flat(one)
    else:
        yield given


def _shape(tensor: Tensor) -> tuple[int, ...]:
    return functions.shape_of(tensor)


def _called(module: nn.Module, path: str = "") -> Iterator[tuple[str, nn.Module, bool]]:
    """Path, module, and whether it is one step, of all that are not inside of one; each once."""
    known: set[int] = set()
    waiting = [(path, module)]
    while waiting:
        path, module = waiting.pop()
        if id(module) in known:
            continue
        known.add(id(module))
        leaf = kinds.is_leaf(module)
        yield path, module, leaf
        if not leaf:
            waiting += [
                (f"{path}.{name}" if path else name, child)
                for name, child in reversed(list(module.named_children()))
            ]
