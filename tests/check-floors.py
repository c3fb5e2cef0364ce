#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""A module includes headers of its own floor and of the floors below it, never of one above.

Floors 1 and 2 do not log: they return errors. The parts of a module ("vfio-group.c" of "vfio")
belong to its floor unless they are listed by themselves. A file that is in no list is an error,
so that a new module has to be given a floor here.

    check-floors.py FOLDER...

The daemon, the tool and the hook stand on the same floors 0 and 1 of common/, and do not know each
other.
"""

import pathlib
import re
import sys

COMMON = [
    ['util', 'names', 'parse', 'log', 'config-build'],  # config-build.h is made by Meson
    ['ccdf', 'pec', 'value'],
]
FLOORS = {
    'common': COMMON,
    'daemon': [
        COMMON[0],
        COMMON[1] + ['record', 'ring', 'balance', 'pairing', 'recovery-limit', 'state', 'config',
                     'journal-entry'],
        ['vfio', 'worker', 'sysfs', 'uevent', 'kmsg', 'witness', 'journal', 'fdstore', 'notify',
         'service-manager', 'handover'],
        ['function', 'inhibitor', 'registry', 'observer'],
        ['bus', 'polkit', 'alert', 'journal-check', 'journal-pump'],
        ['manager', 'main'],
    ],
    'ctl': [
        COMMON[0] + ['text'],
        COMMON[1] + ['address', 'hex', 'follow', 'describe'],
        ['context', 'agent', 'bus-json', 'client', 'command', 'output', 'pager'],
        ['functions', 'monitor', 'action', 'inhibitors'],
        ['verb'],
        ['options', 'main'],
    ],
    'libvirt': [
        COMMON[0],
        COMMON[1] + ['domain-xml', 'holder', 'subject'],
        ['input', 'journal-line', 'release'],
        ['hook'],
        ['main'],
    ],
}
SILENT = (1, 2)


def floor_of(name, floors):
    """The floor of a file by the longest listed name that it begins with, None if there is none."""
    floor_of_module = {module: number for number, modules in enumerate(floors) for module in modules}
    words = pathlib.PurePath(name).stem.split('-')
    for n in range(len(words), 0, -1):
        module = '-'.join(words[:n])
        if module in floor_of_module:
            return floor_of_module[module]
    return None


def judge(path):
    """Yields what is wrong with the includes of one file."""
    floors = FLOORS[path.parent.name]
    own = floor_of(path.name, floors)
    if own is None:
        yield f'{path}: has no floor, see FLOORS in {sys.argv[0]}'
        return

    for number, line in enumerate(path.read_text(encoding='utf-8').splitlines(), 1):
        match = re.match(r'\s*#\s*include\s*"([^"]+)"', line)
        if not match:
            continue
        header = match.group(1)
        floor = floor_of(header, floors)
        if floor is None:
            yield f'{path}:{number}: {header} has no floor in {path.parent.name}'
        elif floor > own:
            yield f'{path}:{number}: {header} of floor {floor} is above floor {own}'
        elif header == 'log.h' and own in SILENT:
            yield f'{path}:{number}: floor {own} does not log'


def main():
    sources = sorted(path for folder in sys.argv[1:] for path in pathlib.Path(folder).glob('*.[ch]'))
    if not sources:
        sys.exit(f'usage: {sys.argv[0]} FOLDER... with sources in it')

    wrong = [message for path in sources for message in judge(path)]
    for message in wrong:
        print(message)
    sys.exit(1 if wrong else 0)


if __name__ == '__main__':
    main()
