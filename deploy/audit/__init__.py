"""The audit: every accepted case is complete, waits in a named queue, or is found to be at fault.

It reads the log by itself (no group, nothing is committed) and the stores read-only, and folds
every case anew with `contracts.lifecycle`.
"""

from deploy.audit.findings import Audit, DeadLetter, Finding, FindingKind, Standing
from deploy.audit.log import AuditError
from deploy.audit.run import Progress, run_audit, story_of

__all__ = [
    "Audit",
    "AuditError",
    "DeadLetter",
    "Finding",
    "FindingKind",
    "Progress",
    "Standing",
    "run_audit",
    "story_of",
]
