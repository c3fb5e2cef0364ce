# SPDX-License-Identifier: LGPL-2.1-or-later
"""What the walkers of a random walk share."""

import collections

SECOND = 1000000  # in microseconds


class WalkError(Exception):
    """Something was not as it must be. Says which steps led there."""


class Walk:
    """What all walkers share: the guest, the dice, and the figures."""

    def __init__(self, guest, daemon, hand, dice):
        self.guest, self.daemon, self.hand, self.dice = guest, daemon, hand, dice
        self.figures = collections.Counter()
        self.slowest = collections.Counter()  # microseconds, by what was done
        self.trace = collections.deque(maxlen=60)

    def took(self, what, usec):
        self.slowest[what] = max(self.slowest[what], usec)
        assert usec < SECOND, f'{what} took {usec} us'

    def summary(self):
        counts = ', '.join(f'{count} {what}' for what, count in self.figures.items())
        times = ', '.join(f'{what} {usec / 1000:.0f} ms' for what, usec in self.slowest.items())
        return f'{counts}; at most: {times}'
