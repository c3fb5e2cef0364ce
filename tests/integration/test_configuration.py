# SPDX-License-Identifier: LGPL-2.1-or-later
"""zpci-errord.conf and its drop-ins: which of them counts, and what comes of one that makes no sense."""
import os
import subprocess
import sys

import pytest

from bystander import FAST, TO_JOURNAL, Bystander, told

pytestmark = pytest.mark.parametrize('bus', ['dbus-daemon'], indirect=True)

A = '0001:00:00.0'


def records(daemon):
    """How many records the ring has room for: what Records= says."""
    fd = dict(daemon.notify.fds())['ring']
    header = os.pread(fd, 4096, 0)
    return int.from_bytes(header[28:32], sys.byteorder)


def test_precedence(write, sim, daemon):
    """Of drop-ins by one name that in the strongest folder counts; of all, the last by name; all count more than
    the one file; and of that the strongest folder's is the only one."""
    steps = [
        ('/usr/lib/zpci-errord.conf', 100),
        ('/run/zpci-errord.conf', 101),
        ('/etc/zpci-errord.conf', 102),
        ('/usr/lib/zpci-errord.conf.d/20-b.conf', 103),
        ('/etc/zpci-errord.conf.d/10-a.conf', 103),       # before it by name
        ('/run/zpci-errord.conf.d/20-b.conf', 105),       # instead of it
        ('/etc/zpci-errord.conf.d/20-b.conf', 106),
        ('/usr/lib/zpci-errord.conf.d/30-c.conf', 107),
        ('/etc/zpci-errord.conf.d/99-no.config', 107),    # by its name not one of them
        ('/etc/zpci-errord.conf.d/.99-hidden.conf', 107),
    ]
    for number, (path, size) in enumerate(steps):
        write(path, f'[Errord]\nRecords={100 + number}\n')
        daemon.start()
        assert records(daemon) == size, path
        assert daemon.stop() == 0

    # A link to nowhere hides what is further down.
    subprocess.run(daemon_namespace(daemon) + ['ln', '-s', '/dev/null', '/etc/zpci-errord.conf.d/30-c.conf'], check=True)
    daemon.start()
    assert records(daemon) == 106
    assert 'zpci-errord.conf' not in daemon.stderr


def daemon_namespace(daemon):
    return daemon.command[:daemon.command.index('env')]


# A drop-in, then what is said of it: the line, and a text.
WRONG = [
    ('[Errord]\nPolicy=grab\n', 2, 'Policy=grab is not a valid value'),
    ('[Errord]\n\nPolicy=\n', 3, 'Policy= is not a valid value'),
    ('[Errord]\nSettleSec=soon\n', 2, 'SettleSec=soon is not a valid value'),
    ('[Errord]\nSettleSec=-1\n', 2, 'SettleSec=-1 is not a valid value'),
    ('[Errord]\nSettleSec=100weeks\n', 2, 'SettleSec=100weeks'),
    ('[Errord]\nRecovery=maybe\n', 2, 'Recovery=maybe is not a valid value'),
    ('[Errord]\nRecords=1\n', 2, 'Records=1 is out of range'),
    ('[Errord]\nRecords=99999999999999999999\n', 2, 'Records=99999999999999999999'),
    ('[Errord]\nRecords=4k\n', 2, 'Records=4k is not a valid value'),
    ('[Errord]\n# a comment\nPolicies=claim\n', 3, 'unknown key Policies'),
    ('[errord]\nPolicy=observe\n', 2, 'unknown section [errord]'),
    ('[Error]\nPolicy=observe\n', 2, 'unknown section [Error]'),
    ('Policy=observe\n', 1, 'Policy is outside of a section'),
    ('[Errord\nPolicy=observe\n', 1, ''),
    ('[Errord]\nthis is no configuration\n', 2, ''),
    ('\x7fELF\xff\x1b[31m' * 10, 1, ''),
    ('x' * 100000, None, 'is no regular file of at most 65536 bytes'),
]


def test_nonsense(write, sim, daemon, journald, published, configure):
    """A warning with file and line for each, the default or what else was said, and the daemon runs."""
    bystander = Bystander(sim, published)
    configure('[Errord]\nSettleSec=0\nPolicy=claim\nRecords=128\n')
    for number, (text, _, _) in enumerate(WRONG):
        write(f'/etc/zpci-errord.conf.d/{60 + number}-wrong.conf', text)
    daemon.start(**TO_JOURNAL)
    bystander.check()
    assert records(daemon) == 128
    said = [entry['MESSAGE'] for entry in journald.entries('PRIORITY=4')]
    for number, (content, line, text) in enumerate(WRONG):
        path = f'/etc/zpci-errord.conf.d/{60 + number}-wrong.conf:'
        found = [message for message in said if message.startswith(path)]
        assert found, (content, said)
        if line:
            assert found[0].startswith(f'{path}{line}: '), (content, found)
        assert text in found[0]
        assert all(message.isprintable() for message in found)


def test_odd_files(namespace, write, sim, daemon, journald, published):
    """Folders, pipes, dangling links and loops in the place of files."""
    bystander = Bystander(sim, published)
    folder = '/etc/zpci-errord.conf.d'
    script = f'''
        mkdir -p {folder}/60-folder.conf
        mkfifo {folder}/61-pipe.conf
        ln -s /nowhere {folder}/62-dangling.conf
        ln -s 63-loop.conf {folder}/63-loop.conf
        ln -s /dev/null {folder}/64-null.conf
        : > {folder}/65-empty.conf
    '''
    subprocess.run(namespace.command('sh', '-euc', script), check=True)
    daemon.start('--policy=claim', **TO_JOURNAL)
    bystander.check()
    for name, text in (('60-folder', 'regular file'), ('61-pipe', 'regular file'),
                       ('62-dangling', 'No such file'), ('63-loop', 'symbolic links')):
        told(journald, text, 'PRIORITY=4')
        assert any(f'{folder}/{name}.conf: ' in entry['MESSAGE'] for entry in journald.entries('PRIORITY=4'))
    assert not [entry for entry in journald.entries('PRIORITY=4') if '64-' in entry['MESSAGE'] or '65-' in entry['MESSAGE']]


def test_a_reload_that_breaks(write, sim, daemon, journald, published, configure):
    """SIGHUP reads it again: what is wrong now falls back to the default, with a warning."""
    configure('[Errord]\nSettleSec=0\nPolicy=claim\n')
    sim.add(A, fid=0x10, **FAST)
    daemon.start(**TO_JOURNAL)
    sim.wait(A, 'held=1')
    configure('[Errord]\nSettleSec=0\nPolicy=clam\n')
    daemon.process.send_signal(1)
    sim.wait(A, 'held=0')
    told(journald, '/run/zpci-errord.conf.d/50-test.conf:3: Policy=clam is not a valid value')
    published.wait_state(0x10, 'observed', 'policy')
    configure('[Errord]\nSettleSec=0\nPolicy=claim\n')
    daemon.process.send_signal(1)
    sim.wait(A, 'held=1')
