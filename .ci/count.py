#!/usr/bin/env python3
"""Counts the outcomes in every .trx file of a folder; prints 'N passed, N failed, N skipped'; fails if nothing ran."""
import glob
import sys
import xml.etree.ElementTree as tree

passed = failed = skipped = 0
for path in glob.glob(sys.argv[1] + "/**/*.trx", recursive=True):
    for node in tree.parse(path).iter():
        if node.tag.endswith("}UnitTestResult"):
            outcome = node.get("outcome")
            if outcome == "Passed":
                passed += 1
            elif outcome == "NotExecuted":
                skipped += 1
            else:
                failed += 1
                print("failed:", node.get("testName"))
print(f"{passed} passed, {failed} failed, {skipped} skipped")
sys.exit(0 if passed and not failed else 1)
