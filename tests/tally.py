#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""tally.py REPORT.xml…: counts what JUnit reports say. Fails if a test failed or was skipped, or
if a report has no test: what did not run proves nothing."""
import sys
import xml.etree.ElementTree as ElementTree


def count(path):
    """(passed, failed, skipped) of one report; names what did not pass."""
    passed = failed = skipped = 0
    for case in ElementTree.parse(path).iter('testcase'):
        name = f'{case.get("classname")}: {case.get("name")}'
        if case.find('failure') is not None or case.find('error') is not None:
            failed += 1
            print(f'FAILED   {name}')
        elif case.find('skipped') is not None:
            skipped += 1
            print(f'SKIPPED  {name}')
        else:
            passed += 1
    if passed + failed + skipped == 0:
        failed += 1
        print(f'FAILED   {path} has no test')
    return passed, failed, skipped


def main():
    counts = [count(path) for path in sys.argv[1:]]
    passed, failed, skipped = (sum(column) for column in zip(*counts)) if counts else (0, 1, 0)
    print(f'{passed} passed, {failed} failed, {skipped} skipped')
    return 1 if failed or skipped else 0


if __name__ == '__main__':
    sys.exit(main())
