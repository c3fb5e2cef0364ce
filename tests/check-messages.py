#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Each kind of journal entry has a message id of its own and a text in the catalog.

    check-messages.py NAMES_H CATALOG
"""

import collections
import pathlib
import re
import sys


def repeated(values):
    return [value for value, count in collections.Counter(values).items() if count > 1]


def main():
    names, catalog = (pathlib.Path(path).read_text(encoding='utf-8') for path in sys.argv[1:])
    defined = dict(re.findall(r'^#define\s+(ERRORD_MESSAGE_\w+_ID)\s+"([^"]*)"', names, re.M))
    described = re.findall(r'^-- (\S+)', catalog, re.M)
    fields = set(re.findall(r'"(ZPCI_\w+)"', names))

    wrong = []
    if not defined:
        wrong.append('no message id is defined')
    for name, message_id in defined.items():
        if not re.fullmatch('[0-9a-f]{32}', message_id):
            wrong.append(f'{name}: "{message_id}" is no message id')
        if message_id not in described:
            wrong.append(f'{name}: {message_id} is not in the catalog')
    wrong += [f'{message_id} is defined twice' for message_id in repeated(defined.values())]
    wrong += [f'{message_id} is in the catalog twice' for message_id in repeated(described)]
    wrong += [
        f'{message_id} is in the catalog, and is no kind of entry'
        for message_id in set(described) - set(defined.values())
    ]
    wrong += [
        f'@{field}@ is in the catalog, and is no field of an entry'
        for field in set(re.findall(r'@(\w+)@', catalog)) - fields
    ]

    for message in wrong:
        print(message)
    sys.exit(1 if wrong else 0)


if __name__ == '__main__':
    main()
