"""The names of the stages that are notebooks, in their order, and the exit status of an unfinished one."""

STAGES = ("model", "integrators", "augmentation", "training", "evaluation", "stability", "toys", "story", "report")
# Those that a run of runs.yaml has for itself.
OF_A_RUN = ("training", "evaluation", "stability")
# The exit status of a command that saved what it has and goes on when it is run again.
UNFINISHED = 75
# The files in which stages name the training that they are about.
NAMING = {"evaluation": "metrics.json", "stability": "stability.json", "report": "report.json"}
