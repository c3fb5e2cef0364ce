# SPDX-License-Identifier: LGPL-2.1-or-later
"""70-zpci-errord.rules under a real udevd, which gets its events from us."""
import itertools
import json
import subprocess
from pathlib import Path

import pytest

from deadline import Deadline

MACHINE = Path(__file__).with_name('udev-machine')
FUNCTION = 'devices/pci0001:00/0001:00:00.0'
OURS = 'user:zpci-errord:rw-'
ZPCI = {'0001:00:00.0/function_id': '0x00000010\n'}


class Udev:
    """The other end of udev-machine."""

    def __init__(self, container, log):
        self._container = container
        self._log = log
        with open(log, 'wb') as stderr, open(MACHINE, 'rb') as script:
            container.run('install', '-m', '755', '/dev/stdin', '/run/udev-machine', stdin=script)
            self._process = subprocess.Popen(
                container.command('unshare', '--mount', '/run/udev-machine'),
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=stderr, text=True)

    def _ask(self, request):
        self._process.stdin.write(json.dumps(request) + '\n')
        self._process.stdin.flush()
        Deadline(20, lambda: f'{request}\n{self._log.read_text()}').readable(self._process.stdout)
        answer = self._process.stdout.readline()
        assert answer, f'{request} failed\n{self._log.read_text()}'
        return json.loads(answer)

    def add(self, devpath, subsystem, devname=None, attributes=None, event='add'):
        self._ask({'add': {'devpath': devpath, 'subsystem': subsystem, 'devname': devname,
                           'attributes': attributes or {}}})
        if event:
            self.event(event, devpath)

    def event(self, action, devpath):
        self._ask({'event': action, 'devpath': devpath})

    def rules(self, *lines, name='99-administrator'):
        """Gives the administrator this file of rules, in place of an earlier one."""
        self._container.run('rm', '-rf', '/etc/udev/rules.d')
        self._container.write(f'/etc/udev/rules.d/{name}.rules', '\n'.join(lines) + '\n')
        self._ask({'reload': True})

    def node(self, devname):
        """Its group's name, and its ACL as getfacl(1) shows it."""
        answer = self._ask({'stat': devname})
        return answer['group'], answer['acl']

    def close(self):
        self._process.stdin.close()
        self._process.wait(10)


@pytest.fixture
def udev(installed, tmp_path):
    """udevd with the installed rules."""
    udev = Udev(installed, tmp_path / 'udev.log')
    yield udev
    udev.close()


def add_group(udev, number, attributes, **options):
    udev.add(f'/devices/virtual/vfio/{number}', 'vfio', f'vfio/{number}', {
        f'kernel/iommu_groups/{number}/devices/{name}': content
        for name, content in attributes.items()}, **options)
    return udev.node(f'vfio/{number}')


def test_group_of_a_zpci_function(udev):
    assert OURS in add_group(udev, 7, ZPCI)[1]
    assert OURS not in add_group(udev, 8, {'0000:00:1f.0/class': '0x060100\n'})[1]  # plain PCI
    assert OURS not in add_group(udev, 9, {'4a6f-mdev/mdev_type/name': 'vfio_ap\n'})[1]


def test_device_of_a_zpci_function(udev):
    udev.add(f'/{FUNCTION}', 'pci', attributes={f'{FUNCTION}/function_id': '0x00000010\n'})
    udev.add(f'/{FUNCTION}/vfio-dev/vfio0', 'vfio-dev', 'vfio/devices/vfio0')
    assert OURS in udev.node('vfio/devices/vfio0')[1]
    udev.add('/devices/pci0000:00/0000:00:1f.0', 'pci')
    udev.add('/devices/pci0000:00/0000:00:1f.0/vfio-dev/vfio1', 'vfio-dev', 'vfio/devices/vfio1')
    assert OURS not in udev.node('vfio/devices/vfio1')[1]


def test_container_and_iommufd(udev):
    udev.add('/devices/virtual/misc/vfio', 'misc', 'vfio/vfio')
    assert OURS in udev.node('vfio/vfio')[1]
    udev.add('/devices/virtual/misc/iommu', 'misc', 'iommu')
    assert OURS in udev.node('iommu')[1]
    udev.add('/devices/virtual/misc/kvm', 'misc', 'kvm')
    assert OURS not in udev.node('kvm')[1]


def test_group_of_the_administrator(udev):
    """Both get in, whichever rule comes first."""
    cases = itertools.product(
        ('10-early', '99-late'),
        ('SUBSYSTEM=="vfio", GROUP="adm", MODE="0660"',
         'SUBSYSTEM=="vfio", GROUP="adm"',
         'SUBSYSTEM=="vfio", GROUP:="adm", MODE:="0660"'),
        ('add', 'change'))
    for number, (name, rule, event) in enumerate(cases):
        udev.rules(rule, name=name)
        group, acl = add_group(udev, number, ZPCI, event=event)
        assert group == 'adm', (name, rule, event)
        assert {OURS, 'group::rw-', 'mask::rw-', 'other::---'} <= set(acl), (name, rule, event)


def test_rules_of_the_administrator_change(udev):
    """chmod(2) on a node with an ACL sets the mask: the group's entry has to follow all the same."""
    assert {OURS, 'group::---'} <= set(add_group(udev, 7, ZPCI)[1])

    udev.rules('SUBSYSTEM=="vfio", GROUP="adm", MODE="0660"')
    for _ in range(2):
        udev.event('change', '/devices/virtual/vfio/7')
        group, acl = udev.node('vfio/7')
        assert group == 'adm'
        assert {OURS, 'group::rw-', 'mask::rw-'} <= set(acl)

    udev.rules('SUBSYSTEM=="vfio", GROUP="root", MODE="0600"')
    udev.event('change', '/devices/virtual/vfio/7')
    group, acl = udev.node('vfio/7')
    assert group == 'root'
    assert {OURS, 'group::---'} <= set(acl)


def test_acl_of_the_administrator(udev):
    """Entries that are not ours stay."""
    udev.rules('SUBSYSTEM=="vfio", RUN+="/usr/bin/setfacl -m g:adm:rw $devnode"')
    assert {OURS, 'group:adm:rw-'} <= set(add_group(udev, 7, ZPCI)[1])
    udev.rules('')
    udev.event('change', '/devices/virtual/vfio/7')
    assert {OURS, 'group:adm:rw-'} <= set(udev.node('vfio/7')[1])
