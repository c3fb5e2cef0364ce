# SPDX-License-Identifier: LGPL-2.1-or-later
"""A service manager that stands still, as PID 1 does for seconds, holds nothing up."""
import dbus
import pytest

from bystander import ADDRESS, FAST, FID, TO_JOURNAL, Bystander, told
from monitor import MANAGER
from published import MANAGER_INTERFACE
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


def test_status(sim, daemon):
    """The status says what there is, whether a device had to be closed for it or not."""
    daemon.start('--policy=observe')
    daemon.wait_notify('STATUS', 'Watching 0 PCI functions, holding 0 of them')
    sim.add(ADDRESS, fid=FID, **FAST)
    daemon.wait_notify('STATUS', 'Watching 1 PCI functions, holding 0 of them')
    sim.unbind(ADDRESS)
    daemon.wait_notify('STATUS', 'Watching 0 PCI functions, holding 0 of them')
    sim.property(ADDRESS, 'ZPCI_ERRORD_POLICY', 'claim')
    sim.bind(ADDRESS)
    daemon.wait_notify('STATUS', 'Watching 1 PCI functions, holding 1 of them')
    sim.unbind(ADDRESS)
    daemon.wait_notify('STATUS', 'Watching 0 PCI functions, holding 0 of them')


def test_store_is_full(sim, daemon, published, journald):
    """It says how much it keeps, and that is enough for the records and for one function: told of each that is not
    kept. A crash costs these what the kernel had for them, and nothing else."""
    sim.add_many(3, **FAST)
    addresses = sim.list()
    daemon.start('--policy=claim', FDSTORE='6', **TO_JOURNAL)
    for address in addresses:
        sim.wait(address, 'held=1,err_armed=1')
    refused = 'does not keep its device, FileDescriptorStoreMax= of the unit is too low; errors'
    entries = told(journald, refused, count=2)
    assert len(daemon.notify.fds()) == 5
    daemon.kill()
    kept = set(addresses) - {entry['ZPCI_ADDRESS'] for entry in entries}
    assert {address for address in addresses if sim.state(address)['held']} == kept

    daemon.start('--policy=claim', FDSTORE='6', **TO_JOURNAL)
    for address in addresses:
        sim.wait(address, 'held=1,err_armed=1')
        assert sim.state(address)['opens'] == (1 if address in kept else 2)
        sim.error(address, pec=2)
        sim.wait(address, 'pending=0,frozen=0')
    published.errors(3)
    told(journald, refused, count=4)

    # Whose place becomes free.
    free, = kept
    assert sim.unbind(free)['ms'] < 1000
    sim.bind(free)
    published.wait_state(sim.state(free)['fid'], 'claimed')
    assert len(daemon.notify.fds()) == 5
    told(journald, refused, count=4)


def test_store_is_tiny(sim, daemon, published, journald):
    """It keeps the records alone: what else is to survive does not, and an inhibitor, which has to, is refused."""
    bystander = Bystander(sim, published)
    daemon.start('--policy=claim', FDSTORE='1', **TO_JOURNAL)
    told(journald, 'does not keep claims, releases and attachments for the next run')
    bystander.check()
    with pytest.raises(dbus.DBusException, match='keeps nothing more for the daemon') as refused:
        published.monitor.call(MANAGER, MANAGER_INTERFACE, 'Inhibit', 'asss', [ADDRESS], 'test', '')
    assert refused.value.get_dbus_name() == 'org.zpci.Errord1.Error.LimitExceeded'
    assert [name for name, _ in daemon.notify.fds()] == ['ring']
    daemon.kill()
    daemon.start('--policy=claim', FDSTORE='1', **TO_JOURNAL)
    bystander.check()
    assert published.records()[2] == 2
