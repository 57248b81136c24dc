"""Stories: what the simulators play, request by request."""

from deploy.simulators.stories.story import Story, StoryRequest

__all__ = ["Story", "StoryRequest"]
