# SPDX-License-Identifier: LGPL-2.1-or-later
"""polkit as python-dbusmock plays it: says what it is told to, when it is told to."""
import os
import subprocess

from deadline import Deadline
from monitor import Monitor

NAME = 'org.freedesktop.PolicyKit1'
AUTHORITY = '/org/freedesktop/PolicyKit1/Authority'
MOCK = 'org.freedesktop.DBus.Mock'


class Polkit:
    """On a bus; says no at first."""

    def __init__(self, bus):
        self._process = subprocess.Popen(
            ['/usr/bin/python3', '-m', 'dbusmock', '--system', '--template', 'polkitd'],
            stdout=subprocess.DEVNULL, env={**os.environ, **bus.environment})
        self._monitor = Monitor(bus.address, NAME)
        self._monitor.wait_owner(seconds=20)

    def _tell(self, method, signature='', *arguments):
        return self._monitor.call(AUTHORITY, MOCK, method, signature, *arguments)

    def allow(self, *actions):
        """Says yes to these and no to all others."""
        self._tell('SetAllowed', 'as', [f'org.zpci.Errord1.{action}' for action in actions])

    def hang(self, hang):
        """Whether questions from now on are answered by release() only."""
        self._tell('SimulateHang', 'b', hang)

    def wait_asked(self):
        """Until a question waits for release()."""
        deadline = Deadline(30, 'polkit to be asked')
        while not self._tell('HaveHangingCalls'):
            deadline.left()

    def release(self):
        self._tell('ReleaseHangingCalls')

    def close(self):
        self._monitor.close()
        self._process.kill()
        self._process.wait()
