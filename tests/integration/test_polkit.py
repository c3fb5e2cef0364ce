# SPDX-License-Identifier: LGPL-2.1-or-later
"""Who may change something, with a polkit that says what the test wants; tests/system has the real one."""
import grp
import os

import dbus
import pytest

from monitor import MANAGER, NAME, Monitor
from polkit import Polkit
from published import FUNCTION, MANAGER_INTERFACE, path
from user import Errand

A = '0001:00:00.0'
FAST = {'open_ms': 1, 'reset_ms': 1, 'close_ms': 1, 'eagain_ms': 1}
F = path(0x10)

DENIED = 'org.freedesktop.DBus.Error.AccessDenied'
NO_FUNCTION = NAME + '.Error.NoSuchFunction'
OPERATOR = 65534  # may call, as a member of adm


@pytest.fixture
def polkit(bus):
    polkit = Polkit(bus)
    yield polkit
    polkit.close()


@pytest.fixture
def running(sim, daemon, published):
    """A daemon that observes one function."""
    sim.add(A, fid=0x10, **FAST)
    daemon.start()
    published.wait_state(0x10, 'observed', 'policy')
    return daemon


def outcome(address, *call):
    """A call's error and its text, or None and the answer."""
    client = Monitor(address)
    try:
        return None, client.call(*call)
    except dbus.DBusException as error:
        return error.get_dbus_name(), error.get_dbus_message()
    finally:
        client.close()


def as_operator(function):
    return Errand(OPERATOR, OPERATOR, [grp.getgrnam('adm').gr_gid], function)


class Operator:
    """Calls methods: (PATH, INTERFACE, METHOD, SIGNATURE, ARGUMENT…)."""

    def __init__(self, address):
        self._address = address

    def begin(self, *call):
        """A call of his that goes on, an Errand."""
        return as_operator(lambda: outcome(self._address, *call))

    def __call__(self, *call):
        """What comes of this call of his."""
        with self.begin(*call) as calling:
            return calling.result()


@pytest.fixture
def operator(bus):
    return Operator(bus.address)


CLAIM = F, FUNCTION, 'Claim'


def claim(operator):
    return operator(*CLAIM)


def test_absent(running, published, operator):
    """Root may, and nobody else; nothing is amiss."""
    error, text = claim(operator)
    assert error == DENIED and 'only root may, as there is no polkit' in text
    assert published.state(0x10) == ('observed', 'policy')
    published.monitor.call(*CLAIM)
    assert published.get(0x10, 'State') == 'claimed'
    assert 'polkit' not in running.stderr


INHIBIT = MANAGER, MANAGER_INTERFACE, 'Inhibit', 'asss', [A], 'somebody', 'for a test'
LIST_INHIBITORS = MANAGER, MANAGER_INTERFACE, 'ListInhibitors'


def test_each_action_by_itself(running, published, polkit, operator):
    release = F, FUNCTION, 'Release', 'ta{sv}', 0, dbus.Dictionary({'who': 'somebody'}, signature='sv')
    reset = F, FUNCTION, 'Reset'

    def refused(*call):
        error, text = operator(*call)
        return error == DENIED and text.endswith('polkit says no')

    polkit.allow('release', 'reset', 'attach', 'inhibit')
    assert refused(F, FUNCTION, 'Claim')
    polkit.allow('claim')
    assert claim(operator) == (None, None)
    assert published.get(0x10, 'State') == 'claimed'

    assert refused(*reset)
    polkit.allow('reset')
    assert operator(*reset) == (None, None)

    assert refused(*release)
    assert published.get(0x10, 'State') == 'claimed'
    polkit.allow('release')
    assert operator(*release) == (None, None)
    assert published.state(0x10) == ('observed', 'released')
    assert published.get(0x10, 'Holder') == 'somebody'

    polkit.allow('claim', 'release', 'reset', 'attach')
    assert refused(*INHIBIT)
    assert operator(*LIST_INHIBITORS) == (None, [])  # this only looks


def test_who_inhibits(running, polkit, bus):
    """The bus knows whose call it was."""
    def inhibit_and_list():
        error, inhibitor = outcome(bus.address, *INHIBIT)
        assert error is None, inhibitor
        return os.getpid(), outcome(bus.address, *LIST_INHIBITORS)
    polkit.allow('inhibit')
    with as_operator(inhibit_and_list) as errand:
        pid, listed = errand.result()
    assert listed == (None, [([A], 'somebody', 'for a test', OPERATOR, pid)])


def test_late(sim, running, published, polkit, operator):
    """The function goes while polkit ponders."""
    polkit.allow('claim')
    polkit.hang(True)
    with operator.begin(*CLAIM) as asking:
        polkit.wait_asked()
        sim.unbind(A)
        published.monitor.wait('InterfacesRemoved')
        polkit.release()
        assert asking.result()[0] == NO_FUNCTION
    assert published.objects() == []


def test_caller_leaves(running, published, polkit, bus):
    """Nobody is told, and the daemon does as it was asked to."""
    polkit.allow('claim')
    polkit.hang(True)

    def claim_and_leave():
        client = Monitor(bus.address)
        client.connection.call_async(NAME, F, FUNCTION, 'Claim', '', (), None, None)
        client.connection.flush()
        os.read(reader, 1)
        client.close()

    reader, leave = os.pipe()
    with as_operator(claim_and_leave) as errand:
        polkit.wait_asked()
        os.write(leave, b'\n')
        errand.result()
    os.close(reader)
    os.close(leave)
    polkit.release()
    published.wait_property(0x10, 'State', 'claimed')


def test_daemon_ends(running, polkit, operator):
    """With an open question, and cleanly (see the fixture)."""
    polkit.hang(True)
    with operator.begin(*CLAIM) as asking:
        polkit.wait_asked()
        assert running.stop() == 0
        assert asking.result()[0] == 'org.freedesktop.DBus.Error.NoReply'


def test_bus_ends(running, polkit, operator, bus, monitor):
    """With an open question; the next bus has everything again."""
    polkit.hang(True)
    with operator.begin(*CLAIM) as asking:
        polkit.wait_asked()
        bus.stop()
        assert asking.result()[0] is not None
    bus.start()
    again = Monitor(bus.address)
    again.wait_owner()
    assert outcome(bus.address, *CLAIM)[0] is None
    assert 'polkit' not in running.stderr
    again.close()
