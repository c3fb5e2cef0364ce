# SPDX-License-Identifier: LGPL-2.1-or-later
"""Which functions there are: from sysfs whenever udev says so, in storms, and after events were lost."""
import os
import random
import signal

import pytest

from bystander import FAST, TO_JOURNAL, told
from published import FUNCTION, MESSAGE_IDS, path

pytestmark = pytest.mark.parametrize('bus', ['dbus-daemon'], indirect=True)

A = '0001:00:00.0'
B = '0002:00:00.0'
C = '0003:00:00.0'


def claim(daemon, *arguments):
    return daemon.start('--policy=claim', *arguments, **TO_JOURNAL)


def test_many(sim, daemon, journald, published):
    """As many functions as a host may have, half of them plugged in at once: all are claimed, and an error of
    each is published once."""
    sim.add_many(256, **FAST)
    claim(daemon)
    sim.add_many(256, **FAST)
    addresses = sim.list()
    for address in addresses:
        sim.wait(address, 'held=1,err_armed=1,locked=0', timeout=60)
    assert len(published.objects()) == len(addresses) == 512

    for address in addresses:
        assert sim.error(address, pec=2)['result'] == 'queued'
    errors = published.errors(512, seconds=30)
    assert [error.sequence for error in errors] == list(range(1, 513))
    assert sorted(error.address for error in errors) == sorted(addresses)
    assert published.all_lost() == []
    for address in addresses:
        sim.wait(address, 'frozen=0,pending=0')

    # All gone at once, while they are held.
    for address in addresses:
        sim.vanish(address)
    published.wait_objects()
    assert len(journald.wait('MESSAGE_ID=' + MESSAGE_IDS['GONE'], count=512)) == 512


def test_storm(sim, daemon, published):
    """Functions come, go, and are bound to this and that: in the end it is as sysfs says."""
    generator = random.Random(12)
    claim(daemon)
    drivers = {}  # of those that are there

    def add(address):
        drivers[address] = generator.choice(['vfio-pci', 'mlx5_vfio_pci', 'mlx5_core', 'none'])
        sim.add(address, fid=int(address[:4], 16), driver=drivers[address], **FAST)

    def bind(address):
        drivers[address] = generator.choice(['vfio-pci', 'mlx5_vfio_pci', 'mlx5_core'])
        sim.bind(address, drivers[address])

    def unbind(address):
        drivers[address] = 'none'
        assert sim.unbind(address)['ms'] < 1000

    def go(command, address):
        command(address)
        del drivers[address]

    for _ in range(500):
        address = f'{generator.randrange(1, 17):04x}:00:00.0'
        if address not in drivers:
            add(address)
        elif generator.random() < 0.2:
            go(generator.choice([sim.remove, sim.vanish]), address)
        elif drivers[address] == 'none':
            bind(address)
        else:
            unbind(address)

    bound = [address for address, driver in drivers.items() if 'vfio' in driver]
    assert bound
    published.wait_objects(*[int(address[:4], 16) for address in bound])
    for address in bound:
        sim.wait(address, 'held=1,err_armed=1,frozen=0,locked=0')
        assert published.get(int(address[:4], 16), 'Driver') == drivers[address]
        sim.error(address, pec=2)
        sim.wait(address, 'pending=0,frozen=0')
    for address in set(drivers) - set(bound):
        assert sim.state(address)['held'] == 0
    # What came was what went, but for what is there.
    there = set()
    for what, fid in published.comings_and_goings():
        assert (fid in there) == (what == 'Removed')
        there ^= {fid}
    assert there == {int(address[:4], 16) for address in bound}


def test_events_wait_while_the_daemon_does(sim, daemon, published):
    """Some thousands of events that it finds when it runs again say what happened; what counts is what is."""
    sim.add(A, fid=0x10, **FAST)
    sim.add(B, fid=0x20, **FAST)
    daemon.start()
    published.wait_objects(0x10, 0x20)
    published.monitor.flush().clear()
    daemon.freeze()
    for _ in range(3000):
        sim.uevent(A)
    sim.remove(A)
    sim.add(C, fid=0x10, **FAST)  # the function has moved to another address
    sim.remove(B)
    sim.add(B, fid=0x30, **FAST)  # another one is where it was
    daemon.thaw()
    published.wait_objects(0x10, 0x30)
    published.monitor.wait_until(lambda: published.get(0x10, 'Address') == C, 'the new address')
    assert published.get(0x30, 'Address') == B
    later = published.comings_and_goings()
    assert sorted(later) == [('Added', 0x10), ('Added', 0x30), ('Removed', 0x10), ('Removed', 0x20)]
    assert later.index(('Removed', 0x10)) < later.index(('Added', 0x10))
    assert later.index(('Removed', 0x20)) < later.index(('Added', 0x30))


def change_unseen(sim):
    """Changes of which no event tells: one function gone, two with another policy, one with another handle."""
    os.unlink(f'{sim.directory}/sys/bus/pci/devices/{A}')
    sim.property(B, 'ZPCI_ERRORD_POLICY', 'observe')
    sim.property(C, 'ZPCI_ERRORD_POLICY', 'ignore')
    sim.sysfs('0004:00:00.0', 'function_handle', '0x80020999')


def check_seen(sim, journald, published):
    published.wait_objects(0x20, 0x40)
    published.wait_state(0x20, 'observed', 'policy')
    published.wait_property(0x40, 'FunctionHandle', 0x80020999)
    told(journald, 'gone: it is not there any more', f'ZPCI_ADDRESS={A}')
    told(journald, 'gone: its policy is ignore now', f'ZPCI_ADDRESS={C}')
    sim.wait(B, 'held=0')
    sim.wait(C, 'held=0')


def begin_unseen(sim, daemon, published):
    for number, address in enumerate([A, B, C, '0004:00:00.0'], 1):
        sim.add(address, fid=0x10 * number, **FAST)
    sim.property('0004:00:00.0', 'ZPCI_ERRORD_POLICY', 'observe')
    claim(daemon)
    published.wait_objects(0x10, 0x20, 0x30, 0x40)
    for address in A, B, C:
        sim.wait(address, 'held=1')
    change_unseen(sim)


def test_events_are_lost(sim, daemon, journald, published):
    """The kernel had no room for events: a warning, and a look at everything."""
    begin_unseen(sim, daemon, published)
    sim.monitor_overrun()
    told(journald, 'udev sent more events than could be taken in; looking at all functions anew')
    check_seen(sim, journald, published)


def test_reload(sim, daemon, journald, published):
    begin_unseen(sim, daemon, published)
    daemon.process.send_signal(signal.SIGHUP)
    check_seen(sim, journald, published)


def test_drivers(sim, daemon, journald, published):
    for address, fid in (A, 0x10), (B, 0x20):
        sim.add(address, fid=fid, **FAST)
    sim.add(C, zpci=0, driver='vfio-pci', **FAST)           # of another bus, passed through like ours
    sim.add('0004:00:00.0', fid=0x40, driver='nvme')        # of the host
    sim.add('0005:00:00.0', fid=0x50, driver='none')
    sim.property(A, 'ZPCI_ERRORD_POLICY', 'observe')
    claim(daemon)
    published.wait_objects(0x10, 0x20)
    for address, fid in (A, 0x10), (B, 0x20):
        entry = told(journald, 'appeared, bound to vfio-pci', f'ZPCI_ADDRESS={address}')[0]
        assert entry['MESSAGE_ID'] == MESSAGE_IDS['APPEARED']
        assert entry['ZPCI_FID'] == f'0x{fid:08x}'
    sim.wait(B, 'held=1')

    # From one VFIO driver to another, so that only the outcome is seen: the same function, still there.
    daemon.freeze()
    sim.unbind(A)
    sim.bind(A, 'mlx5_vfio_pci')
    daemon.thaw()
    published.monitor.wait('PropertiesChanged', where=lambda s: (
        s.path == path(0x10) and s.args[:2] == [FUNCTION, {**s.args[1], 'Driver': 'mlx5_vfio_pci'}]))
    entry = told(journald, 'driver changed from vfio-pci to mlx5_vfio_pci', f'ZPCI_ADDRESS={A}')[0]
    assert entry['MESSAGE_ID'] == MESSAGE_IDS['STATE']
    assert ('Removed', 0x10) not in published.comings_and_goings()

    # To a driver of the host, which is none of our business.
    daemon.freeze()
    sim.unbind(A)
    sim.bind(A, 'mlx5_core')
    daemon.thaw()
    published.wait_objects(0x20)
    entry = told(journald, 'gone: its driver changed from mlx5_vfio_pci to mlx5_core', f'ZPCI_ADDRESS={A}')[0]
    assert entry['MESSAGE_ID'] == MESSAGE_IDS['GONE']

    # One that is held, step by step.
    assert sim.unbind(B)['ms'] < 1000
    published.wait_objects()
    told(journald, 'gone: ', f'ZPCI_ADDRESS={B}')
    sim.bind(B, 'mlx5_vfio_pci')
    published.wait_objects(0x20)
    sim.wait(B, 'held=1')
    sim.bind('0005:00:00.0')
    published.wait_objects(0x20, 0x50)

    assert sim.state(C)['opens'] == 0
    assert journald.entries(f'ZPCI_ADDRESS={C}') == []
    assert journald.entries('ZPCI_ADDRESS=0004:00:00.0') == []
