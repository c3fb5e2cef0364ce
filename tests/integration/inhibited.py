#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""A command that `zpci-errctl inhibit` runs, which does as it is told, one command a line, until its input ends:
    open ADDRESS GROUP     opens a device, as a VMM does
    files                  which files it has open but those of its own
    exit STATUS
    die SIGNAL             by this signal
    say TEXT
It says READY, and what it did; and each signal that it gets, by name."""
import os
import signal
import sys
from pathlib import Path

SIGNALS = signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2


def say(*words):
    os.write(1, (' '.join(map(str, words)) + '\n').encode())


def obey(command, *arguments):
    if command == 'open':
        sys.path.insert(0, str(Path(__file__).parents[1] / 'lib'))
        import client
        client.open_group(arguments[0], int(arguments[1]))
        say('opened', arguments[0])
    elif command == 'files':
        links = {fd: os.readlink(f'/proc/self/fd/{fd}') for fd in os.listdir('/proc/self/fd')
                 if int(fd) > 2 and os.path.exists(f'/proc/self/fd/{fd}')}
        say('files', sorted(links.values()))
    elif command == 'exit':
        sys.exit(int(arguments[0]))
    elif command == 'die':
        number = signal.Signals[arguments[0]]
        if number in SIGNALS:
            signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)
    else:
        say(*arguments)


def main():
    for number in SIGNALS:
        signal.signal(number, lambda number, _: say(signal.Signals(number).name))
    say('READY', *sys.argv[1:])
    for line in sys.stdin:
        obey(*line.split())


if __name__ == '__main__':
    main()
