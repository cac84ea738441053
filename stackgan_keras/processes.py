"""Work in several processes, which end with the one that started them, whatever ends that."""

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from multiprocessing.process import BaseProcess
from typing import Any

STOPS = (signal.SIGINT, signal.SIGTERM)  # Ctrl-C, and a polite kill


@contextmanager
def mapped(function: Callable, items: Iterable, workers: int, *, chunksize: int = 1) -> Iterator[Iterator[Any]]:
    """The results of a function of each item, in order; whoever leaves the block early does not wait for the rest."""
    spawn = multiprocessing.get_context("spawn")  # a forked TensorFlow may hang
    pool = ProcessPoolExecutor(workers, mp_context=spawn, initializer=_stand_apart)
    try:
        with _held_back():
            results = pool.map(function, items, chunksize=chunksize)  # starts the workers
        yield results
    finally:
        pool.shutdown(cancel_futures=True)


def cores() -> int:
    """The cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@contextmanager
def _held_back() -> Iterator[None]:
    """Processes that are started in this block get no Ctrl-C and no kill until `_stand_apart`."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, STOPS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _stand_apart() -> None:
    """Takes a worker out of the group that a terminal stops as a whole: its parent ends it, and it ends with that."""
    os.setpgrp()
    for number in STOPS:
        signal.signal(number, signal.SIG_IGN)  # forgets what was held back
    signal.pthread_sigmask(signal.SIG_UNBLOCK, STOPS)
    for number in STOPS:
        signal.signal(number, signal.SIG_DFL)
    threading.Thread(target=_end_with, args=(multiprocessing.parent_process(),), daemon=True).start()


def _end_with(parent: BaseProcess) -> None:
    parent.join()
    os._exit(1)
