#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""A subscriber as zpci-errord's documentation asks for: subscribes, fills what it missed with GetRecords(), and
connects again when the bus is gone. Knows nothing of the tests.

subscriber.py ADDRESS: prints one JSON object a line, for what it got and for what it did."""
import collections
import json
import os
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', 'lib'))

import dbus  # noqa: E402
import dbus.bus  # noqa: E402
import dbus.lowlevel  # noqa: E402
from dbus.mainloop.glib import DBusGMainLoop  # noqa: E402
from gi.repository import GLib  # noqa: E402

from monitor import MANAGER, NAME, plain  # noqa: E402

RECONNECT_SECONDS = 0.05
CALL_SECONDS = 10
LOCAL = 'org.freedesktop.DBus.Local'


def say(what, **more):
    def text(value):
        return value.hex()  # bytes, all else is JSON's own
    print(json.dumps({'what': what, **more}, default=text), flush=True)


class Subscriber:
    def __init__(self, address):
        self.address = address
        self.stream, self.last = '', 0
        self.queue = collections.deque()
        self.connection = None
        self.behind = False  # it may have missed something

    def connect(self):
        self.queue.clear()
        self.connection = dbus.bus.BusConnection(self.address, mainloop=DBusGMainLoop())
        self.connection.set_exit_on_disconnect(False)
        self.connection.add_message_filter(self.take)
        self.connection.add_match_string(f"type='signal',sender='{NAME}'")
        self.connection.add_match_string(
            f"type='signal',sender='org.freedesktop.DBus',member='NameOwnerChanged',arg0='{NAME}'")
        self.behind = True
        say('connected')

    def take(self, _connection, message):
        if message.get_type() == dbus.lowlevel.MESSAGE_TYPE_SIGNAL:
            self.queue.append(
                (message.get_sender(), str(message.get_interface()), str(message.get_member()),
                 str(message.get_path()), plain(message.get_args_list(byte_arrays=False))))
        return dbus.lowlevel.HANDLER_RESULT_NOT_YET_HANDLED

    def record(self, source, fields):
        stream, sequence = fields[7]['StreamId'], fields[5]
        if stream != self.stream:
            self.stream, self.last = stream, 0
        if sequence == self.last + 1:
            self.last = sequence
        say('record', source=source, stream=stream, sequence=sequence, fields=fields)

    def fill(self):
        """Asks for what it does not know yet. Without a daemon, the next one is asked."""
        try:
            while True:
                stream, oldest, last, records = plain(self.connection.call_blocking(
                    NAME, MANAGER, f'{NAME}.Manager', 'GetRecords', 'stu', [self.stream, self.last, 0],
                    timeout=CALL_SECONDS))
                if stream != self.stream:
                    self.stream, self.last = stream, 0
                if oldest > self.last + 1:
                    say('gap', stream=stream, after=self.last, oldest=oldest)
                    self.last = oldest - 1
                for fields in records:
                    self.record('GetRecords', fields)
                if not records or records[-1][5] >= last:
                    break
        except dbus.DBusException as error:
            say('unanswered', error=error.get_dbus_name())
            return
        self.behind = False
        say('filled', stream=self.stream, last=self.last)

    def handle(self, sender, interface, member, path, args):
        """Returns False when the connection is gone."""
        if interface == LOCAL:
            return member != 'Disconnected'
        if sender == 'org.freedesktop.DBus':
            if member == 'NameOwnerChanged' and args[2] and self.behind:
                self.fill()
        elif member == 'ErrorReported':
            self.record('signal', args)
        else:
            say('signal', member=member, path=path, args=args)
        return True

    def run(self):
        """Returns when the connection is gone."""
        self.connect()
        self.fill()
        context = GLib.MainContext.default()
        while True:
            while self.queue:
                if not self.handle(*self.queue.popleft()):
                    say('disconnected')
                    return
            context.iteration(True)


def main():
    subscriber = Subscriber(sys.argv[1])
    while True:
        try:
            subscriber.run()
        except dbus.DBusException as error:
            say('refused', error=error.get_dbus_name())
            time.sleep(RECONNECT_SECONDS)


if __name__ == '__main__':
    main()
