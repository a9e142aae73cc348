"""End worker processes together with the comparison that started them."""

from __future__ import annotations

import functools
import os
import platform
import threading
import time

_CHECK_EVERY = 1.0  # seconds


class ComparisonGoneError(RuntimeError):
    """The comparison that a run belongs to has ended without it."""


def check_starter(starter: int, host: str) -> None:
    """Refuse to begin a run whose comparison is gone.

    One that is killed while its workers start leaves them a queue of runs, and the folder free for the next comparison.

    Args:
        starter: Number of the process that the comparison goes on in.
        host: Name of its machine; nothing is known of processes on another.

    Raises:
        ComparisonGoneError: If there is no such process.
    """
    if os.name != "posix" or host != platform.node():  # elsewhere, to ask for a process is to end it
        return
    try:
        os.kill(starter, 0)
    except ProcessLookupError:
        raise ComparisonGoneError(f"the comparison in process {starter} has ended, and this run with it") from None
    except PermissionError:
        return  # it is there, and somebody else's


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
