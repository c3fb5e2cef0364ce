# SPDX-License-Identifier: LGPL-2.1-or-later
"""zpci-errord.service: what an administrator does with it, and what it may do."""
import os

import pytest

from bus import Bus
from container import UNIT
from monitor import MANAGER, NAME

CAP_SYSLOG = 34
# What systemd-analyze of 252 finds, in tenths, and two tenths for what a later one may look for.
EXPOSURE = 15


def status(container):
    """/proc/PID/status of the daemon."""
    pid = container.show(UNIT, 'MainPID')
    lines = container.run('cat', f'/proc/{pid}/status').stdout.splitlines()
    return dict(line.split(':\t', 1) for line in lines if ':\t' in line)


def test_enable_now(installed):
    installed.run('mknod', '/dev/kmsg', 'c', '1', '11')
    installed.systemctl('enable', '--now', UNIT)
    assert installed.systemctl('is-active', UNIT) == 'active'
    assert installed.systemctl('is-enabled', UNIT) == 'enabled'
    assert installed.run('journalctl', '-u', UNIT, '-p', 'warning', '-q').stdout == ''


def test_privileges(installed):
    installed.systemctl('start', UNIT)
    found = status(installed)
    uid = installed.run('id', '-u', 'zpci-errord').stdout.strip()
    assert uid != '0' and found['Uid'].split() == [uid] * 4
    for name in ('CapEff', 'CapPrm', 'CapInh', 'CapAmb', 'CapBnd'):
        assert int(found[name], 16) == 1 << CAP_SYSLOG, name
    assert found['NoNewPrivs'] == '1'
    assert found['Seccomp'] == '2'  # a filter


def test_witness(installed):
    """The step before the daemon hands over what it has: here the reason why there is no witness, for this
    kernel has no PCI functions of s390x."""
    installed.systemctl('start', UNIT)
    witness = installed.run('busctl', 'get-property', NAME, MANAGER, 'org.zpci.Errord1.Manager', 'Witness').stdout
    assert witness in ('s "no-symbol"\n', 's "not-permitted"\n', 's "ENOSYS"\n'), witness
    pid = installed.show(UNIT, 'MainPID')
    said = installed.run('journalctl', '-o', 'cat', f'_PID={pid}', '--grep=The witness').stdout.splitlines()
    assert len(said) == 1 and 'The witness does not run: ' + witness.split('"')[1] in said[0], said


def test_sandbox_is_tight(installed):
    installed.run('systemd-analyze', 'verify', '--man=no', f'/lib/systemd/system/{UNIT}')
    installed.run('systemd-analyze', 'security', f'--threshold={EXPOSURE}', UNIT)


# Opens a node inside the unit's cgroup. Nobody drives these devices here, so that getting past the
# sandbox shows as another error.
OPEN = '''
import errno, os, sys
cgroup, node, flags = sys.argv[1:]
with open(f'/sys/fs/cgroup{cgroup}/cgroup.procs', 'w') as procs:
    procs.write(str(os.getpid()))
try:
    os.open(node, int(flags))
    print('open')
except OSError as error:
    print(errno.errorcode[error.errno])
'''


NODES = {
    '/dev/vfio/vfio': (10, 196),
    '/dev/iommu': (10, 130),
    '/dev/kmsg': (1, 11),
    '/dev/mem': (1, 1),
    '/dev/other': (10, 131),
}


def test_devices(installed):
    installed.run('mkdir', '/dev/vfio')
    for node, numbers in NODES.items():
        installed.run('mknod', node, 'c', *map(str, numbers))
    installed.systemctl('start', UNIT)
    cgroup = installed.show(UNIT, 'ControlGroup')

    def refused(node, flags):
        return installed.run(
            '/usr/bin/python3', '-c', OPEN, cgroup, node, str(flags)).stdout == 'EPERM\n'
    assert not refused('/dev/vfio/vfio', os.O_RDWR)
    assert not refused('/dev/iommu', os.O_RDWR)
    assert not refused('/dev/kmsg', os.O_RDONLY)
    assert refused('/dev/kmsg', os.O_WRONLY)
    assert refused('/dev/mem', os.O_RDONLY)
    assert refused('/dev/other', os.O_RDWR)


def ping(container):
    return container.run('busctl', 'call', NAME, MANAGER, 'org.freedesktop.DBus.Peer', 'Ping',
                         check=False)


@pytest.mark.parametrize('bus', Bus.KINDS)
def test_bus_activation_is_for_an_enabled_daemon(installed, bus):
    installed.choose_bus(bus)
    refused = ping(installed)
    assert refused.returncode != 0
    assert installed.show('dbus.service', 'ExecStart').startswith(f'{{ path=/usr/bin/{bus}')
    assert installed.systemctl('is-active', UNIT, check=False) == 'inactive'
    asked = installed.run('zpci-errctl', 'list', check=False)
    assert asked.returncode == 3 and 'systemctl enable --now zpci-errord' in asked.stderr

    installed.systemctl('enable', UNIT)
    assert ping(installed).returncode == 0
    assert installed.systemctl('is-active', UNIT) == 'active'
    assert installed.run('zpci-errctl', 'list').stdout == 'No PCI function is bound to a VFIO driver.\n'

    installed.systemctl('disable', '--now', UNIT)
    assert ping(installed).returncode != 0
    assert installed.systemctl('is-active', UNIT, check=False) == 'inactive'


def test_log_level(installed):
    installed.systemctl('start', UNIT)
    assert installed.systemctl('service-log-level', UNIT) == 'info'
    installed.systemctl('service-log-level', UNIT, 'debug')
    assert installed.systemctl('service-log-level', UNIT) == 'debug'


def test_stop_and_uninstall_leave_nothing(installed):
    installed.systemctl('enable', '--now', UNIT)
    installed.systemctl('disable', '--now', UNIT)
    assert installed.show(UNIT, 'Result', 'NFileDescriptorStore', 'ActiveState') == \
        ['success', '0', 'inactive']
    assert installed.run('find', '/etc/systemd/system', '-name', '*rrord*').stdout == ''
