# SPDX-License-Identifier: LGPL-2.1-or-later
"""The daemon's command line, and how it talks to people."""
import os
import pty
import subprocess
from pathlib import Path

import pytest

from deadline import Deadline, scaled

PO = Path(__file__).parents[2] / 'po'


@pytest.fixture
def run(build, namespace):
    """run(ARGUMENTS) → what it came to: no bus, no service manager."""
    def run(*arguments, inside=namespace, **environment):
        return subprocess.run(
            inside.command(build / 'daemon' / 'zpci-errord', *arguments), stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, timeout=scaled(10),
            env={'PATH': os.environ['PATH'], 'DBUS_SYSTEM_BUS_ADDRESS': 'unix:path=/nowhere', **environment})
    return run


def test_help(run):
    for option in '--help', '-h', '--hel':
        done = run(option)
        assert (done.returncode, done.stderr) == (0, '')
        for text in 'Usage: zpci-errord', '--policy=POLICY', 'observe', 'claim', 'ignore', '--log-level=LEVEL', '--version', \
                '/etc/zpci-errord.conf', 'journalctl ZPCI_ADDRESS=':
            assert text in done.stdout
        assert max(map(len, done.stdout.splitlines())) < 80
    assert run('--policy=claim', '--help', 'anything').returncode == 0


def test_version(run, build):
    done = run('--version')
    introspected = subprocess.run(['meson', 'introspect', '--projectinfo', str(build)], stdout=subprocess.PIPE,
                                  check=True, text=True).stdout
    name, version = done.stdout.split()
    assert (done.returncode, name, done.stderr) == (0, 'zpci-errord', '')
    assert f'"version": "{version}"' in introspected


@pytest.mark.parametrize('arguments, message', [
    (['--policy=grab'], "unknown policy 'grab': choose observe, claim or ignore"),
    (['--policy='], "unknown policy '': choose"),
    (['--policy=CLAIM'], "unknown policy 'CLAIM'"),
    (['--policy'], "requires an argument"),
    (['--log-level=loud'], "unknown log level 'loud'"),
    (['--log-level=8'], "unknown log level '8'"),
    (['--log-level='], "unknown log level ''"),
    (['--nonsense'], "unrecognized option '--nonsense'"),
    (['-x'], "invalid option -- 'x'"),
    (['--help=me'], "doesn't allow an argument"),
    (['0001:00:00.0'], "unexpected argument '0001:00:00.0'"),
    (['--policy=claim', '--', '--help'], "unexpected argument '--help'"),
    (['%s%n%d'], "unexpected argument '%s%n%d'"),
])
def test_usage(run, arguments, message):
    done = run(*arguments)
    assert (done.returncode, done.stdout) == (2, '')
    assert message in done.stderr
    assert done.stderr.startswith('zpci-errord: ') or 'zpci-errord: ' in done.stderr
    assert done.stderr.endswith("Try 'zpci-errord --help'.\n")


def test_log_level(sim, daemon):
    """Names and numbers; what is less urgent is not said."""
    sim.add('0001:00:00.0')
    daemon.start('--log-level=err')
    assert daemon.stop() == 0
    assert daemon.stderr == ''
    daemon.start('--log-level=6')
    assert 'appeared, bound to vfio-pci' in daemon.stderr


test_log_level = pytest.mark.parametrize('bus', ['dbus-daemon'], indirect=True)(test_log_level)


def read_all(fd):
    deadline = Deadline(10, 'the end of what the daemon says')
    text = b''
    while True:
        deadline.readable(fd)
        try:
            text += os.read(fd, 65536)
        except OSError:  # the other side is closed
            return text


def test_colours(build, namespace, sim):
    """On a terminal, and nowhere else. (Without a bus address that can be, it says a warning at once.)"""
    command = namespace.command('env', 'DBUS_SYSTEM_BUS_ADDRESS=unix:path=/nowhere', *environment(sim),
                                build / 'daemon' / 'zpci-errord')

    def said(terminal, **more):
        ours, theirs = pty.openpty() if terminal else os.pipe()
        with subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=theirs, stderr=theirs,
                              env={'PATH': os.environ['PATH'], **more}) as process:
            os.close(theirs)
            deadline = Deadline(10, 'a warning')
            text = b''
            while b'system bus' not in text or not text.endswith(b'\n'):
                deadline.readable(ours)
                text += os.read(ours, 4096)
            process.terminate()
        os.close(ours)
        return text

    assert b'\x1b[1;33mCannot connect to the system bus' in said(True, TERM='xterm')
    for text in said(True, TERM='dumb'), said(True, TERM='xterm', NO_COLOR='1'), said(False, TERM='xterm'):
        assert b'zpci-errord: Cannot connect to the system bus' in text
        assert b'\x1b' not in text


def environment(sim):
    return [f'{key}={value}' for key, value in sim.env({}).items()]


def languages():
    return (PO / 'LINGUAS').read_text().split()


def test_translations_are_whole(tmp_path):
    """Every message of every language, of the sources as they are, and as msgfmt wants them."""
    template = tmp_path / 'now.pot'
    subprocess.run(['xgettext', '--from-code=UTF-8', '--keyword=_', f'--directory={PO.parent}', f'--output={template}',
                    f'--files-from={PO}/POTFILES'], check=True, env={**os.environ, 'GETTEXTDATADIRS': str(PO)})
    assert languages()
    for language in languages():
        done = subprocess.run(
            ['msgfmt', '--check', '--statistics', '--output-file=/dev/null', PO / f'{language}.po'],
            stderr=subprocess.PIPE, text=True, env={**os.environ, 'LC_ALL': 'C'})
        assert done.returncode == 0, done.stderr
        assert 'fuzzy' not in done.stderr and 'untranslated' not in done.stderr, done.stderr
        done = subprocess.run(['msgcmp', PO / f'{language}.po', template], stderr=subprocess.PIPE, text=True)
        assert done.returncode == 0, done.stderr


def test_german(run, namespace, tmp_path):
    """The built catalog, where the daemon looks for it. (C.UTF-8 is the locale that every Debian has.)"""
    catalog = tmp_path / 'de' / 'LC_MESSAGES' / 'zpci-errord.mo'
    catalog.parent.mkdir(parents=True)
    subprocess.run(['msgfmt', f'--output-file={catalog}', PO / 'de.po'], check=True)
    subprocess.run(namespace.command('mount', '--bind', tmp_path, '/usr/share/locale'), check=True)
    german = {'LC_ALL': 'C.UTF-8', 'LANGUAGE': 'de'}
    assert run('--help', **german).stdout.startswith('Aufruf: zpci-errord')
    done = run('--policy=grab', **german)
    assert done.returncode == 2
    assert "unbekannt" in done.stderr.lower()
    assert run('--help', LC_ALL='C.UTF-8').stdout.startswith('Usage: zpci-errord')
    assert run('--help', LC_ALL='C', LANGUAGE='de').stdout.startswith('Usage: zpci-errord')
