"""End worker processes together with the comparison that started them."""

from __future__ import annotations

import functools
import os
import threading
import time

_CHECK_EVERY = 1.0  # seconds


@functools.cache
def end_with(starter: int) -> None:
    """End this process as soon as the one that started it is gone.

    joblib's workers notice nothing when their parent is killed: they would finish their run, take up others that are
    waiting, and then stay. Files are written whole or not at all, so a run can be broken off anywhere. Nothing is done
    in the comparison's own process, in one that another program started, or on another machine.
    """
    if os.getppid() == starter:
        threading.Thread(target=_wait_for_the_end, args=(starter,), daemon=True).start()


def _wait_for_the_end(starter: int) -> None:
    while os.getppid() == starter:  # a process whose parent ends is given another
        time.sleep(_CHECK_EVERY)
    os._exit(1)
