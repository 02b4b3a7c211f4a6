"""Cached tensors that are created outside of torch.func transforms."""

import functools
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")


def lasting(make: Callable[P, T]) -> Callable[P, T]:
    """Run a function outside of every ``torch.func`` transform and of inference mode; a decorator.

    A tensor that is made within ``torch.func.grad`` belongs to that call and cannot be used after it, nor can
    a tensor made in inference mode be used in training; so neither may be kept. Both states are the thread's,
    so the function runs in a thread of its own.
    """

    @functools.wraps(make)
    def outside(*args: P.args, **kwargs: P.kwargs) -> T:
        with ThreadPoolExecutor(1) as thread:
            return thread.submit(make, *args, **kwargs).result()

    return outside
