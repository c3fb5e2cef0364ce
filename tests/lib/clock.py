# SPDX-License-Identifier: LGPL-2.1-or-later
"""A wall clock of one's own, which jumps at will: that of every process that is started with it."""
import mmap
import os
import struct
import time
from pathlib import Path


class Clock:
    """Right at first."""

    def __init__(self, build, directory):
        self._library = build / 'tests' / 'sim' / 'libzpci-sim-clock.so'
        self._path = Path(directory) / 'clock'
        self._path.write_bytes(bytes(8))
        with open(self._path, 'r+b') as file:
            self._shift = mmap.mmap(file.fileno(), 8)

    def preload(self, libraries=''):
        """Environment variables of a process that has it; `libraries` are what else it preloads."""
        preload = ':'.join(filter(None, [libraries, str(self._library)]))
        return {'ZPCI_SIM_CLOCK': str(self._path), 'LD_PRELOAD': preload}

    def set(self, seconds):
        """How much it is ahead of ours."""
        struct.pack_into('q', self._shift, 0, seconds * 1000000)

    def now_usec(self):
        return time.time_ns() // 1000 + struct.unpack_from('q', self._shift)[0]

    def close(self):
        self._shift.close()
        os.unlink(self._path)
