#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""The manual page of the D-Bus interface has every member of the interfaces, with its signature, and no other.

    check-manual.py PAGE INTERFACE...
"""

import pathlib
import re
import sys
import xml.etree.ElementTree

ARGUMENTS = r'\((?:[^()\n]|\([^()\n]*\))*\)'  # a signature may have parentheses too
MEMBER = re.compile(rf'\*\w+\*(?:{ARGUMENTS}(?: → {ARGUMENTS})?| \(\w+\))')


def arguments(member, direction):
    return ', '.join(f'{arg.get("type")} {arg.get("name")}' for arg in member.findall('arg')
                     if arg.get('direction', 'in') == direction)


def written(member):
    """How the page has it."""
    name = f'*{member.get("name")}*'
    if member.tag == 'property':
        return f'{name} ({member.get("type")})'
    answer = arguments(member, 'out')
    return f'{name}({arguments(member, "in")})' + (f' → ({answer})' if answer else '')


def main():
    page = pathlib.Path(sys.argv[1]).read_text()
    members = {written(member) for path in sys.argv[2:]
               for member in xml.etree.ElementTree.parse(path).getroot().iter()
               if member.tag in ('method', 'property', 'signal')}
    found = {text for text in MEMBER.findall(page) if not re.search(r'\*\(\d\)$', text)}  # no other page

    for what, names in ('is not in', members - found), ('is in no interface, but in', found - members):
        for name in sorted(names):
            print(f'{name} {what} {sys.argv[1]}', file=sys.stderr)
    sys.exit(members != found)


if __name__ == '__main__':
    main()
