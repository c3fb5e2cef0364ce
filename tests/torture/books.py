# SPDX-License-Identifier: LGPL-2.1-or-later
"""What was done to the functions: every error has a number, and the books have what the kernel made of it."""
from collections import Counter
from dataclasses import dataclass, field

from witnesses import key

# Codes that no table has, one for each number; so what only the kernel log told is told apart, too.
PEC_FIRST, PEC_COUNT = 0x100, 0xfe00
SAME_PEC = 2

FAST = {'open_ms': 1, 'reset_ms': 1, 'close_ms': 1, 'eagain_ms': 1}


@dataclass
class Function:
    address: str
    fid: int
    settings: dict
    numbered: bool = True   # by its code; otherwise all errors have the same
    watched: bool = False   # the daemon does not hold it
    present: bool = False   # claimed and known to be kept, or watched
    count: int = 0          # the number of the last error
    opens: int = None       # how often it was opened when it became present
    expected: Counter = field(default_factory=Counter)
    dropped: int = 0

    def next_error(self):
        """The fields of the next one."""
        self.count += 1
        pec = PEC_FIRST + self.count % PEC_COUNT if self.numbered else SAME_PEC
        return {'pec': pec, 'faddr': self.count << 12}

    def enter(self, fields, result):
        """Returns whether it happened at all."""
        if result == 'frozen':
            return False
        held = result == 'queued' and not self.watched
        address = fields['faddr'] if self.settings.get('uapi', 'ccdf') == 'ccdf' else None
        self.expected[key(self.fid, 'vfio' if held else 'kmsg', fields['pec'], address)] += 1
        if result == 'dropped' and not self.watched:
            self.dropped += 1
        return True


class Books:
    def __init__(self, functions):
        self.functions = functions
        self.results = Counter()

    @property
    def expected(self):
        return sum((function.expected for function in self.functions), Counter())

    @property
    def dropped(self):
        return {function.fid: function.dropped for function in self.functions if function.dropped}

    def enter(self, function, fields, result):
        if function.enter(fields, result):
            self.results['not held' if function.watched else result] += 1

    def _missing(self, witness):
        return self.expected - Counter(witness.errors.values())

    def is_unnamed(self, account):
        """An error that the kernel dropped, and so announced by its number, and whose code others have too. After a
        crash in the midst of a burst its line in the kernel log may pass for one of theirs (daemon/pairing.h)."""
        fid, source, pec, _ = account
        return source == 'kmsg' and pec == SAME_PEC and fid in self.dropped

    def difference(self, witness):
        """(lost, invented): what one witness does not have, and what only it has."""
        lost = {account: count for account, count in self._missing(witness).items() if not self.is_unnamed(account)}
        return lost, Counter(witness.errors.values()) - self.expected

    def unnamed(self, witness):
        return sum(count for account, count in self._missing(witness).items() if self.is_unnamed(account))

    def unannounced(self, witness):
        """Of each function how many of its losses were not announced; below zero, too many were."""
        announced = Counter()
        for (fid, count), times in witness.losses.items():
            announced[fid] += count * times
        return {fid: self.dropped.get(fid, 0) - announced[fid]
                for fid in {*self.dropped, *announced} if self.dropped.get(fid, 0) != announced[fid]}
