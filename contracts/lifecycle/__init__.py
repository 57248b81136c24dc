"""The life of a case: the only statement of the state machine.

`state_of` folds the set of a case's events into its state; the documents' `apply` methods are
the folds that triage and notify keep their own documents with.
"""

from contracts.lifecycle.case import ALLOWED, CaseDocument, Order, Phase, deadline_name, refusal
from contracts.lifecycle.document import Document, OutOfSequence, next_lc
from contracts.lifecycle.group import GroupDocument
from contracts.lifecycle.handoff import DeliveryDocument, HandoffDocument
from contracts.lifecycle.state import CaseState, Status, documents_of, state_of, status_of

__all__ = [
    "ALLOWED",
    "CaseDocument",
    "CaseState",
    "DeliveryDocument",
    "Document",
    "GroupDocument",
    "HandoffDocument",
    "Order",
    "OutOfSequence",
    "Phase",
    "Status",
    "deadline_name",
    "documents_of",
    "next_lc",
    "refusal",
    "state_of",
    "status_of",
]
