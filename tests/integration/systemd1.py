# SPDX-License-Identifier: LGPL-2.1-or-later
"""systemd's manager on the bus, as python-dbusmock plays it: it has one unit, whose job is to be stopped."""
import os
import subprocess

import dbus

from monitor import Monitor

NAME, PATH, MOCK = 'org.freedesktop.systemd1', '/org/freedesktop/systemd1', 'org.freedesktop.DBus.Mock'
UNIT, JOB = f'{PATH}/unit/ours', f'{PATH}/job/1'


class Systemd1:
    """With it on the bus, a daemon that gets SIGTERM knows that there will be no next run."""

    def __init__(self, bus):
        self._process = subprocess.Popen(
            ['/usr/bin/python3', '-m', 'dbusmock', '--system', NAME, PATH, f'{NAME}.Manager'],
            stdout=subprocess.DEVNULL, env={**os.environ, **bus.environment})
        self._monitor = Monitor(bus.address, NAME)
        self._monitor.wait_owner(seconds=20)
        self._tell('AddMethod', 'sssss', f'{NAME}.Manager', 'GetUnitByPID', 'u', 'o', f'ret = "{UNIT}"')
        self._add(UNIT, f'{NAME}.Unit', Job=dbus.Struct((dbus.UInt32(1), dbus.ObjectPath(JOB)), signature='uo'))
        self._add(JOB, f'{NAME}.Job', JobType='stop')

    def _tell(self, method, signature, *arguments):
        self._monitor.call(PATH, MOCK, method, signature, *arguments)

    def _add(self, path, interface, **properties):
        self._tell('AddObject', 'ssa{sv}a(ssss)', path, interface, properties, dbus.Array(signature='(ssss)'))

    def close(self):
        self._monitor.close()
        self._process.kill()
        self._process.wait()
