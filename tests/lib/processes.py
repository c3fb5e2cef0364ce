# SPDX-License-Identifier: LGPL-2.1-or-later
"""The processes of a unit, looked at from outside of its container."""
import ctypes
import os
from pathlib import Path

from deadline import Deadline

IN_MODIFY, IN_OPEN, IN_CREATE = 0x2, 0x20, 0x100
# What runs before the program does: the service manager's own child.
LAUNCHERS = ('systemd', 'systemd-executor')

_libc = ctypes.CDLL(None, use_errno=True)


class Processes:
    def __init__(self, cgroup, program):
        """cgroup: the unit's directory, which need not be there. program: what is not a helper of it."""
        self._cgroup = Path(cgroup)
        self._program = program
        self._inotify = _libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)

    def program(self, pid):
        """The file name of what a process runs; empty if it is gone."""
        try:
            return os.path.basename(os.readlink(f'/proc/{pid}/exe'))
        except OSError:
            return ''

    def pids(self):
        try:
            return [int(pid) for pid in (self._cgroup / 'cgroup.procs').read_text().split()]
        except OSError:
            return []

    @property
    def main(self):
        """The process of the program, or what will be it in a moment; 0 if there is none."""
        return next((pid for pid in self.pids()
                     if self.program(pid) in (self._program, *LAUNCHERS)), 0)

    def wait(self, other_than=0, seconds=10, opens=None):
        """Waits until there is one that is another one than before; returns it. opens: a file that the program opens
        early; then what is only to become it does not count."""
        deadline = Deadline(seconds, lambda: f'a process of {self._cgroup.name} after {other_than}; '
                            f'there are {[(pid, self.program(pid)) for pid in self.pids()]}')
        while True:
            for path, events in (self._cgroup.parent, IN_CREATE), (self._cgroup / 'cgroup.events', IN_MODIFY):
                _libc.inotify_add_watch(self._inotify, os.fsencode(path), events)
            if opens:
                _libc.inotify_add_watch(self._inotify, os.fsencode(opens), IN_OPEN)
            main = self.main
            if main not in (0, other_than) and (not opens or self.program(main) == self._program):
                return main
            deadline.readable(self._inotify)
            os.read(self._inotify, 65536)

    def signal(self, number):
        """To all of them."""
        for pid in self.pids():
            try:
                os.kill(pid, number)
            except ProcessLookupError:
                pass

    def close(self):
        os.close(self._inotify)
