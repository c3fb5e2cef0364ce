# SPDX-License-Identifier: LGPL-2.1-or-later
"""Waiting for events, and saying what was waited for when none came."""
import os
import select
import time

_scale = float(os.environ.get('ZPCI_ERRORD_TIMEOUT_SCALE', '1'))


def slow_down(factor):
    """For what makes everything slower: Valgrind, an emulated machine."""
    global _scale
    _scale *= factor


def scaled(seconds):
    return seconds * _scale


class Deadline:
    """A point in time, and the event that has to have come by then."""

    def __init__(self, seconds, what):
        """seconds: before slow_down(). what: a string, or a callable that gives one when it is too late."""
        self.seconds = scaled(seconds)
        self.what = what
        self._end = time.monotonic() + self.seconds

    def left(self):
        """Seconds left; AssertionError when there are none."""
        left = self._end - time.monotonic()
        if left <= 0:
            what = self.what() if callable(self.what) else self.what
            raise AssertionError(f'waited {self.seconds:g} s for {what}')
        return left

    def readable(self, *fds):
        """Waits until one of the file descriptors is readable, or at its end."""
        poll = select.poll()
        for fd in fds:
            poll.register(fd, select.POLLIN)
        while not poll.poll(self.left() * 1000):
            pass
