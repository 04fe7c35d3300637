"""Progress of a call with many fits, as a bar or to a callable."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def reports(
    progress: bool | Callable[[int, int], object], count: int
) -> Iterator[Callable[[int], object] | None]:
    """Yield a function that the core calls with the number of finished problems."""
    if not progress:
        yield None
        return
    if callable(progress):
        yield lambda done: progress(done, count)
        return
    try:
        from tqdm.auto import tqdm
    except ImportError:
        try:
            yield lambda done: print(f"\r{done}/{count} fits", end="", file=sys.stderr, flush=True)
        finally:
            print(file=sys.stderr)
        return
    with tqdm(total=count, unit="fit") as bar:
        yield lambda done: bar.update(done - bar.n)
