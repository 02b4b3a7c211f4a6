"""Where each rule of the diagnosis draws its line: all of them in one place.

They were fixed by reasoning, not by fitting them to runs. Losses are in units of the loss of guessing (1.0 is
chance), probabilities are those of the policy with the floor of ``sampler.floor`` taken off.
"""

from typing import Final

LEVEL: Final = 0.05  # of every test; divided by the number of sources or languages that are looked at
ENOUGH: Final = 8  # numbers of a kind that a rule wants before it says anything
ENOUGH_STEPS: Final = 40  # steps of a stage before a rule looks at how it went on

DIVERGED_LOSS: Final = 50.0  # a loss this many times that of guessing stops the run, finite or not

COLLAPSED: Final = 0.9  # a source with more than this has the policy to itself
EARLY: Final = 1 / 3  # share of the steps in which a policy cannot know so much yet
UNIFORM: Final = 0.1  # total variation distance from uniform; below, nothing was learned
END: Final = 0.25  # last share of the steps, by which the end of a stage is judged

WEAK_ALIGNMENT: Final = 0.5  # contrastive loss of parallel sentences: half of guessing is still missing
RISING: Final = 0.25  # share of episodes in which the inner loop may raise the support loss

BY_HEART: Final = 0.05  # fine-tuning loss below which the shots are known by heart
STILL_FALLING: Final = 0.02  # fall of the query loss from the third quarter to the last
