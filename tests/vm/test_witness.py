# SPDX-License-Identifier: LGPL-2.1-or-later
"""The witness on a real kernel: an eBPF program that sees every record and takes none."""

import contextlib
import re

import pytest

import guest as vm
from daemon import ALSO_CLAIMED, CONFIGURE, FUNCTION, NAME, OBSERVED, Daemon, Stream, path

ERROR_ID = '4518901db7e24c839a23d2f97d6f0741'
KPROBES = ('mountpoint -q /sys/kernel/debug || mount -t debugfs debugfs /sys/kernel/debug\n'
           'grep -c zpci_event_error /sys/kernel/debug/kprobes/list')
ROOM = 262144 // (8 + 48)  # accounts that the ring buffer has room for
LOADER = '/usr/libexec/zpci-errord-witness'


def attached(guest):
    """How many programs are attached to the kernel's function."""
    return int(guest.run(KPROBES, check=False).stdout)


def kept(guest):
    """The fds of the witness that the daemon was handed, by what they are."""
    fds = guest.run('ls -l /proc/1/fd').stdout
    return len(re.findall('bpf[-_]map', fds)), len(re.findall('bpf[-_]link', fds))


def published(guest, number, after):
    """The raw records of a function in the journal, after a sequence number, with their sources. After a crash some may
    be there twice: with the same number, and then they are the same."""
    guest.run('journalctl --sync', timeout=60)
    lines = guest.run(f'journalctl --no-pager -o json MESSAGE_ID={ERROR_ID} ZPCI_ADDRESS={vm.address(number)} '
                      '--output-fields=ZPCI_SEQUENCE,ZPCI_RECORD,ZPCI_SOURCE | tr "{},:\\"" " "').stdout
    found = {}
    for line in lines.splitlines():
        words = line.split()
        fields = {key: words[words.index(key) + 1]
                  for key in ('ZPCI_SEQUENCE', 'ZPCI_RECORD', 'ZPCI_SOURCE') if key in words}
        sequence, told = int(fields['ZPCI_SEQUENCE']), (fields['ZPCI_SOURCE'], fields.get('ZPCI_RECORD'))
        if sequence > after:
            assert found.setdefault(sequence, told) == told
    return [found[sequence] for sequence in sorted(found)]


def wait_told(daemon, number, count):
    """Until there were signals of so many errors of a function; a repetition after a crash is none of them."""
    def told():
        return {message['payload']['data'][5] for message in daemon.signals.all(
            lambda message: message.get('member') == 'ErrorReported'
            and message['payload']['data'][0] == vm.address(number))}
    daemon.signals.command.wait_until(lambda: len(told()) >= count, f'{count} records', timeout=60)


def last_sequence(guest):
    return int(guest.run('busctl get-property org.zpci.Errord1 /org/zpci/Errord1 org.zpci.Errord1.Manager '
                         'LastSequence').stdout.split()[1])


def test_is_attached_once(guest, daemon):
    assert daemon.witness() == 'active'
    for _ in range(2):
        assert attached(guest) == 1
        assert kept(guest) == (2, 1)
        daemon.restart()
        assert daemon.witness() == 'active'


def test_same_bytes_as_the_holder_reads(guest, daemon):
    """A hundred errors of a function of another process: it reads the same from its own queue."""
    before = last_sequence(guest)
    holder = guest.start_background(
        f'exec {vm.FAULT} hold --address={vm.address(OBSERVED)} --inject=2 --count=100 --reset-between --drain')
    holder.wait(timeout=300)
    assert holder.result.returncode == 0, holder.result.stderr
    read = [line.split()[1] for line in holder.lines if line.startswith('record')]
    assert len(set(read)) == 100

    daemon.wait_signals(OBSERVED, 'ErrorReported', 100)
    assert published(guest, OBSERVED, before) == [('witness', record) for record in read]


def test_killed_during_errors(guest, daemon):
    """None is missing and none is doubled, though the daemon is killed again and again; the errors of each round are
    the same."""
    before = last_sequence(guest)
    read = []
    for _ in range(4):
        holder = guest.start_background(
            f'exec {vm.FAULT} hold --address={vm.address(OBSERVED)} --inject=4 --count=20 --reset-between --drain')
        holder.wait_until(lambda: len(holder.lines) >= 10, 'the first errors')
        guest.run('systemctl kill --signal=KILL --kill-whom=main zpci-errord')
        holder.wait(timeout=300)
        read += [line.split()[1] for line in holder.lines if line.startswith('record')]
        # Waits for the job that starts it again.
        guest.run('systemctl start zpci-errord', timeout=120)
    assert len(read) == 80
    daemon.find_pid()
    wait_told(daemon, OBSERVED, 80)
    assert sorted(published(guest, OBSERVED, before)) == sorted(('witness', record) for record in read)


@pytest.fixture
def without_recovery(guest, daemon):
    """Only who makes errors resets the function that the daemon holds: their resets would get in each other's way."""
    guest.run(f"printf '[Function {vm.address(ALSO_CLAIMED)}]\\nRecovery=none\\n' >/etc/zpci-errord.conf.d/recovery.conf\n"
              'systemctl reset-failed zpci-errord; systemctl reload zpci-errord')
    yield
    guest.run('rm /etc/zpci-errord.conf.d/recovery.conf; systemctl reload zpci-errord')
    reset(guest)


def reset(guest):
    guest.run(f'busctl call {NAME} {path(ALSO_CLAIMED)} {FUNCTION} Reset')


def kill(guest, daemon):
    """Kills the daemon, and waits for the next one to have what it had."""
    guest.run('systemctl kill --signal=KILL --kill-whom=main zpci-errord; systemctl start zpci-errord', timeout=120)
    daemon.find_pid()
    daemon.wait_state(ALSO_CLAIMED, 'claimed')


def start_faults(guest, daemon, count):
    """So many errors of the function that the daemon holds, whatever becomes of the daemon."""
    return guest.start_background(f'exec {vm.FAULT} inject --address={vm.address(ALSO_CLAIMED)} --pid={daemon.pid} --pec=4 '
                                  f'--count={count} --reset-between')


def made_by(faults):
    """Where the errors failed, as in their records."""
    faults.wait(timeout=300)
    assert faults.result.returncode == 0, faults.result.stderr
    return [f'{int(line.split()[-1], 16):016x}' for line in faults.lines if line.startswith('error')]


def test_killed_while_it_holds(guest, daemon, without_recovery):
    """The daemon is killed during errors of a function that it holds, at another one each time. Whatever it drained,
    its device kept or dropped: none is missing and none is doubled."""
    before = last_sequence(guest)
    failing = []
    for errors in (3, 6, 9, 12):
        faults = start_faults(guest, daemon, 20)
        faults.wait_until(lambda: len(faults.lines) >= errors, 'the first errors')
        kill(guest, daemon)
        failing += made_by(faults)
        reset(guest)
    assert len(failing) == 80
    wait_told(daemon, ALSO_CLAIMED, 80)
    records = published(guest, ALSO_CLAIMED, before)
    assert sorted(record[32:48] for _, record in records) == sorted(failing)
    assert {source for source, _ in records} <= {'vfio', 'witness'}
    assert not daemon.signals.all(lambda message: message.get('member') == 'RecordsLost')


def test_killed_before_it_drains(guest, daemon, without_recovery):
    """Seven errors, of which the device keeps four: the next daemon has them all, in their order."""
    before = last_sequence(guest)
    guest.run(f'kill -STOP {daemon.pid}')
    failing = made_by(start_faults(guest, daemon, 7))
    kill(guest, daemon)
    wait_told(daemon, ALSO_CLAIMED, 7)
    records = published(guest, ALSO_CLAIMED, before)
    assert [source for source, _ in records] == ['vfio'] * 4 + ['witness'] * 3
    assert [record[32:48] for _, record in records] == failing


def test_switched_off(guest, daemon, without_witness):
    """Nothing is attached any more, and the kernel log is what is left."""
    assert daemon.witness() == 'off'
    assert attached(guest) == 0
    assert kept(guest) == (0, 0)


def test_stop_detaches(guest, daemon):
    guest.run('systemctl stop zpci-errord', timeout=60)
    try:
        assert attached(guest) == 0
        assert kept(guest) == (0, 0)
    finally:
        daemon.signals.forget()
        guest.run('systemctl start zpci-errord', timeout=60)
        daemon.find_pid()
    assert daemon.witness() == 'active'


@contextlib.contextmanager
def attached_to(guest, daemon, symbol):
    """The witness sees another function of the kernel, and the daemon may stand still."""
    drop_in = '/run/systemd/system/zpci-errord.service.d/symbol.conf'
    guest.run(f"mkdir -p {drop_in.rpartition('/')[0]}\n"
              f"printf '[Service]\\nExecStartPre=\\nExecStartPre=+-{LOADER} --symbol={symbol}\\nWatchdogSec=0\\n' >{drop_in}\n"
              'systemctl daemon-reload; systemctl reset-failed zpci-errord; systemctl stop zpci-errord', timeout=60)
    try:
        guest.run('systemctl start zpci-errord', timeout=60)
        daemon.find_pid()
        yield
    finally:
        guest.run(f'rm {drop_in}; systemctl daemon-reload; systemctl stop zpci-errord', timeout=60)
        guest.run('systemctl start zpci-errord', timeout=60)
        daemon.find_pid()
    assert daemon.witness() == 'active'


def test_kernel_without_the_function(guest, daemon):
    with attached_to(guest, daemon, 'zpci_no_such_function'):
        assert daemon.witness() == 'no-symbol'


def test_overrun(guest, daemon):
    """More than there is room for while nobody listens: the program counts the rest, which is announced once. No PCI
    function fails that often, so it sees files being emptied."""
    with attached_to(guest, daemon, 'do_truncate'):
        assert daemon.witness() == 'active'
        guest.run(f'kill -STOP {daemon.pid}; : >/run/emptied\nfor ((n = 0; n < 6000; n++)); do : >/run/emptied; done\n'
                  f'kill -CONT {daemon.pid}', timeout=300)
        entry, = Stream(guest, 'journalctl -b -f -n all -o json -u zpci-errord').wait(
            lambda entry: 'The witness had no room' in entry['MESSAGE'], 'the announcement')
        assert 6000 - ROOM <= int(re.search('for ([0-9]+) errors', entry['MESSAGE'])[1]) < 6000 - ROOM + 100


def test_lockdown(tmp_path):
    """A kernel that lets nobody read its memory: errors are published as the kernel log has them."""
    with vm.Guest(vm.build('build-image'), vm.build('cross-build'), tmp_path / 'console',
                  kernel='lsm=lockdown,landlock lockdown=confidentiality') as guest:
        guest.run(CONFIGURE)
        guest.bind(OBSERVED)
        assert '[confidentiality]' in guest.run('cat /sys/kernel/security/lockdown').stdout
        daemon = Daemon(guest)
        daemon.wait_state(OBSERVED, 'observed')
        assert daemon.witness() == 'not-permitted'

        guest.run(f'{vm.FAULT} hold --address={vm.address(OBSERVED)} --inject=2 --drain')
        (_, fid, pec, _, _, _, _, details), = daemon.wait_signals(OBSERVED, 'ErrorReported')
        assert (fid, pec, details['Source']) == (vm.fid(OBSERVED), 2, 'kmsg')
