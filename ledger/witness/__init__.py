"""Witnesses: who checks that a log only grows, and cosigns it (c2sp.org/tlog-witness, version 1.0.0).

request.py   the body of an add-checkpoint request
keys.py      a witness's keys in a folder of their own
memory.py    what it cosigned last for each log, and its evidence against logs, in one file
witness.py   the rule, the keys and the memory together: one request, one answer
client.py    what a log uses: asks its witnesses, and believes none of them unchecked
"""
