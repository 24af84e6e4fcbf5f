"""The store: one schema, and transactions that are plain functions.

SQLite is set up for the whole process, before the first database is opened: without the statistics of its memory, which
nobody asks for and which cost a lock at every allocation.
"""

import apsw

try:
    apsw.shutdown()
    apsw.config(apsw.SQLITE_CONFIG_MEMSTATUS, False)
except apsw.MisuseError:
    pass  # Somebody else in this process has a database open: statistics are kept then, and nothing else is different.
apsw.initialize()
