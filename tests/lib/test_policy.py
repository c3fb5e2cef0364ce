# SPDX-License-Identifier: LGPL-2.1-or-later
"""dbus/org.zpci.Errord1.conf: who may own the name, call and receive, on both buses."""
import grp
import os
import subprocess

import dbus
import pytest

from bus import Bus, POLICY
from monitor import MANAGER, NAME, Monitor
from user import run_as

NOBODY = 65534
INTERFACE = NAME + '.Manager'

# Stands in for the daemon: answers Call(); on Quit(), broadcasts a signal and leaves.
OWNER = f'''
import dbus.service
from dbus.mainloop.glib import DBusGMainLoop
from gi.repository import GLib
DBusGMainLoop(set_as_default=True)
loop = GLib.MainLoop()
class Owner(dbus.service.Object):
    @dbus.service.method('{INTERFACE}')
    def Call(self):
        pass
    @dbus.service.method('{INTERFACE}')
    def Quit(self):
        self.Reported()
        GLib.idle_add(loop.quit)
    @dbus.service.signal('{INTERFACE}')
    def Reported(self):
        pass
bus = dbus.SystemBus()
name = dbus.service.BusName('{NAME}', bus, do_not_queue=True)
owner = Owner(name, '{MANAGER}')
print('ready', flush=True)
loop.run()
'''


@pytest.fixture(params=Bus.KINDS)
def make_bus(request, tmp_path, journald):
    buses = []

    def make(policy=POLICY):
        buses.append(Bus(request.param, tmp_path, journald.namespace, policy).start())
        return buses[-1]
    yield make
    for bus in buses:
        bus.close()


def client(address, subscribed):
    """What somebody may do: (the error of a call or None, the signals received)."""
    monitor = Monitor(address)
    try:
        monitor.call(MANAGER, INTERFACE, 'Call')
        error = None
    except dbus.DBusException as exception:
        error = exception.get_dbus_name()
    os.write(subscribed, b'\n')
    # The bus tells of the leaving after it passed on what was sent before that.
    monitor.wait_until(lambda: not monitor.owner, 'the owner to leave')
    return error, [signal.member for signal in monitor.signals]


def rights(bus, uid, groups):
    """What client() finds for a user with these groups."""
    with subprocess.Popen(['/usr/bin/python3', '-c', OWNER], stdout=subprocess.PIPE,
                          env={**os.environ, **bus.environment}) as owner:
        assert owner.stdout.readline() == b'ready\n', bus.log
        reader, subscribed = os.pipe()
        with subprocess.Popen(
                ['bash', '-c', f'read -r && busctl call {NAME} {MANAGER} {INTERFACE} Quit'],
                stdin=reader, env={**os.environ, **bus.environment}):
            os.close(reader)
            try:
                return run_as(uid, uid, groups, lambda: client(bus.address, subscribed))
            finally:
                os.close(subscribed)
                owner.terminate()


def gid(name):
    return grp.getgrnam(name).gr_gid


EVERYTHING = (None, ['Reported'])
NOTHING = ('org.freedesktop.DBus.Error.AccessDenied', [])


def test_readers_of_the_journal(make_bus):
    bus = make_bus()
    assert rights(bus, 0, [0]) == EVERYTHING
    assert rights(bus, NOBODY, [gid('adm')]) == EVERYTHING
    assert rights(bus, NOBODY, [gid('systemd-journal')]) == EVERYTHING
    assert rights(bus, NOBODY, []) == NOTHING


def test_nobody_else_owns_the_name(make_bus):
    bus = make_bus()

    def own():
        try:
            return Monitor(bus.address).connection.request_name(NAME)
        except dbus.DBusException as exception:
            return exception.get_dbus_name()
    assert run_as(NOBODY, NOBODY, [gid('adm')], own) == 'org.freedesktop.DBus.Error.AccessDenied'
    assert run_as(0, 0, [0], own) == dbus.bus.REQUEST_NAME_REPLY_PRIMARY_OWNER


def test_unknown_group_and_user(make_bus, tmp_path):
    """As before the installation made the user, or where a group does not exist."""
    policy = tmp_path / 'policy.conf'
    policy.write_text(POLICY.read_text()
                      .replace('group="systemd-journal"', 'group="no-such-group"')
                      .replace('user="zpci-errord"', 'user="no-such-user"'))
    bus = make_bus(policy)
    assert rights(bus, NOBODY, [gid('adm')]) == EVERYTHING
    assert rights(bus, NOBODY, [gid('systemd-journal')]) == NOTHING
