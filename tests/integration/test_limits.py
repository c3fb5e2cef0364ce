# SPDX-License-Identifier: LGPL-2.1-or-later
"""Want of file descriptors: said of the functions that it keeps from being held; everything else goes on, and
those are held when it is over."""
import itertools
import os
import re
import resource
import signal
import subprocess

import pytest

from bystander import ADDRESS as BYSTANDER, FAST, FID as BYSTANDER_FID, TO_JOURNAL, Bystander
from owner import Owner, Refused
from published import FUNCTION, MESSAGE_IDS, path

pytestmark = pytest.mark.parametrize('bus', ['dbus-daemon'], indirect=True)

A = '0001:00:00.0'
ATTACHMENTS = 512
ERROR = 'MESSAGE_ID=' + MESSAGE_IDS['ERROR']


def limit(daemon, room):
    """Leaves the daemon room for so many more file descriptors; None for all it wants."""
    _, most = resource.prlimit(daemon.pid, resource.RLIMIT_NOFILE)
    taken = {int(fd) for fd in os.listdir(f'/proc/{daemon.pid}/fd')}
    free = (fd for fd in itertools.count() if fd not in taken)
    resource.prlimit(daemon.pid, resource.RLIMIT_NOFILE,
                     (most if room is None else next(itertools.islice(free, room, None)), most))


@pytest.mark.parametrize('room', range(6))
def test_file_descriptors(sim, daemon, journald, published, room):
    """At every step of taking in a function and opening its device."""
    bystander = Bystander(sim, published)
    daemon.start('--policy=claim', **TO_JOURNAL)
    bystander.check()
    limit(daemon, room)
    sim.add(A, fid=0x10, **FAST)
    message = journald.wait('SYSLOG_IDENTIFIER=zpci-errord', where=lambda entry: re.search(
        'cannot be held: |Cannot take in what udev tells', entry['MESSAGE']))[0]['MESSAGE']
    # (What makes the device fd is the simulator, which has its own word for it.)
    assert 'Too many open files' in message or 'VFIO_GROUP_GET_DEVICE_FD' in message
    assert sim.wait(A, 'held=0,group_open=0')['err_armed'] == 0
    bystander.check()

    limit(daemon, None)
    daemon.process.send_signal(signal.SIGHUP)
    published.wait_state(0x10, 'claimed', seconds=20)
    sim.error(A, pec=5)
    assert published.errors(1, 0x10)[0].details['Source'] == 'vfio'
    bystander.check()


class Run:
    """/run, where journald's files are, and whatever anybody may put there."""

    def __init__(self, namespace):
        self.namespace = namespace

    def _run(self, *command):
        return subprocess.run(self.namespace.command(*command), stdout=subprocess.PIPE, text=True, check=True).stdout

    def fill(self):
        used = int(self._run('df', '--output=used', '--block-size=1', '/run').split()[-1])
        self._run('mount', '-o', f'remount,size={used}', '/run')

    def make_room(self):
        self._run('mount', '-o', 'remount,size=256M', '/run')


def test_full_run(sim, daemon, journald, namespace, monitor, configure):
    """There is no room in /run, for the journal neither: all goes on, also into the next run, and the bus has it all.
    The journal has it once there is room again."""
    configure('[Errord]\nSettleSec=0\nRecovery=none\nRecords=16384\n')
    run = Run(namespace)
    sim.add(A, fid=0x10, **FAST)
    daemon.start('--policy=claim', **TO_JOURNAL)
    sim.wait(A, 'err_armed=1')
    run.fill()
    count = 0
    for _ in range(2):
        sim.set(A, endless=1)
        sim.error(A, pec=2, force=1)
        sim.wait(A, f'read>={count + 6000}')
        sim.set(A, endless=0)
        # Behind all of them one more. (That it is drained is a sign that these are.)
        sim.error(A, pec=3, force=1)
        count = sim.wait(A, 'pending=0')['read']
        monitor.wait_until(lambda: monitor.signals and monitor.signals[-1].args[5:6] == [count], f'error {count}', 30)
        daemon.kill()
        daemon.start('--policy=claim', **TO_JOURNAL)
        sim.wait(A, 'err_armed=1')
    stored = len(journald.entries(ERROR))
    assert stored < count
    run.make_room()
    journald.wait(ERROR, count=count, seconds=60)
    sequences = {int(entry['ZPCI_SEQUENCE']) for entry in journald.entries(ERROR)}
    assert sequences == set(range(1, count + 1))


def test_attachments(sim, daemon, bus, published):
    """As many as a user may have, which is as many functions as there can be; one more is refused with the number."""
    bystander = Bystander(sim, published)
    sim.add_many(ATTACHMENTS + 1, path='cdev', **FAST)
    addresses = [address for address in sim.list() if address != BYSTANDER]
    daemon.start('--policy=observe')
    limit(daemon, None)
    published.monitor.call(path(BYSTANDER_FID), FUNCTION, 'Claim')
    bystander.check()
    owner = Owner(sim, bus)
    try:
        request, notify = owner.call('eventfd'), owner.call('eventfd')
        devices = {address: owner.call('open_cdev', sim.state(address)['vfio_name'])[0] for address in addresses}
        *allowed, one_more = addresses
        objects = {address: owner.attach(device=devices[address], Request=request, Notify=notify)
                   for address in allowed}
        with pytest.raises(Refused, match=f'A user may have {ATTACHMENTS} attachments') as refused:
            owner.attach(device=devices[one_more], Request=request, Notify=notify)
        assert refused.value.name == 'LimitExceeded'
        bystander.check()

        owner.detach(objects.pop(allowed[0]))
        objects[one_more] = owner.attach(device=devices[one_more], Request=request, Notify=notify)
        assert owner.refusal(devices[allowed[0]], Request=request) == 'LimitExceeded'

        # Each is drained, and in the next run too.
        for _ in range(2):
            failing = {allowed[1], allowed[-1], one_more}
            for address in failing:
                sim.error(address, pec=2, force=1)
            published.monitor.wait('ErrorReported', count=len(failing),
                                   where=lambda s: s.args[0] in failing and 'Raw' in s.args[7])
            published.monitor.flush()
            published.monitor.signals.clear()
            daemon.kill()
            daemon.start('--policy=observe')
            limit(daemon, None)
            for object_path in objects.values():
                published.monitor.wait_property(object_path, FUNCTION, 'State', 'delegated', 20)
        assert owner.refusal(devices[allowed[0]], Request=request) == 'LimitExceeded'
    finally:
        owner.end()


def size(daemon):
    """Of all that the daemon has mapped, in bytes."""
    with open(f'/proc/{daemon.pid}/statm', encoding='ascii') as statm:
        return int(statm.read().split()[0]) * resource.getpagesize()


def test_memory(sim, daemon, published, wrapped):
    """There is none to be had: what is held is drained, recovered and published as ever. What comes is for later.
    (Valgrind needs more than that itself. Then it is merely a burst.)"""
    bystander = Bystander(sim, published)
    daemon.start('--policy=claim')
    bystander.check()
    sim.add(A, fid=0x10, **FAST)
    sim.wait(A, 'held=1,err_armed=1,frozen=0')
    _, most = resource.prlimit(daemon.pid, resource.RLIMIT_AS)
    resource.prlimit(daemon.pid, resource.RLIMIT_AS, (most if wrapped else size(daemon), most))
    sim.add_many(300, **FAST)
    for address in A, BYSTANDER:
        for _ in range(10):
            resets = sim.wait(address, 'held=1,pending=0,frozen=0')['resets']
            sim.error(address, pec=2)
            sim.wait(address, f'pending=0,frozen=0,resets>={resets + 1}')
    assert wrapped or 'Cannot allocate memory' in daemon.stderr

    resource.prlimit(daemon.pid, resource.RLIMIT_AS, (most, most))
    daemon.process.send_signal(signal.SIGHUP)
    for address in sim.list():
        sim.wait(address, 'held=1,err_armed=1', timeout=20)
    assert [error.fid for error in published.errors(21, seconds=20)] == \
        [BYSTANDER_FID] + [0x10] * 10 + [BYSTANDER_FID] * 10
    assert [state['opens'] for state in map(sim.state, (A, BYSTANDER))] == [1, 1]
