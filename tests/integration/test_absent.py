# SPDX-License-Identifier: LGPL-2.1-or-later
"""What the daemon counts on is not there, or not yet: it says so and what to do, does what it can without, and
goes on with it by itself once it is there."""
import os
import subprocess

import pytest

from bystander import FAST, TO_JOURNAL, Bystander, told

pytestmark = pytest.mark.parametrize('bus', ['dbus-daemon'], indirect=True)

A = '0001:00:00.0'
B = '0002:00:00.0'


def claim(daemon, *arguments):
    return daemon.start('--policy=claim', *arguments, **TO_JOURNAL)


# Root may do what the modes of files say, and no more.
NO_CAPABILITIES = ['setpriv', '--bounding-set=-all', '--inh-caps=-all']


def wrap(daemon, *command):
    """Has the daemon, and what it is run under, started by another command."""
    where = daemon.command.index('env')
    daemon.command[where:where] = command


def report(sim, address, count, pec=2):
    """`count` errors, each drained and recovered from."""
    for _ in range(count):
        before = sim.wait(address, 'held=1,err_armed=1,frozen=0,locked=0')['resets']
        sim.error(address, pec=pec)
        sim.wait(address, f'pending=0,frozen=0,resets={before + 1}')


def test_no_journald(sim, daemon, journald, published):
    """Neither its socket nor anything else of it: the bus has everything."""
    journald.kill()
    subprocess.run(journald.namespace.command('rm', '-r', '/run/systemd/journal'), check=True)
    sim.add(A, fid=0x10, **FAST)
    claim(daemon)
    report(sim, A, 50)
    signals = published.monitor.wait('ErrorReported', count=50)
    assert [signal.args[5] for signal in signals] == list(range(1, 51))
    assert daemon.stop() == 0


def test_no_nodes(sim, daemon, journald, published):
    """VFIO says in sysfs that it has the function, and there is no node for it: no module, or a container."""
    bystander = Bystander(sim, published)
    for address, fid, nodes in (A, 0x10, 'group'), (B, 0x20, 'cdev'):
        sim.add(address, fid=fid, path=nodes, **FAST)
    for node in 'vfio/1', 'vfio/devices/vfio2':
        os.unlink(f'{sim.directory}/dev/{node}')
    claim(daemon)
    for address, fid in (A, 0x10), (B, 0x20):
        published.wait_state(fid, 'failed', 'ENOENT')
        entry = told(journald, 'cannot be held: ', f'ZPCI_ADDRESS={address}')[0]
        assert 'open /dev/vfio/' in entry['MESSAGE']
        sim.error(address, pec=4)
        assert published.errors(1, fid)[0].details['Source'] == 'kmsg'
    bystander.check()


def test_no_vfio(sim, daemon, journald, published):
    """No module is loaded: nothing is bound, and a hint tells why."""
    os.rename(f'{sim.directory}/dev/vfio', f'{sim.directory}/dev/away')
    sim.add(A, fid=0x10, driver='mlx5_core')
    claim(daemon)
    told(journald, 'There is no /dev/vfio: no VFIO module is loaded yet (modprobe vfio-pci)')
    published.wait_objects()
    os.rename(f'{sim.directory}/dev/away', f'{sim.directory}/dev/vfio')
    sim.unbind(A)
    sim.bind(A)
    sim.wait(A, 'held=1')


def test_not_a_mainframe(sim, daemon, journald, published):
    """PCI functions, none of them zPCI, and no slots: a PC. It waits all the same, and says what it is missing."""
    sim.add('0000:00:1f.2', zpci=0, driver='ahci')
    os.rmdir(f'{sim.directory}/sys/bus/pci/slots')
    claim(daemon)
    told(journald, 'this is no IBM Z or LinuxONE')
    published.wait_objects()
    assert daemon.stop() == 0


def test_no_pci(sim, daemon, journald, published):
    subprocess.run(['rm', '-r', f'{sim.directory}/sys/bus/pci'], check=True)
    claim(daemon)
    told(journald, 'No zPCI functions here, and no PCI slots')
    assert daemon.stop() == 0


def test_no_kernel_log(sim, daemon, journald, published):
    """No CAP_SYSLOG: errors of what is not held are known from uevents, without a code."""
    bystander = Bystander(sim, published)
    sim.mode('kmsg', 0)
    sim.add(A, fid=0x10)
    sim.property(A, 'ZPCI_ERRORD_POLICY', 'observe')
    wrap(daemon, *NO_CAPABILITIES)
    claim(daemon)
    told(journald, 'Cannot read the kernel log (/dev/kmsg; needs CAP_SYSLOG)')
    sim.error(A, pec=4)
    signal, = published.monitor.wait('ErrorReported')
    assert signal.args[:5] == [A, 0x10, 0, 'UNKNOWN', 'unknown']
    assert signal.args[7]['Source'] == 'uevent'
    report(sim, 'fffe:00:00.0', 1)
    published.monitor.wait('ErrorReported', count=2)
    bystander.check_unbind()


@pytest.mark.parametrize('nodes', ['group', 'cdev'])
def test_no_permission(nodes, sim, daemon, journald, published):
    """Who may not open a node is told what to look at; and once permissions are right, all is right."""
    bystander = Bystander(sim, published)
    node = {'group': 'vfio/1', 'cdev': 'vfio/devices/vfio1'}[nodes]
    sim.add(A, fid=0x10, path=nodes, **FAST)
    sim.mode(node, 0)
    wrap(daemon, *NO_CAPABILITIES)
    claim(daemon)
    published.wait_state(0x10, 'failed', 'policy-denied')
    told(journald, f'cannot be held: open /dev/{node}: Permission denied', f'ZPCI_ADDRESS={A}')
    entry = told(journald, 'check the udev rules (udevadm trigger) and DeviceAllow= of the unit', f'ZPCI_ADDRESS={A}')[0]
    assert entry['PRIORITY'] == '4'
    sim.error(A, pec=4)
    assert published.errors(1, 0x10)[0].details['Source'] == 'kmsg'
    bystander.check()
    sim.mode(node, 0o600)
    sim.wait(A, 'held=1')
    published.wait_state(0x10, 'claimed')


def test_no_service_manager(sim, daemon, published):
    """Started by hand: no readiness to tell, nowhere to keep the ring; all else works."""
    bystander = Bystander(sim, published)
    wrap(daemon, 'env', '--unset=NOTIFY_SOCKET')
    daemon.start('--policy=claim', ready=False)
    published.monitor.wait_owner()
    bystander.check()
    assert daemon.stop() == 0
    assert daemon.notify.fds() == []
    assert not [message for message in daemon.notify.messages if 'READY' in message]


def test_service_manager_that_is_gone(sim, daemon, journald, published, tmp_path):
    """Nobody listens at its socket: told, and no reason to end."""
    bystander = Bystander(sim, published)
    wrap(daemon, 'env', f'NOTIFY_SOCKET={tmp_path}/nobody')
    daemon.start('--policy=claim', ready=False, **TO_JOURNAL)
    published.monitor.wait_owner()
    told(journald, 'The service manager does not keep the records and devices for the next run')
    bystander.check()
