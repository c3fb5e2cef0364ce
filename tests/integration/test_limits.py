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

from bystander import FAST, TO_JOURNAL, Bystander
from published import MESSAGE_IDS

pytestmark = pytest.mark.parametrize('bus', ['dbus-daemon'], indirect=True)

A = '0001:00:00.0'
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
