# SPDX-License-Identifier: LGPL-2.1-or-later
"""Whatever the kernel, sysfs, udev, the kernel log or the configuration say: a message tells which function
it is about and what to do, and all the rest goes on."""
import pytest

from bystander import FAST, TO_JOURNAL, Bystander, told
from published import path

pytestmark = pytest.mark.parametrize('bus', ['dbus-daemon'], indirect=True)

A = '0001:00:00.0'
B = '0002:00:00.0'


@pytest.fixture
def bystander(sim, published):
    return Bystander(sim, published)


def claim(daemon, *arguments):
    return daemon.start('--policy=claim', *arguments, **TO_JOURNAL)


# Settings of the simulator, then state, reason and message.
UNUSABLE = [
    ({'errlen': 0}, ('observed', 'unsupported'), 'error records are too short'),
    ({'errlen': 8}, ('observed', 'unsupported'), 'error records are too short'),
    ({'errlen': 31}, ('observed', 'unsupported'), 'error records are too short'),
    ({'errlen': 100000}, ('observed', 'unsupported'), 'error records are too long'),
    ({'errlen': 0xffffffff}, ('observed', 'unsupported'), 'error records are too long'),
    ({'caps': 'loop'}, ('failed', 'EBADMSG'), 'its capability chain is malformed'),
    ({'caps': 'outside'}, ('failed', 'EBADMSG'), 'its capability chain is malformed'),
    ({'caps': 'short'}, ('failed', 'EBADMSG'), 'its capability chain is malformed'),
    ({'caps': 'none'}, ('observed', 'unsupported'), 'VFIO does not know it as a zPCI function'),
    ({'uapi': 'none'}, ('observed', 'unsupported'), 'Linux 7.3 or newer has'),
    ({'err_irq': 'none'}, ('observed', 'unsupported'), 'Linux 7.3 or newer has'),
    ({'open_errno': 'EIO'}, ('failed', 'EIO'), 'Input/output error'),
    ({'open_errno': 'ENOMEM'}, ('failed', 'ENOMEM'), 'Cannot allocate memory'),
    ({'open_errno': 'EPERM'}, ('failed', 'policy-denied'), 'Operation not permitted'),
    ({'get_errno': 'EIO'}, ('failed', 'EIO'), 'its VFIO device failed'),
    ({'get_errno': 'EFAULT'}, ('failed', 'EFAULT'), 'its VFIO device failed'),
]

# What tells the administrator what to do, or what the daemon does about it.
ADVICE = {
    'unsupported': 'publishing what the kernel log shows',
    'policy-denied': 'udevadm trigger',
    'EBADMSG': 'trying again',
    'EIO': 'trying again',
    'ENOMEM': 'trying again',
    'EFAULT': 'trying again',
}


@pytest.mark.parametrize('nodes', ['group', 'cdev'])
def test_devices_that_cannot_be_used(nodes, sim, daemon, journald, published, bystander):
    addresses = [f'{number:04x}:00:00.0' for number in range(1, len(UNUSABLE) + 1)]
    for number, (address, (settings, _, _)) in enumerate(zip(addresses, UNUSABLE), 1):
        sim.add(address, fid=number, path=nodes, **FAST, **settings)
    claim(daemon)

    for number, (address, (settings, state, message)) in enumerate(zip(addresses, UNUSABLE), 1):
        published.wait_state(number, *state)
        entry = told(journald, message, f'ZPCI_ADDRESS={address}')[0]
        assert entry['MESSAGE'].startswith(f'{address} (FID 0x{number:08x}, PCHID 0x'), settings
        assert entry['PRIORITY'] == '4'
        told(journald, ADVICE[state[1]], f'ZPCI_ADDRESS={address}')
        # Nothing was read, and the device is not kept from anybody.
        sim.wait(address, 'held=0,group_open=0')
        assert sim.state(address)['read'] == 0

    bystander.check()
    bystander.check_unbind()

    # What cannot be held is observed: its errors are published with what the kernel log says.
    sim.error(addresses[0], pec=4)
    error, = published.errors(1, 1)
    assert (error.address, error.pec, error.details['Source']) == (addresses[0], 4, 'kmsg')


def test_device_that_works_again(sim, daemon, published, bystander):
    """Whatever was wrong with it: it is tried again, and the next attempt succeeds."""
    sim.add(A, fid=0x10, caps='loop', **FAST)
    sim.add(B, fid=0x20, get_errno='EIO', **FAST)
    claim(daemon)
    published.wait_state(0x10, 'failed', 'EBADMSG')
    published.wait_state(0x20, 'failed', 'EIO')
    sim.set(A, caps='normal')
    sim.set(B, get_errno='none')
    for address, fid in (A, 0x10), (B, 0x20):
        sim.wait(address, 'held=1,err_armed=1')
        published.wait_state(fid, 'claimed')
        sim.error(address, pec=2)
        published.errors(1, fid)
    bystander.check()


def test_a_reset_that_fails(sim, daemon, journald, published, bystander):
    sim.add(A, fid=0x10, reset_errno='EIO', **FAST)
    claim(daemon)
    sim.wait(A, 'err_armed=1')
    sim.error(A, pec=2)
    assert published.recoveries(0x10, 2) == ['in-progress', 'failed']
    told(journald, 'VFIO_DEVICE_RESET does not recover it: Input/output error', f'ZPCI_ADDRESS={A}')
    bystander.check()
    sim.set(A, reset_errno='none')
    sim.wait(A, 'opens>=2,held=1,err_armed=1,frozen=0')
    sim.error(A, pec=2)
    published.errors(2, 0x10)


def test_garbage_for_a_record(sim, daemon, published, bystander):
    """The kernel is believed in what it alone knows, and the raw bytes are published as they are."""
    records = [bytes(7) + b'\1' + bytes(23) + b'\1', b'\xff' * 32, bytes(range(32)), bytes(range(255, 223, -1))]
    sim.add(A, fid=0x10, **FAST)
    claim(daemon)
    for number, raw in enumerate(records, 1):
        sim.wait(A, 'err_armed=1,frozen=0,locked=0')
        sim.error(A, raw=raw.hex())
        error = published.errors(number, 0x10)[-1]
        assert error.details['Raw'] == raw
        assert (error.fid, error.address, error.pec) == (0x10, A, int.from_bytes(raw[30:], 'big'))
    bystander.check()


def test_a_queue_without_end(sim, daemon, published, bystander):
    """A kernel that always has one more record keeps nobody else waiting."""
    sim.add(A, fid=0x10, **FAST)
    claim(daemon)
    sim.wait(A, 'err_armed=1')
    sim.set(A, endless=1)
    sim.error(A, pec=2)
    sim.wait(A, 'read>=500')
    bystander.check_unbind()
    before = sim.state(A)['read']
    sim.wait(A, f'read>={before + 100}')
    sim.set(A, endless=0)
    read = sim.wait(A, 'frozen=0')['read']
    published.monitor.wait('ErrorReported', where=lambda s: s.args[5] >= min(read, 4000), seconds=30)
    bystander.check()


# An attribute's values that are wrong; what is missing is "-" to the simulator.
WRONG = ['-', '', '@huge', '@garbage', 'zpci', '-1', '0x', '0x1ffffffff', '0x10 0x20', '١']
ATTRIBUTES = ['function_id', 'function_handle', 'uid', 'pchid', 'vfn', 'pfgid', 'pft']


def test_sysfs(sim, daemon, journald, published, bystander):
    bad = [(attribute, value) for attribute in ATTRIBUTES for value in WRONG]
    bad.remove(('function_id', '-'))  # that is how a PCI function says that it is no zPCI function
    addresses = [f'{number:04x}:00:00.0' for number in range(1, len(bad) + 1)]
    for address, (attribute, value) in zip(addresses, bad):
        sim.add(address, **FAST)
        sim.sysfs(address, attribute, value)
    sim.add('0100:00:00.0', fid=0x100, **FAST)
    sim.sysfs('0100:00:00.0', 'function_id', '-')
    claim(daemon)

    published.wait_objects(0xfffe)
    bystander.check()
    said = [entry['MESSAGE'] for entry in journald.entries('SYSLOG_IDENTIFIER=zpci-errord')]
    for address, (attribute, value) in zip(addresses, bad):
        message, = [message for message in said if message.startswith(f'{address}: ')]
        assert f'its attribute in sysfs {attribute} is ' in message
        assert 'ignoring the function' in message
        assert message.isprintable() and len(message) < 300
        if value in ('-', ''):
            assert 'missing or empty' in message
        assert sim.state(address)['opens'] == 0
    assert not [message for message in said if message.startswith('0100:00:00.0')]

    # Once sysfs makes sense, the function is there.
    sim.sysfs(addresses[-1], 'pft', '0x0b')
    sim.uevent(addresses[-1])
    sim.wait(addresses[-1], 'held=1')


def test_sysfs_of_a_function_that_is_known(sim, daemon, journald, published, bystander):
    """Nonsense about a function is no reason to forget what is known of it."""
    sim.add(A, fid=0x10, **FAST)
    claim(daemon)
    sim.wait(A, 'err_armed=1')
    sim.sysfs(A, 'pchid', '@garbage')
    sim.uevent(A)
    told(journald, f'{A}: its attribute in sysfs pchid is wrong')
    daemon.process.send_signal(1)  # SIGHUP: a scan of everything
    told(journald, f'{A}: its attribute in sysfs pchid is wrong', count=2)
    bystander.check()
    published.wait_objects(0x10, 0xfffe)
    assert sim.state(A)['opens'] == 1
    sim.error(A, pec=2)
    published.errors(1, 0x10)


def test_udev_property(sim, daemon, journald, published, bystander):
    """The function is there all the same, and the configuration decides on it."""
    for number, value in enumerate(['grab', 'CLAIM', 'claim observe', '\x1b[31m', 'x' * 1000], 1):
        sim.add(f'{number:04x}:00:00.0', fid=number, **FAST)
        sim.property(f'{number:04x}:00:00.0', 'ZPCI_ERRORD_POLICY', value)
    claim(daemon)
    for number in range(1, 6):
        sim.wait(f'{number:04x}:00:00.0', 'held=1')
        entry = told(journald, f'{number:04x}:00:00.0: its udev property ZPCI_ERRORD_POLICY is wrong')[0]
        assert entry['MESSAGE'].endswith('leaving the policy to the configuration')
        assert entry['MESSAGE'].isprintable()
    bystander.check()

    # It is said once, and once again when it is another mistake.
    def said():
        return sum('0001:00:00.0: its udev property' in entry['MESSAGE']
                   for entry in journald.entries('SYSLOG_IDENTIFIER=zpci-errord', 'PRIORITY=4'))
    for _ in range(10):
        sim.uevent('0001:00:00.0')
    sim.property('0001:00:00.0', 'ZPCI_ERRORD_POLICY', 'grasp')
    sim.uevent('0001:00:00.0')
    told(journald, 'wrong ("grasp")')
    assert said() == 2


# When a function vanishes: a condition of the simulator, and what makes it come true.
MOMENTS = {
    'idle': 'err_armed=1',
    'opening': 'opening=1',
    'resetting': 'frozen=1,locked=1,resets>=1',
    'closing': 'closing=1',
    'in error': 'frozen=1,pending=0,locked=0',
}


def test_a_function_vanishes(sim, daemon, journald, published, bystander):
    """At whatever moment: its object goes, and it can come back at once."""
    claim(daemon)
    for number, (moment, condition) in enumerate(MOMENTS.items(), 1):
        slow = {**FAST, **{'opening': {'open_ms': 500}, 'resetting': {'reset_ms': 500}, 'closing': {'close_ms': 500},
                           'in error': {'reset_errno': 'EAGAIN'}}.get(moment, {})}
        sim.add(A, fid=number, **slow)
        if moment != 'opening':
            sim.wait(A, 'err_armed=1')
        if moment in ('resetting', 'in error'):
            sim.error(A, pec=2)
        if moment == 'closing':
            sim.property(A, 'ZPCI_ERRORD_POLICY', 'observe')
            sim.uevent(A)
        sim.wait(A, condition)
        sim.vanish(A)
        published.monitor.wait('InterfacesRemoved')
        published.wait_objects(0xfffe)
        told(journald, 'gone: ', f'ZPCI_FID=0x{number:08x}')

        # The same function again, while the daemon may still be busy with its former self.
        sim.add(A, fid=number, **FAST)
        sim.wait(A, 'held=1,err_armed=1')
        sim.error(A, pec=0x3a)
        assert published.errors(1 + (moment in ('resetting', 'in error')), number)[-1].pec == 0x3a
        sim.vanish(A)
        published.wait_objects(0xfffe)
        published.monitor.signals.clear()
    bystander.check()
    assert daemon.stop() == 0
    assert 'not closed yet' not in str(journald.entries('SYSLOG_IDENTIFIER=zpci-errord'))


def test_opening_takes_long(sim, daemon, published, bystander):
    """Six functions that take 5 s to open, more than are opened at a time: drains, resets and requests of
    the others go on."""
    claim(daemon)
    sim.wait('fffe:00:00.0', 'held=1,err_armed=1')
    slow = [f'{number:04x}:00:00.0' for number in range(1, 8)]
    for number, address in enumerate(slow, 1):
        sim.add(address, fid=number, **{**FAST, 'open_ms': 5000})
    sim.wait(A, 'opening=1')
    bystander.check()
    assert sim.unbind('fffe:00:00.0')['ms'] < 1000
    # All of it while they were opening, by the simulator's own clock.
    assert sim.state(A)['opening'] == 1
    sim.wait(A, 'held=1,err_armed=1')
    published.wait_state(1, 'claimed')


def test_forged_kernel_log_lines(sim, daemon, journald, published, bystander):
    sim.add(A, fid=0x10)
    sim.property(A, 'ZPCI_ERRORD_POLICY', 'observe')
    claim(daemon)
    sim.wait('fffe:00:00.0', 'err_armed=1')
    line = f'zpci: {A}: Event 0x2 reports an error for PCI function 0x10'
    user, kernel = 1 << 3 | 3, 3
    for facility in 1, 2, 3, 23, 127:
        sim.kmsg(facility << 3 | 3, line)
    sim.kmsg(user, line.replace('0x2', '0x3b'))
    sim.kmsg(kernel, 'x' + line)
    sim.kmsg(kernel, line + '0')
    sim.kmsg(kernel, line + ' and more')
    sim.kmsg(kernel, line.replace('0x10', '0x11'))  # no such function
    sim.kmsg(kernel, line.replace('0x10', '0x100000010'))
    sim.kmsg(kernel, line.replace('0x2', '0x10002'))
    sim.kmsg(kernel, line.replace('0x2', '2'))
    sim.kmsg(kernel, line.replace(A, '../../etc/passwd'))
    sim.kmsg(kernel, 'zpci: ' + 'A' * 900)
    sim.error(A, pec=7)
    error, = published.errors(1, 0x10)
    assert (error.pec, error.details['Source']) == (7, 'kmsg')
    bystander.check()


def test_overrun_of_the_kernel_log(sim, daemon, journald, published, bystander):
    sim.add(A, fid=0x10)
    sim.property(A, 'ZPCI_ERRORD_POLICY', 'observe')
    claim(daemon)
    sim.wait('fffe:00:00.0', 'err_armed=1')
    sim.error(A, pec=7)
    published.errors(1, 0x10)
    daemon.freeze()
    flood = sim.connect()
    for _ in range(100):
        for _ in range(100):
            flood.send('kmsg', 6, 'something else')
        for _ in range(100):
            flood.receive()
    flood.close()
    sim.error(A, pec=0x3b)  # of which no uevent tells
    daemon.thaw()
    assert published.errors(2, 0x10)[1].pec == 0x3b
    entry = told(journald, 'The kernel log was overwritten before it was read')[0]
    assert 'errors of functions that are not held may be among them' in entry['MESSAGE']
    bystander.check()


def test_object_paths(published, daemon, sim):
    """What is odd but right is taken as it is."""
    sim.add('ffff:ff:1f.7', fid=0xffffffff, fh=0xffffffff, uid=0xffff, pchid=0xffff, vfn=0xffff, pfgid=0xff, pft=0xff,
            **FAST)
    sim.add('0000:00:00.0', fid=0, uid=0, pchid=0, vfn=0, pfgid=0, pft=0, **FAST)
    claim(daemon)
    published.wait_objects(0, 0xffffffff)
    for address, fid in ('0000:00:00.0', 0), ('ffff:ff:1f.7', 0xffffffff):
        sim.wait(address, 'err_armed=1')
        sim.error(address, pec=2)
        assert published.errors(1, fid)[0].address == address
    assert path(0xffffffff) in published.objects()
