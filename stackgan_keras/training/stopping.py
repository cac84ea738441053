"""Ctrl-C and a polite kill during a training: they end it between two steps, on all machines after the same one."""

import signal
import threading
from types import FrameType
from typing import Any


class Stop:
    """Notes Ctrl-C and SIGTERM until its block ends; the second one raises `KeyboardInterrupt` at once.

    Only those that would have raised it anyway are noted, and only in the main thread, which alone gets them.
    """

    def __init__(self) -> None:
        self.asked = False  # of this process
        self._before: dict[int, Any] = {}

    def __enter__(self) -> "Stop":
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                if signal.getsignal(number) is signal.default_int_handler:
                    self._before[number] = signal.signal(number, self._note)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _note(self, number: int, frame: FrameType | None) -> None:
        if self.asked:
            raise KeyboardInterrupt
        self.asked = True
