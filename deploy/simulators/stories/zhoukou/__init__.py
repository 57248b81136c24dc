"""The Zhoukou channel, 11 January to 16 February 2022: 473 requests in the source's mix.

Every text is written for this project; the people, numbers, rules and results are invented.
`texts/source.yaml` says what the source reports and which split is ours.
"""

from deploy.simulators.stories.zhoukou.build import load_story

__all__ = ["load_story"]
