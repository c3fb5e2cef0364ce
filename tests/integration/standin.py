#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Stands in for the daemon towards its clients, and does what a daemon and a bus do rarely: it drops
signals, forgets records, repeats itself.

As a program, obeys one command a line:
    error N sent|dropped    there is a record N, and a signal of it arrives or not
    named TEXT              the next record has this name
    repeat N                its signal once more
    forget N                N is the oldest record from now on
    refuse, allow           what becomes of calls
    claim leave|ERROR TEXT  a claim has it leave the bus, or gets this error
    keep, release           what becomes of calls to release the function
"""
import os
import subprocess
import sys

from deadline import Deadline

STREAM = '5' * 32
MOST = 1000


class StandIn:
    """The program, run on a bus."""

    def __init__(self, bus):
        self.process = subprocess.Popen(
            ['/usr/bin/python3', __file__], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1,
            env={**os.environ, **bus.environment, 'PYTHONPATH': os.path.dirname(sys.modules['bus'].__file__)})
        self._answer('ready')

    def _answer(self, expected):
        Deadline(20, 'the stand-in').readable(self.process.stdout)
        assert self.process.stdout.readline() == expected + '\n'

    def tell(self, *commands):
        """Returns when they are done."""
        self.process.stdin.writelines(f'{command}\n' for command in commands)
        self.process.stdin.write('done\n')
        self.process.stdin.flush()
        self._answer('done')

    def close(self):
        self.process.kill()
        self.process.communicate()


def main():
    import dbus.service
    from dbus.mainloop.glib import DBusGMainLoop
    from gi.repository import GLib

    name, manager_path = 'org.zpci.Errord1', '/org/zpci/Errord1'
    error_types = 'suqsstta{sv}'

    class Function(dbus.service.Object):
        @dbus.service.signal(name + '.Function', signature=error_types)
        def ErrorReported(self, address, fid, pec, text, severity, sequence, usec, details):
            pass

        @dbus.service.method(name + '.Function')
        def Claim(self):
            if self.claim == ('leave',):
                os._exit(0)
            raise dbus.DBusException(' '.join(self.claim[1:]), name=self.claim[0])

        @dbus.service.method(name + '.Function', in_signature='ta{sv}')
        def Release(self, grace_usec, options):
            if manager.keep:
                raise dbus.DBusException('mine', name='org.freedesktop.DBus.Error.Failed')

    class Manager(dbus.service.Object):
        def __init__(self, bus):
            super().__init__(bus, manager_path)
            self.function = Function(bus, manager_path + '/function/00000010')
            self.records = {}
            self.refuse = False
            self.keep = False

        @dbus.service.method('org.freedesktop.DBus.ObjectManager', out_signature='a{oa{sa{sv}}}')
        def GetManagedObjects(self):
            return {manager_path + '/function/00000010': {name + '.Function': {
                'Address': '0001:00:00.0', 'Fid': dbus.UInt32(0x10), 'Pchid': dbus.UInt16(0x104)}}}

        @dbus.service.method(name + '.Manager', in_signature='stu', out_signature=f'stta({error_types})')
        def GetRecords(self, stream, after, most):
            if self.refuse:
                raise dbus.DBusException('not now', name='org.freedesktop.DBus.Error.Failed')
            last = max(self.records, default=0)
            oldest = min(self.records, default=last + 1)
            found = [self.records[number] for number in sorted(self.records) if number > after]
            return STREAM, oldest, last, found[:most or MOST]

        @dbus.service.method(name + '.Manager', in_signature='s', out_signature='o')
        def GetFunctionByAddress(self, address):
            if self.refuse:
                raise dbus.DBusException('not now', name='org.freedesktop.DBus.Error.Failed')
            return manager_path + '/function/00000010'

        def add(self, number, text='OORANGE'):
            self.records[number] = (
                '0001:00:00.0', dbus.UInt32(0x10), dbus.UInt16(2), text, 'recoverable', dbus.UInt64(number),
                dbus.UInt64(1700000000000000 + number), dbus.Dictionary({'StreamId': STREAM}, signature='sv'))

        def send(self, number):
            self.function.ErrorReported(*self.records[number])

        def obey(self, command, *arguments):
            if command == 'error':
                self.add(int(arguments[0]))
                if arguments[1] == 'sent':
                    self.send(int(arguments[0]))
            elif command == 'named':
                number = max(self.records, default=0) + 1
                self.add(number, ' '.join(arguments))
                self.send(number)
            elif command == 'repeat':
                self.send(int(arguments[0]))
            elif command == 'forget':
                self.records = {number: record for number, record in self.records.items()
                                if number >= int(arguments[0])}
            elif command == 'claim':
                self.function.claim = arguments
            elif command in ('refuse', 'allow'):
                self.refuse = command == 'refuse'
            elif command in ('keep', 'release'):
                self.keep = command == 'keep'
            else:
                print(command, flush=True)

    DBusGMainLoop(set_as_default=True)
    bus = dbus.SystemBus()
    manager = Manager(bus)
    owned = dbus.service.BusName(name, bus, do_not_queue=True)  # released when it is freed

    rest = ''

    def on_input(*_):
        nonlocal rest
        *lines, rest = (rest + os.read(0, 65536).decode()).split('\n')
        for line in lines:
            manager.obey(*line.split())
        return True

    GLib.io_add_watch(0, GLib.IO_IN, on_input)
    print('ready', flush=True)
    GLib.MainLoop().run()
    del owned


if __name__ == '__main__':
    main()
