"""Studies: many probes from one small file, safe against crashes, here or on a cluster."""

from keras_erf.studies.plan import ModelEntry, Study, Task, read_study
from keras_erf.studies.running import run_study
from keras_erf.studies.store import StudyStore

__all__ = ["ModelEntry", "Study", "StudyStore", "Task", "read_study", "run_study"]
