"""How each department is reached, from the profile and the settings of this place."""

from collections.abc import Mapping

from contracts.profile import Profile


class Departments:
    """The departments of a profile; `urls` of the settings go before those of the profile."""

    def __init__(self, profile: Profile, urls: Mapping[str, str]) -> None:
        self._profile = profile
        self._urls = urls

    @property
    def codes(self) -> tuple[str, ...]:
        """All departments, each of which has a topic for its replies."""
        return tuple(self._profile.departments_by_code)

    def takes_feed(self, code: str) -> bool:
        """Whether a department reads its hand-offs from its feed."""
        department = self._profile.departments_by_code.get(code)
        return department is not None and department.transport == "feed"

    def url(self, code: str) -> str | None:
        """Return where hand-offs are posted to, if the department takes them by HTTP."""
        department = self._profile.departments_by_code.get(code)
        if department is None or department.transport != "http":
            return None
        return self._urls.get(code) or department.url

    def is_spoken_for_by_desk(self, code: str) -> bool:
        """Whether the desk may enter what a department said: a hotline, or one that is rung."""
        department = self._profile.departments_by_code.get(code)
        if department is None:
            return True
        return department.kind == "hotline" or (
            department.transport == "http" and self.url(code) is None
        )

    def name(self, code: str) -> str:
        """Return a department's name; of one that the profile no longer has, its code."""
        department = self._profile.departments_by_code.get(code)
        return department.name if department else code
