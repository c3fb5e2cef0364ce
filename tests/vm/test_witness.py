# SPDX-License-Identifier: LGPL-2.1-or-later
"""The witness on a real kernel: an eBPF program that sees every record and takes none."""

import re

import guest as vm
from daemon import CONFIGURE, OBSERVED, Daemon

ERROR_ID = '4518901db7e24c839a23d2f97d6f0741'
KPROBES = ('mountpoint -q /sys/kernel/debug || mount -t debugfs debugfs /sys/kernel/debug\n'
           'grep -c zpci_event_error /sys/kernel/debug/kprobes/list')
LOADER = '/usr/libexec/zpci-errord-witness'


def attached(guest):
    """How many programs are attached to the kernel's function."""
    return int(guest.run(KPROBES, check=False).stdout)


def kept(guest):
    """The fds of the witness that the daemon was handed, by what they are."""
    fds = guest.run('ls -l /proc/1/fd').stdout
    return len(re.findall('bpf[-_]map', fds)), len(re.findall('bpf[-_]link', fds))


def published(guest, number, after):
    """The raw records of a function in the journal, after a sequence number, with their sources."""
    guest.run('journalctl --sync', timeout=60)
    lines = guest.run(f'journalctl --no-pager -o json MESSAGE_ID={ERROR_ID} ZPCI_ADDRESS={vm.address(number)} '
                      '--output-fields=ZPCI_SEQUENCE,ZPCI_RECORD,ZPCI_SOURCE | tr "{},:\\"" " "').stdout
    found = []
    for line in lines.splitlines():
        words = line.split()
        fields = {key: words[words.index(key) + 1]
                  for key in ('ZPCI_SEQUENCE', 'ZPCI_RECORD', 'ZPCI_SOURCE') if key in words}
        if int(fields['ZPCI_SEQUENCE']) > after:
            found.append((fields['ZPCI_SOURCE'], fields.get('ZPCI_RECORD')))
    return found


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
    daemon.find()

    def told():
        return {message['payload']['data'][5] for message in daemon.signals.all(
            lambda message: message.get('member') == 'ErrorReported'
            and message['payload']['data'][0] == vm.address(OBSERVED))}
    daemon.signals.command.wait_until(lambda: len(told()) >= 80, '80 records', timeout=60)
    assert sorted(published(guest, OBSERVED, before)) == sorted(('witness', record) for record in read)


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
        daemon.find()
    assert daemon.witness() == 'active'


def test_kernel_without_the_function(guest, daemon):
    guest.run('mkdir -p /run/systemd/system/zpci-errord.service.d\n'
              f"printf '[Service]\\nExecStartPre=\\nExecStartPre=+-{LOADER} --symbol=zpci_no_such_function\\n' "
              '>/run/systemd/system/zpci-errord.service.d/symbol.conf\n'
              'systemctl daemon-reload; systemctl stop zpci-errord', timeout=60)
    try:
        guest.run('systemctl start zpci-errord', timeout=60)
        assert daemon.witness() == 'no-symbol'
    finally:
        guest.run('rm /run/systemd/system/zpci-errord.service.d/symbol.conf; systemctl daemon-reload')
        daemon.restart()
    assert daemon.witness() == 'active'


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
