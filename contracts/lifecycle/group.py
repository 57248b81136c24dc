"""The group document, folded from triage's group events; its version is `seq`."""

from dataclasses import dataclass, field

from contracts import triage as t
from contracts.envelope import Event
from contracts.lifecycle.document import Document
from contracts.vocabulary import GroupKind


@dataclass(slots=True)
class GroupDocument(Document):
    """Cases dealt with together. `case_no` is the anchor's."""

    kind: GroupKind = GroupKind.SAME_EVENT
    members: list[str] = field(default_factory=list)
    resolved: bool = False
    dissolved: bool = False

    def apply(self, event: Event) -> None:
        """Apply the next event. Raises OutOfSequence if it is not the next."""
        self.advance(event)
        match event.data:
            case t.GroupFormed() as formed:
                self.kind = formed.kind
                self.members = list(formed.members)
            case t.GroupChanged() as changed:
                kept = [member for member in self.members if member not in changed.left]
                self.members = kept + [case for case in changed.joined if case not in kept]
            case t.GroupResolved():
                self.resolved = True
            case t.GroupDissolved():
                self.dissolved = True
                self.members = []
            case _:
                pass
