"""The whole-log audit: reads a log from the first leaf to the last and believes none of it.

Pure but for reading: which key to trust and which checkpoint was seen last time are handed in, and so a log that was
rewritten consistently, and signed again, is found out too. Memory grows with the number of forks, not of entries.

`audit` reads a database, with all that stands beside the entries; `audit_public` what a log publishes. Both say the
same of the same entry, by the same numbered steps. `anchors` puts beside either what a chain holds of the log.

What no one can check from the log alone: the column `accepted_at`, the log's own note of the time, which nobody
signed; and whether entries that no checkpoint covers yet are all that were acknowledged (receipts tell). An entry of a
topic that this version does not know is a fault, for no door of this version takes one; its fork's chain and signatures
are checked on by the owner's key that is known.
"""

from ledger.audit.bookmark import Bookmark
from ledger.audit.database import audit
from ledger.audit.public import Trust, audit_public
from ledger.audit.report import MOST_FAULTS, STEPS, Fault, Report

__all__ = ["MOST_FAULTS", "STEPS", "Bookmark", "Fault", "Report", "Trust", "audit", "audit_public"]
