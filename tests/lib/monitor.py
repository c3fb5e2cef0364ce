# SPDX-License-Identifier: LGPL-2.1-or-later
"""A subscriber of the daemon's signals, and caller of its methods."""
from dataclasses import dataclass

import dbus
import dbus.bus
import dbus.lowlevel
from dbus.mainloop.glib import DBusGMainLoop
from gi.repository import GLib

from deadline import Deadline, scaled

NAME = 'org.zpci.Errord1'
MANAGER = '/org/zpci/Errord1'
PROPERTIES = 'org.freedesktop.DBus.Properties'


def plain(value):
    """A value of Python's own types; a byte array is bytes."""
    if isinstance(value, dbus.Array) and value.signature == 'y':
        return bytes(value)
    if isinstance(value, (dbus.Array, list)):
        return [plain(item) for item in value]
    if isinstance(value, (dbus.Struct, tuple)):
        return tuple(plain(item) for item in value)
    if isinstance(value, dict):
        return {plain(key): plain(item) for key, item in value.items()}
    if isinstance(value, dbus.Boolean):
        return bool(value)
    if isinstance(value, int):
        return int(value)
    if isinstance(value, float):
        return float(value)
    if isinstance(value, str):
        return str(value)
    return value  # a UnixFd


@dataclass
class Signal:
    path: str
    interface: str
    member: str
    args: list


class Monitor:
    """Collects every signal of the daemon from its construction on, in `signals`."""

    def __init__(self, address, name=NAME, rule=''):
        """rule: the rest of the match rule, for those who want less."""
        self.name = name
        self.signals = []
        self.owner = ''  # the daemon's unique name, empty while there is none
        self.connection = dbus.bus.BusConnection(address, mainloop=DBusGMainLoop())
        self.connection.set_exit_on_disconnect(False)
        self.connection.add_message_filter(self._filter)
        # Answered when they are in force.
        self.connection.add_match_string(f"type='signal',sender='{name}'" + rule)
        self.connection.add_match_string(
            f"type='signal',sender='org.freedesktop.DBus',member='NameOwnerChanged',arg0='{name}'")
        if self.connection.name_has_owner(name):
            self.owner = str(self.connection.get_name_owner(name))

    def _filter(self, _connection, message):
        if message.get_type() == dbus.lowlevel.MESSAGE_TYPE_SIGNAL:
            signal = Signal(
                str(message.get_path()), str(message.get_interface()), str(message.get_member()),
                plain(message.get_args_list(byte_arrays=False)))
            if signal.member == 'NameOwnerChanged':
                self.owner = signal.args[2]
            elif not signal.interface.startswith('org.freedesktop.DBus.Local') \
                    and message.get_sender() != 'org.freedesktop.DBus':
                self.signals.append(signal)
        return dbus.lowlevel.HANDLER_RESULT_NOT_YET_HANDLED

    def call(self, path, interface, method, signature='', *args, seconds=10):
        """Calls a method; dbus.DBusException on an error."""
        return plain(self.connection.call_blocking(
            self.name, path, interface, method, signature, args, timeout=scaled(seconds)))

    def get(self, path, interface, prop):
        return self.call(path, PROPERTIES, 'Get', 'ss', interface, prop)

    def get_all(self, path, interface):
        return self.call(path, PROPERTIES, 'GetAll', 's', interface)

    def objects(self):
        """What the ObjectManager has: {path: {interface: {property: value}}}."""
        return self.call(MANAGER, 'org.freedesktop.DBus.ObjectManager', 'GetManagedObjects')

    def named(self, *members):
        """The signals of these names that came so far; all without names."""
        return [signal for signal in self.signals if not members or signal.member in members]

    def flush(self):
        """Returns all signals that the daemon sent before it answered this call."""
        self.call(MANAGER, 'org.freedesktop.DBus.Peer', 'Ping')
        context = GLib.MainContext.default()
        while context.iteration(False):
            pass
        return self.signals

    def wait_until(self, condition, what, seconds=10):
        """Takes in signals until condition() is true; returns what it gave."""
        def missed():
            return f'{what() if callable(what) else what}; signals so far: {self.signals[-10:]}'
        deadline = Deadline(seconds, missed)
        context = GLib.MainContext.default()
        while not (result := condition()):
            # Wakes the context up when it is too late; gone with the first signal before.
            timer = GLib.timeout_source_new(int(deadline.left() * 1000) + 1)
            timer.attach(context)
            context.iteration(True)
            timer.destroy()
        return result

    def wait(self, *members, count=1, where=lambda signal: True, seconds=10):
        """The first `count` signals of these names for which `where` holds; waits for them."""
        def enough():
            found = [signal for signal in self.named(*members) if where(signal)]
            return found[:count] if len(found) >= count else None
        return self.wait_until(enough, f'{count} of {" ".join(members)}', seconds)

    def wait_owner(self, other_than='', seconds=10):
        """Waits until the daemon has its name; after a restart, other_than the earlier owner."""
        return self.wait_until(
            lambda: self.owner not in ('', other_than) and self.owner, f'an owner of {self.name}',
            seconds)

    def wait_property(self, path, interface, prop, value, seconds=10):
        """Waits until a property has a value; its object, and the daemon, may have to come first.
        It is asked again after each signal."""
        last = None

        def reached():
            nonlocal last
            try:
                last = self.get(path, interface, prop)
            except dbus.DBusException as exception:
                last = exception.get_dbus_name()
            return last == value
        self.wait_until(reached, lambda: f'{prop} == {value!r} of {path}, which is {last!r}', seconds)

    def close(self):
        self.connection.close()
