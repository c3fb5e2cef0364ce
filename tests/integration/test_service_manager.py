# SPDX-License-Identifier: LGPL-2.1-or-later
"""A service manager that stands still, as PID 1 does for seconds, holds nothing up."""
import pytest

from bystander import ADDRESS, FAST, Bystander
from sim import Connection

pytestmark = pytest.mark.parametrize('bus', ['dbus-daemon'], indirect=True)


def queue_length():
    """How many messages a socket holds until whoever sends has to wait."""
    with open('/proc/sys/net/unix/max_dgram_qlen') as limit:
        return int(limit.read())


def test_stands_still(sim, daemon, published):
    bystander = Bystander(sim, published)
    daemon.start('--policy=claim', WATCHDOG_USEC='100000')
    bystander.check()

    count = min(queue_length(), 400) + 10
    daemon.notify.freeze()
    try:
        sim.add_many(count, **FAST)
        for address in sim.list():
            sim.wait(address, 'held=1,err_armed=1')
        bystander.check()
        # It keeps the device for the next run, so an unbind has to wait until it lets go too: we are done with it
        # at once.
        unbind = Connection(sim.directory)
        unbind.send('unbind', ADDRESS)
        sim.wait(ADDRESS, 'leaving=1')
    finally:
        daemon.notify.thaw()
    assert unbind.receive()

    # What it has missed by then it is told, once.
    daemon.wait_notify('STATUS', f'Watching {count} PCI functions, holding {count} of them')
    daemon.wait_notify('WATCHDOG', '1')
